# SPDX-License-Identifier: Apache-2.0
"""The pages that explain the API: `/docs` to try, `/redoc` to read; every file comes from this house.

Neither page needs a key to be read, nor may it ask another host: its Content-Security-Policy sees to that.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse

FILES = Path(fastapi_offline.__file__).parent / "static"
MEDIA_TYPES: Mapping[str, str] = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
}
# The page's picture: a small empty one, for a browser asks for one where none is named.
NO_PICTURE = "data:,"
POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def try_out(request: Request) -> HTMLResponse:
    """Show every operation, to be tried with a key."""
    app = request.app
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url,
        title=f"{app.title}: the API",
        swagger_js_url="/docs/files/swagger-ui-bundle.js",
        swagger_css_url="/docs/files/swagger-ui.css",
        swagger_favicon_url=NO_PICTURE,
        swagger_ui_parameters={"defaultModelsExpandDepth": 0, "docExpansion": "list", "filter": True},
    )
    return _guarded(page)


@router.get("/redoc")
async def read(request: Request) -> HTMLResponse:
    """Show the document for reading, webhooks included."""
    app = request.app
    page = get_redoc_html(
        openapi_url=app.openapi_url,
        title=f"{app.title}: the API",
        redoc_js_url="/docs/files/redoc.standalone.js",
        redoc_favicon_url=NO_PICTURE,
        with_google_fonts=False,
    )
    return _guarded(page)


@router.get("/docs/files/{name}")
async def file(name: str) -> FileResponse:
    """Give a file of the pages."""
    if name not in MEDIA_TYPES:
        raise HTTPException(404)
    day = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(FILES / name, media_type=MEDIA_TYPES[name], headers=day)


def _guarded(page: HTMLResponse) -> HTMLResponse:
    """Let a page run the scripts that it came with and no others (CSP level 3, section 2.3.1)."""
    scripts = _INLINE.findall(bytes(page.body).decode())
    hashes = (b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    page.headers["Content-Security-Policy"] = POLICY.format(scripts=" ".join(f"'sha256-{h}'" for h in hashes))
    return page
