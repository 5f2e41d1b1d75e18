# SPDX-License-Identifier: Apache-2.0
"""`Idempotency-Key`: the first answer to a POST is kept for a day and given again.

It is kept in the transaction of what the request did, so either both happened or neither. A kept answer
may hold a secret that is shown once (a new key, an endpoint's secret): whoever lost the answer must be
able to ask for it again, so it is stored whole, sealed where the operator has set a key, and deleted
after a day.
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from sqlmodel import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response

from twinning import idempotency
from twinning.dialects import try_lock, try_locks
from twinning.errors import Conflict, Invalid
from twinning.keys import Caller

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
_KEPT_HEADERS = ("content-type", "location", "etag")
_KEY = re.compile(r"[!-~]{1,255}")
# The one answer to a POST that shows a contact: it is found again when the contact has to be erased.
_CITY = re.compile(r"/v1/cities/([^/]{36})")


@dataclass(frozen=True, slots=True)
class Claim:
    """A request's right to be the first under its key."""

    caller: str
    key: str
    request_hash: str


def key_of(request: Request) -> str | None:
    """Give the key of a POST's answer, as it was sent."""
    return request.headers.get(HEADER) if request.method == "POST" else None


def is_key(text: str) -> bool:
    """Say whether a text may be the key of an answer."""
    return _KEY.fullmatch(text) is not None


def foresee(session: Session, claimed: AbstractSet[tuple[str, str]]) -> None:
    """Take keys of callers for this transaction, and find for all at once which have no answer yet."""
    # First the locks: what is read after one is what its last holder left.
    try_locks(session, [lock_of(caller, key) for caller, key in claimed])
    idempotency.foresee(session, claimed)


def claim(request: Request, session: Session, caller: Caller, body: bytes) -> Claim | None:
    """Read a POST's key and take it for this transaction; None when there is no key.

    Raises `Conflict` while another request works under the key, and 400 for what is no key.
    """
    key = key_of(request)
    if key is None:
        return None
    if not is_key(key):
        raise HTTPException(400, f"{HEADER} takes 1 to 255 visible ASCII characters.")
    if not try_lock(session, lock_of(caller.key_id, key)):
        raise Conflict(
            "The first request with this Idempotency-Key is still running.", code="idempotency-key-in-use"
        )
    asked = idempotency.request_hash(request.method, request.url.path, request.url.query, body)
    return Claim(caller.key_id, key, asked)


def kept(session: Session, claimed: Claim) -> Response | None:
    """Give the first answer again; raises `Invalid` when it answered another request."""
    row = idempotency.find(session, claimed.caller, claimed.key)
    if row is None:
        return None
    if row.request_hash != claimed.request_hash:
        raise Invalid.field(
            f"/header/{HEADER}",
            "This Idempotency-Key was used for another request.",
            code="idempotency-key-reused",
        )
    return Response(idempotency.body_of(session, row), row.status, {**row.headers, REPLAYED: "true"})


def keep(session: Session, claimed: Claim, answer: Response) -> None:
    """Keep the first answer, in the transaction in which `kept` found none."""
    mine = {"caller": claimed.caller, "key": claimed.key, "request_hash": claimed.request_hash}
    idempotency.store(session, {**mine, **_columns(session, claimed, answer)})


def keep_better(session: Session, claimed: Claim, answer: Response) -> None:
    """Keep the better answer that followed the first, if that is still there."""
    row = idempotency.find(session, claimed.caller, claimed.key)
    if row is not None:
        row.sqlmodel_update(_columns(session, claimed, answer))
        session.add(row)


def lock_of(caller: str, key: str) -> str:
    """Name the lock of a caller's key."""
    return f"idempotency/{caller}/{key}"


def _columns(session: Session, claimed: Claim, answer: Response) -> dict[str, Any]:
    """Lay out what is kept of an answer."""
    headers = answer.headers
    found = _CITY.fullmatch(headers.get("location", ""))
    return {
        "status": answer.status_code,
        "headers": {name: headers[name] for name in _KEPT_HEADERS if name in headers},
        "about": found and found[1],
        **idempotency.sealed(session, claimed.caller, claimed.key, bytes(answer.body)),
    }
