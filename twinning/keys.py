# SPDX-License-Identifier: Apache-2.0
"""API keys and what their bearers may see and change; only a key's hash is kept."""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnElement, Row, or_, sql, update
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.database import new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.errors import Forbidden, NotFound, Unauthorised
from twinning.fields import Countries, Line, Moment, Reference, Shape, unfit
from twinning.lifecycle import Hand
from twinning.pages import page
from twinning.terms import Role

PREFIX = "asem_"
# A key is made and revoked and never changed, so it has one version.
VERSION = 1
# The same words for a key that never was, has ended or was revoked.
REFUSED = "This key is not known, or is revoked or expired."


class ApiKey(SQLModel, table=True):
    """A key's row: who bears it, and the SHA-256 of what the bearer shows."""

    __tablename__ = "api_key"

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    name: str = Field(max_length=300)
    role: str = Field(max_length=20)
    countries: list[str] = Field(default_factory=list, sa_type=Json)
    city_id: str | None = Field(default=None, sa_type=Id)
    key_hash: str = Field(max_length=64, unique=True)
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    expires_at: datetime | None = Field(default=None, sa_type=Instant)
    revoked_at: datetime | None = Field(default=None, sa_type=Instant)
    # To the minute: it is written down once a minute at most, beside the requests.
    last_used_at: datetime | None = Field(default=None, sa_type=Instant)


# Written once, since every request asks it.
_BY_HASH = sql.select(ApiKey.__table__).where(  # type: ignore[attr-defined]
    col(ApiKey.key_hash) == sql.bindparam("key_hash")
)
_BY_HASHES = sql.select(ApiKey.__table__).where(  # type: ignore[attr-defined]
    col(ApiKey.key_hash).in_(sql.bindparam("hashes", expanding=True))
)


def _misplaced(field: str, *, wanted: bool, whose: str) -> PydanticCustomError:
    """Say that a field is missing for a role, or is there for another, and which it is."""
    words = f"A {whose}'s key needs {field}." if wanted else f"{field} is for a {whose}'s key alone."
    return unfit(words, field)


class ApiKeyCreate(Shape):
    """A key to be made."""

    role: Role
    name: Line
    countries: Countries = []
    city_id: Reference | None = None
    expires_at: Moment | None = None
    # The key that this one is to follow, whose webhook endpoints, rounds and previews become this one's.
    replaces: Reference | None = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> "ApiKeyCreate":
        """A coordinator has countries, a city's key its city, and neither has the other's."""
        if (self.role is Role.COORDINATOR) != bool(self.countries):
            raise _misplaced("countries", wanted=self.role is Role.COORDINATOR, whose="coordinator")
        if (self.role is Role.CITY) != (self.city_id is not None):
            raise _misplaced("city_id", wanted=self.role is Role.CITY, whose="city")
        return self


class ApiKeyPublic(Shape):
    """A key as it is listed: never the key itself."""

    id: str
    name: str
    role: Role
    countries: list[str]
    city_id: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeyShown(ApiKeyPublic):
    """A new key, shown this once."""

    key: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and so what may be seen and changed."""

    key_id: str
    role: Role
    countries: frozenset[str] = frozenset()
    city_id: str | None = None
    name: str = ""

    @property
    def is_staff(self) -> bool:
        """Staff may do everything."""
        return self.role is Role.STAFF

    @property
    def whose(self) -> str | None:
        """Whose things a list shows to the caller: their key's own, or everybody's (None) to staff."""
        return None if self.is_staff else self.key_id

    def acts_for(self, key_id: str) -> bool:
        """Say whether what was made with a key is the caller's to deal with: their own, or staff's any."""
        return self.is_staff or self.key_id == key_id

    def hand(self, *, moderation: bool) -> Hand:
        """Say whether what is written waits for a review: a city's own does, where the house moderates."""
        return Hand(moderated=moderation, reviews=self.role is not Role.CITY)

    def owns(self, city_id: str, country: str) -> bool:
        """Say whether this city is the caller's own, one of a coordinator's, or staff's to care for."""
        return self.is_staff or self.city_id == city_id or country in self.countries

    def sees(self, cities: Collection[tuple[str, str]]) -> bool:
        """Say whether something that names these (city id, country) is for the caller."""
        return self.is_staff or any(self.owns(city_id, country) for city_id, country in cities)

    def must_own(self, city_id: str, country: str) -> None:
        """Refuse a change to a city that is not the caller's to change."""
        if not self.owns(city_id, country):
            raise Forbidden("This key may read this city and not change it.")

    def must_care_for(self, country: str) -> None:
        """Refuse a city of a country that a coordinator does not look after."""
        if not self.is_staff and country not in self.countries:
            raise Forbidden(f"This key does not coordinate {country}.")

    def must_be(self, *roles: Role) -> None:
        """Refuse all but these roles."""
        if self.role not in roles:
            raise Forbidden(f"This needs a key of the role {' or '.join(roles)}; yours is {self.role}.")


