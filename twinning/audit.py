# SPDX-License-Identifier: Apache-2.0
"""The audit log: who did what, when and from where, written in the transaction of what was done.

A transaction that acts for a person says so by `act_for`; each change then notes itself by `note`. An entry
names the fields that were changed and never what stood in them. What workers do by themselves has nobody to
name and is not noted.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from sqlalchemy import ColumnElement, or_
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.database import before_commit, new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.fields import Shape
from twinning.inserting import insert_all
from twinning.terms import Role

KEPT: Final = timedelta(days=730)
# What a shape calls one field and a table two.
_ONE_FIELD: Final = {"contact_name": "contact", "contact_email": "contact"}


class AuditEntry(SQLModel, table=True):
    """One thing that somebody did."""

    __tablename__ = "audit"

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    at: datetime = Field(default_factory=now, sa_type=Instant, index=True)
    # The key's name and role as they were then; without an id it was done where the database is.
    key_id: str | None = Field(default=None, sa_type=Id, index=True)
    key_name: str = Field(max_length=300)
    role: str = Field(max_length=20)
    action: str = Field(max_length=60)
    object_type: str = Field(max_length=40)
    object_id: str = Field(sa_type=Id, index=True)
    city_id: str | None = Field(default=None, sa_type=Id, index=True)
    fields: list[str] = Field(default_factory=list, sa_type=Json)
    address: str | None = Field(default=None, max_length=45)


class AuditPublic(Shape):
    """An entry of the audit log: `fields` names what was changed or sent, never what stood in it."""

    id: str
    at: datetime
    key_id: str | None
    key_name: str
    role: Role
    action: str
    object_type: str
    object_id: str
    city_id: str | None
    fields: list[str]
    address: str | None


@dataclass(frozen=True, slots=True)
class Actor:
    """For whom a transaction acts, and from which address."""

    key_id: str | None
    key_name: str
    role: Role
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are looked for; what is None does not matter."""

    key_id: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    city_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def act_for(session: Session, actor: Actor) -> None:
    """Say for whom this transaction acts; its changes are noted under this name."""
    session.info["actor"] = actor


def note(
    session: Session,
    action: str,
    object_id: str,
    *,
    city_id: str | None = None,
    fields: Iterable[str] = (),
) -> None:
    """Note a change beside it, as `noun.participle`; without anybody who acts nothing is noted."""
    actor: Actor | None = session.info.get("actor")
    if actor is None:
        return
    entry = {
        "id": new_id(),
        "key_id": actor.key_id,
        "key_name": actor.key_name,
        "role": actor.role,
        "action": action,
        "object_type": action.partition(".")[0],
        "object_id": object_id,
        "city_id": city_id,
        "fields": _named(frozenset(fields)),
        "address": actor.address,
    }
    session.info.setdefault("audit", []).append(entry)
    before_commit(session, "audit", _write)


@lru_cache(maxsize=1024)
def _named(fields: frozenset[str]) -> list[str]:
    """Name fields as a shape does; the rows of a file mostly have the same, and so one list."""
    return sorted({_ONE_FIELD.get(name, name) for name in fields})


def _write(session: Session) -> None:
    """Write the transaction's entries, in one statement however many they are."""
    moment = now()
    insert_all(session, AuditEntry, [{**entry, "at": moment} for entry in session.info.pop("audit")])


def address_of(session: Session) -> str | None:
    """Give the address from which the person asks for whom this transaction acts."""
    actor: Actor | None = session.info.get("actor")
    return None if actor is None else actor.address


def listed(session: Session, wanted: Wanted, most: int, before: str | None = None) -> Sequence[AuditEntry]:
    """Give entries, newest first; `action` may end in `.*` for all of a noun."""
    query = select(AuditEntry)
    for name in ("key_id", "object_type", "object_id", "city_id"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(AuditEntry, name) == value)
    if wanted.action is not None:
        noun = wanted.action.removesuffix(".*")
        of_noun = noun != wanted.action
        query = query.where((AuditEntry.object_type if of_noun else AuditEntry.action) == noun)
    if wanted.since is not None:
        query = query.where(col(AuditEntry.at) >= wanted.since)
    if wanted.until is not None:
        query = query.where(col(AuditEntry.at) < wanted.until)
    if before is not None:
        query = query.where(col(AuditEntry.id) < before)
    return session.exec(query.order_by(col(AuditEntry.id).desc()).limit(most)).all()


def about_city(city_id: str, key_ids: Collection[str]) -> ColumnElement[bool]:
    """Ask whether an entry is about a city or tells of what its keys did."""
    return or_(col(AuditEntry.city_id) == city_id, col(AuditEntry.key_id).in_(key_ids))
