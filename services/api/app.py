# SPDX-License-Identifier: Apache-2.0
"""The front door: the web application, put together from its settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import cast

from fastapi import FastAPI
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services import logs
from services.api import openapi, problems
from services.api.asking import rules_of
from services.api.envelope import Envelope
from services.api.following import Follower
from services.api.metrics import Metrics
from services.api.receivers import Receivers
from services.api.routes import (
    audit,
    cities,
    city_export,
    deliveries,
    delivery_log,
    documentation,
    endpoints,
    events,
    health,
    imports,
    keys,
    listings,
    previews,
    reference,
    rounds,
    stream,
    suggestions,
)
from services.api.transactions import House
from services.doorbell import Doorbell
from services.lookups import Resolve, SystemLookup
from twinning.database import Database
from twinning.settings import Settings
from twinning.terms import Bell
from twinning.vault import vault_of


def make_app(
    settings: Settings, *, ring: Callable[[Bell], None] | None = None, resolve: Resolve | None = None
) -> FastAPI:
    """Make the application; `ring` hears the bells of each committed transaction and must not wait.

    `resolve` replaces the system's look-up of receivers' names.
    """
    database = Database(settings.database, ring, vault_of(settings.secrets_key, settings.secrets_key_old))
    house = House.of(settings, database)
    follower = Follower(house)
    lookup = None if resolve else SystemLookup()
    receivers = Receivers(resolve or cast("SystemLookup", lookup), rules_of(settings))
    metrics = Metrics(database, lambda: follower.streams)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        follower.close()
        house.scribe.close()
        house.clerk.close()
        if lookup is not None:
            lookup.close()
        await house.gate.close()
        database.close()

    app = FastAPI(
        title="ASEM Twinning",
        version=version("asem-twinning"),
        summary="Finds partners for learning cities across Asia and Europe, and says why.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[
            Middleware(
                ProxyHeadersMiddleware, trusted_hosts=[str(each) for each in settings.trusted_proxies]
            ),
            Middleware(
                Envelope, refuse=problems.problem, answered=metrics.answered, headers=_headers(settings)
            ),
        ],
    )
    app.state.house, app.state.follower, app.state.metrics = house, follower, metrics
    app.state.receivers = receivers
    problems.install(app)
    app.include_router(health.router)
    app.include_router(documentation.router)
    # Side by side, those asked most first: routers within routers are looked through anew for each request.
    parts = (
        reference,
        cities,
        city_export,
        keys,
        audit,
        previews,
        rounds,
        suggestions,
        imports,
        endpoints,
        deliveries,
        delivery_log,
        stream,
        events,
    )
    for router in (*listings.routers, imports.uploads, *(part.router for part in parts)):
        app.router.routes.extend(router.routes)
    openapi.install(app)
    return app


def application() -> FastAPI:
    """Make this process's application from the environment, as `uvicorn --factory` wants it."""
    settings = Settings.load()
    logs.configure(settings)
    bell = Doorbell(settings) if settings.broker_url else None
    return make_app(settings, ring=bell.ring if bell else None)


def _headers(settings: Settings) -> dict[str, str]:
    """Hold browsers to https where the public address has it."""
    secure = settings.public_url.startswith("https:")
    return {"Strict-Transport-Security": "max-age=31536000"} if secure else {}
