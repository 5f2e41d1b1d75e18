# SPDX-License-Identifier: Apache-2.0
"""Answers kept by `Idempotency-Key`, in the transaction of what the request did."""

import hashlib
import json
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import LargeBinary, bindparam, delete
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.database import before_commit, now
from twinning.dialects import Id, Instant, Json
from twinning.errors import WrongSetting
from twinning.inserting import insert_all
from twinning.vault import SETTING, Vault

KEPT = timedelta(hours=24)
# The fields of answers that hold a secret.
SHOWN_ONCE = frozenset({"key", "secret", "callback_secret"})


class KeptAnswer(SQLModel, table=True):
    """The first answer to a request that carried an idempotency key."""

    __tablename__ = "kept_answer"

    caller: str = Field(primary_key=True, sa_type=Id)
    key: str = Field(primary_key=True, max_length=255)
    request_hash: str = Field(max_length=64)
    status: int
    headers: dict[str, str] = Field(sa_type=Json)
    body: bytes = Field(sa_type=LargeBinary)
    # Which key of the operator's sealed the body; null: none did.
    key_id: str | None = Field(default=None, max_length=16)
    # What the request made, where its answer shows something that may have to be erased before the day ends.
    about: str | None = Field(default=None, sa_type=Id, index=True)
    created_at: datetime = Field(default_factory=now, sa_type=Instant, index=True)


# Written once: nearly every request with a key asks it, and nearly always there is nothing.
_IS_THERE = select(col(KeptAnswer.status)).where(
    col(KeptAnswer.caller) == bindparam("caller"), col(KeptAnswer.key) == bindparam("key")
)

_WHICH_ARE_THERE = select(col(KeptAnswer.caller), col(KeptAnswer.key)).where(
    col(KeptAnswer.caller).in_(bindparam("callers", expanding=True)),
    col(KeptAnswer.key).in_(bindparam("keys", expanding=True)),
)


def request_hash(method: str, path: str, query: str, body: bytes) -> str:
    """Hash what was asked, so that a key used again for something else is noticed."""
    # Without a query it is the hash that answers were kept under before queries were looked at.
    place = f"{path}?{query}" if query else path
    return hashlib.sha256(b"\0".join((method.encode(), place.encode(), body))).hexdigest()


def foresee(session: Session, claimed: AbstractSet[tuple[str, str]]) -> None:
    """Find for all at once which keys of callers have no answer; their locks are held, so none comes."""
    if claimed:
        callers, keys = (sorted({*names}) for names in zip(*claimed, strict=True))
        rows = session.connection().execute(_WHICH_ARE_THERE, {"callers": callers, "keys": keys})
        session.info["unanswered"] = dict.fromkeys(claimed - {tuple(row) for row in rows})


def find(session: Session, caller: str, key: str) -> KeptAnswer | None:
    """Find the first answer under a key; one older than a day is forgotten."""
    if (waiting := _waiting(session).get((caller, key))) is not None:
        return KeptAnswer(**waiting)
    if (caller, key) in session.info.get("unanswered", ()):
        return None
    if session.connection().execute(_IS_THERE, {"caller": caller, "key": key}).first() is None:
        return None
    row = session.get(KeptAnswer, (caller, key))
    if row is not None and row.created_at < now() - KEPT:
        session.delete(row)
        session.flush()
        return None
    return row


def store(session: Session, columns: dict[str, Any]) -> None:
    """Keep a first answer, found from now on in this transaction and written at its end with the others."""
    _waiting(session)[columns["caller"], columns["key"]] = columns
    before_commit(session, "answers", _write)


def _waiting(session: Session) -> dict[tuple[str, str], dict[str, Any]]:
    waiting: dict[tuple[str, str], dict[str, Any]] = session.info.setdefault("answers", {})
    return waiting


def _write(session: Session) -> None:
    insert_all(session, KeptAnswer, list(session.info.pop("answers").values()))


def sealed(session: Session, caller: str, key: str, body: bytes) -> dict[str, Any]:
    """Give what was answered as it is kept, sealed where the operator has set a key: it may show a secret."""
    vault: Vault | None = session.info.get("vault")
    if vault is None:
        return {"key_id": None, "body": body}
    return {"key_id": vault.key_id, "body": vault.seal(body.decode(), _place(caller, key)).encode()}


def put_body(session: Session, row: KeptAnswer, body: bytes) -> None:
    """Keep another body in the place of the first."""
    row.sqlmodel_update(sealed(session, row.caller, row.key, body))


def body_of(session: Session, row: KeptAnswer) -> bytes:
    """Give what was answered; raises `WrongSetting` when a key sealed it that is not ours."""
    if row.key_id is None:
        return row.body
    vault: Vault | None = session.info.get("vault")
    if vault is None:
        raise WrongSetting(f"{SETTING}: is not set, and a kept answer was sealed with it; set it again")
    return vault.open(row.body.decode(), _place(row.caller, row.key), row.key_id).encode()


def reseal(session: Session, row: KeptAnswer) -> None:
    """Seal a kept answer under the present key."""
    put_body(session, row, body_of(session, row))
    session.add(row)


def erase_contact(session: Session, city_id: str) -> None:
    """Take a city's contact out of the answers that were kept when it was registered."""
    for row in session.exec(select(KeptAnswer).where(KeptAnswer.about == city_id)):
        shown = json.loads(body_of(session, row))
        put_body(session, row, json.dumps(shown | {"contact": None}, ensure_ascii=False).encode())
        session.add(row)


def without_secrets(session: Session, row: KeptAnswer) -> Any:
    """Give what was answered as it may be shown later: without the secret that it showed once."""
    shown = json.loads(body_of(session, row) or b"null")
    return {name: value for name, value in shown.items() if name not in SHOWN_ONCE} if shown else shown


def _place(caller: str, key: str) -> str:
    return f"{caller}/{key}"


def forget_old(session: Session) -> None:
    """Delete the answers that have been kept long enough."""
    session.execute(delete(KeptAnswer).where(col(KeptAnswer.created_at) < now() - KEPT))