def digest(key: str) -> str:
    """Hash a key as it is kept; a key is 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def create(session: Session, wanted: ApiKeyCreate) -> tuple[ApiKey, str]:
    """Make a key; gives its row and, this once, the key."""
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(**wanted.model_dump(exclude={"replaces"}), key_hash=digest(key))
    session.add(row)
    return row, key


def is_live(row: ApiKey | Row[Any], moment: datetime) -> bool:
    """Say whether a key is good at a moment: neither revoked nor expired."""
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > moment)


def caller_of(row: ApiKey | Row[Any]) -> Caller:
    """Read a key's row as a caller."""
    return Caller(row.id, Role(row.role), frozenset(row.countries), row.city_id, row.name)


def identify(session: Session, key: str) -> Caller:
    """Find who bears a key; raises `Unauthorised` for one that is unknown, revoked or expired.

    Once in a transaction: whoever shares one has asked before it began, so what ended by then is seen.
    """
    known: dict[str, Caller | None] = session.info.setdefault("callers", {})
    key_hash = digest(key)
    caller = known.get(key_hash)
    if caller is None:
        row = session.connection().execute(_BY_HASH, {"key_hash": key_hash}).first()
        if row is None or not is_live(row, now()):
            raise Unauthorised(REFUSED)
        caller = known[key_hash] = caller_of(row)
    return caller


def foresee(session: Session, bearers: Collection[str]) -> dict[str, str]:
    """Find for all at once who bears these keys, for `identify`; gives the ids of those that are good."""
    moment, hashes = now(), {digest(key): key for key in bearers}
    rows = session.connection().execute(_BY_HASHES, {"hashes": list(hashes)}).all()
    found = {row.key_hash: caller_of(row) for row in rows if is_live(row, moment)}
    session.info.setdefault("callers", {}).update(found)
    return {hashes[key_hash]: caller.key_id for key_hash, caller in found.items()}


def good_by_hash(session: Session, key_hash: str) -> str | None:
    """Give the id of a key that is good now, found by its hash."""
    return session.exec(select(ApiKey.id).where(ApiKey.key_hash == key_hash, *_live())).first()


def live_hashes(session: Session, most: int) -> dict[str, str]:
    """Give the ids of keys that are good now by their hashes, the newest when there are too many."""
    query = select(ApiKey.key_hash, ApiKey.id).where(*_live()).order_by(col(ApiKey.id).desc()).limit(most)
    return dict(session.exec(query).all())


def note_uses(session: Session, uses: Mapping[str, datetime]) -> None:
    """Keep when keys were used last."""
    for key_id, moment in sorted(uses.items()):
        session.execute(update(ApiKey).where(col(ApiKey.id) == key_id).values(last_used_at=moment))


def good_among(session: Session, key_ids: Collection[str]) -> set[str]:
    """Give those of these keys that are neither revoked nor expired."""
    moment = now()
    rows = session.exec(select(ApiKey).where(col(ApiKey.id).in_(key_ids)))
    return {row.id for row in rows if is_live(row, moment)}


def live(session: Session, most: int | None = None, after: str | None = None) -> Sequence[ApiKey]:
    """Give the keys that are not revoked or expired, oldest first."""
    return page(session, select(ApiKey).where(*_live()), col(ApiKey.id), most, after)


def _live() -> tuple[ColumnElement[bool], ...]:
    """Ask whether a key is good now."""
    expiry = col(ApiKey.expires_at)
    return col(ApiKey.revoked_at).is_(None), or_(expiry.is_(None), expiry > now())


def get(session: Session, key_id: str) -> ApiKey:
    """Find a key that is not revoked; raises `NotFound`."""
    row = session.get(ApiKey, key_id)
    if row is None or row.revoked_at is not None:
        raise NotFound("There is no such key.")
    return row


def of_city(session: Session, city_id: str) -> Sequence[ApiKey]:
    """Give a city's keys that are not revoked."""
    mine = select(ApiKey).where(ApiKey.city_id == city_id, col(ApiKey.revoked_at).is_(None))
    return session.exec(mine.order_by(col(ApiKey.id))).all()


def revoke(session: Session, row: ApiKey) -> None:
    """End a key at once."""
    # Whoever asks with it after this in the transaction is looked up again.
    session.info.setdefault("callers", {})[row.key_hash] = None
    row.revoked_at = now()
    session.add(row)
