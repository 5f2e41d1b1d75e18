# SPDX-License-Identifier: Apache-2.0
"""Answers kept by `Idempotency-Key`, in the transaction of what the request did."""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import LargeBinary, bindparam, delete, select
from sqlmodel import Field, Session, SQLModel, col

from twinning.database import Id, Instant, Json, now
from twinning.errors import WrongSetting
from twinning.vault import SETTING, Vault

KEPT = timedelta(hours=24)


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
    created_at: datetime = Field(default_factory=now, sa_type=Instant, index=True)


# Written once: nearly every request with a key asks it, and nearly always there is nothing.
_IS_THERE = select(col(KeptAnswer.status)).where(
    col(KeptAnswer.caller) == bindparam("caller"), col(KeptAnswer.key) == bindparam("key")
)


def request_hash(method: str, path: str, body: bytes) -> str:
    """Hash what was asked, so that a key used again for something else is noticed."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()


def find(session: Session, caller: str, key: str) -> KeptAnswer | None:
    """Find the first answer under a key; one older than a day is forgotten."""
    if session.connection().execute(_IS_THERE, {"caller": caller, "key": key}).first() is None:
        return None
    row = session.get(KeptAnswer, (caller, key))
    if row is not None and row.created_at < now() - KEPT:
        session.delete(row)
        session.flush()
        return None
    return row


def put_body(session: Session, row: KeptAnswer, body: bytes) -> None:
    """Keep what was answered, sealed where the operator has set a key: it may show a secret."""
    vault: Vault | None = session.info.get("vault")
    row.key_id = None if vault is None else vault.key_id
    row.body = body if vault is None else vault.seal(body.decode(), _place(row)).encode()


def body_of(session: Session, row: KeptAnswer) -> bytes:
    """Give what was answered; raises `WrongSetting` when another key sealed it."""
    if row.key_id is None:
        return row.body
    vault: Vault | None = session.info.get("vault")
    if vault is None:
        raise WrongSetting(f"{SETTING}: is not set, and a kept answer was sealed with it")
    return vault.open(row.body.decode(), _place(row)).encode()


def _place(row: KeptAnswer) -> str:
    return f"{row.caller}/{row.key}"


def forget_old(session: Session) -> None:
    """Delete the answers that have been kept long enough."""
    session.execute(delete(KeptAnswer).where(col(KeptAnswer.created_at) < now() - KEPT))
