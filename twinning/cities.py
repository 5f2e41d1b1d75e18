# SPDX-License-Identifier: Apache-2.0
"""Cities: their table, how they change, how they are found; a city's region follows from its country."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Index, Select, bindparam, or_, sql, text
from sqlalchemy.orm import make_transient_to_detached
from sqlmodel import Field, Session, SQLModel, col, select

from twinning import catalogue, gazetteer, namesakes, work
from twinning.catalogue import Subject
from twinning.city_names import Named, is_same
from twinning.city_shapes import CityCreate, CityOwned, CityPublic, Contact
from twinning.database import HELD, is_id, new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.errors import Conflict, NotFound
from twinning.inserting import insert_rows
from twinning.many_rows import in_batches
from twinning.pages import page
from twinning.reference import region_of
from twinning.terms import CityState, Region, Work

ABSENT: Final = "There is no such city."


class City(SQLModel, table=True):
    """A learning city or region in an ASEM partner country."""

    __table_args__ = (
        Index(
            "uq_city_external_ref",
            "external_ref",
            unique=True,
            sqlite_where=text("state != 'withdrawn'"),
            postgresql_where=text("state != 'withdrawn'"),
        ),
    )

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    name: str = Field(max_length=300, index=True)
    external_ref: str | None = Field(default=None, max_length=200)
    country: str = Field(max_length=2, index=True)
    region: str = Field(max_length=10)
    languages: list[str] = Field(default_factory=list, sa_type=Json)
    latitude: float | None = None
    longitude: float | None = None
    population: int | None = None
    website: str | None = None
    summary: str | None = None
    networks: list[str] = Field(default_factory=list, sa_type=Json)
    existing_partners: list[str] = Field(default_factory=list, sa_type=Json)
    contact_name: str | None = None
    contact_email: str | None = None
    state: str = Field(default=CityState.REGISTERED, max_length=20)
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


# A change of these alters which cities may be paired, and so is news for the matching workers.
PAIRING_FIELDS = frozenset({"country", "existing_partners", "name"})
# A change of these alters which other cities may be the same.
_NAMING_FIELDS = frozenset({"country", "name", "latitude", "longitude"})


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Lay a shape's fields out as columns."""
    columns = dict(fields)
    if "contact" in columns:
        contact = columns.pop("contact") or {}
        columns |= {"contact_name": contact.get("name"), "contact_email": contact.get("email")}
    if "country" in columns:
        columns["region"] = region_of(columns["country"])
    return columns


def register(session: Session, wanted: CityCreate, *, force: bool = False) -> City:
    """Register a city; raises `Conflict` when its reference is taken.

    One that is registered under a like name in its country is a `Conflict`, too, unless forced.
    """
    _keep_reference_free(session, wanted.external_ref)
    columns = _columns(wanted.model_dump())
    city, named = City(**_placed(columns)), _named(columns)
    namesakes.hold(session)
    if not force:
        _refuse_double(session, named, city.id)
    _write_new(session, city)
    namesakes.keep(session, city.id, named)
    catalogue.note(session, Subject.CITY, city.id)
    return city


def _write_new(session: Session, city: City) -> None:
    """Write a new city, which the session keeps from then on; a flush would take several times as long."""
    insert_rows(session, City, [city])
    make_transient_to_detached(city)
    session.add(city)


def change(session: Session, city: City, wanted: CityCreate, *, force: bool = False) -> frozenset[str]:
    """Change the fields that were sent; gives the names of those that are really different now.

    A new name or country is held against the other cities, as at a registration.
    """
    columns = _columns(wanted.model_dump(exclude_unset=True))
    columns = _placed(columns, _naming(city))
    if columns.get("external_ref") not in {None, city.external_ref}:
        _keep_reference_free(session, columns["external_ref"])
    changed = frozenset(name for name, value in columns.items() if getattr(city, name) != value)
    if changed & _NAMING_FIELDS:
        # Before anything is written: who holds the names waits for nobody's reference.
        namesakes.hold(session)
    if changed & {"name", "country"} and not force:
        _refuse_double(session, _named(_naming(city) | columns), city.id)
    for name in changed:
        setattr(city, name, columns[name])
    if changed:
        session.info.pop("held", None)
        city.version += 1
        city.updated_at = now()
        session.add(city)
    if changed & _NAMING_FIELDS:
        namesakes.drop(session, city.id)
        namesakes.keep(session, city.id, _named(_naming(city)))
    if changed & PAIRING_FIELDS:
        _announce(session, city)
    return changed


def withdraw(session: Session, city: City) -> None:
    """Take a city out and erase its contact."""
    session.info.pop("held", None)
    city.state = CityState.WITHDRAWN
    city.contact_name = city.contact_email = None
    city.version += 1
    city.updated_at = now()
    session.add(city)
    namesakes.drop(session, city.id)
    _announce(session, city)


@dataclass(frozen=True, slots=True)
class Held:
    """A registered city that is held: what those need to know of it who change its listings."""

    id: str
    country: str


def get(session: Session, city_id: str, *, hold: bool = False) -> City:
    """Find a registered city, held until the commit when it is to be changed; raises `NotFound`."""
    # What was read before the wait may have changed meanwhile.
    city = session.get(City, city_id, with_for_update=hold and HELD, populate_existing=hold)
    if city is None or city.state == CityState.WITHDRAWN:
        raise NotFound(ABSENT)
    return city


def hold(session: Session, city_id: str) -> Held:
    """Hold a registered city until the commit, for those who add to it and change nothing of it itself."""
    held: dict[str, Held] = session.info.setdefault("held", {})
    if city_id not in held:
        row = session.connection().execute(_holding(), {"city_id": city_id}).first()
        if row is None:
            raise NotFound(ABSENT)
        held[city_id] = Held(row.id, row.country)
    return held[city_id]


def foresee(session: Session, city_ids: Collection[str]) -> None:
    """Hold all at once those of these cities that nobody else holds; `hold` knows of each then."""
    if city_ids:
        rows = session.connection().execute(_holding_free(), {"city_ids": sorted(city_ids)})
        session.info.setdefault("held", {}).update((row.id, Held(row.id, row.country)) for row in rows)


@cache
def _holding() -> Select[str, str]:
    """Build the statement once that holds a city: each registration of a listing asks it."""
    named = (col(City.id) == bindparam("city_id"), col(City.state) == CityState.REGISTERED)
    return sql.select(col(City.id), col(City.country)).where(*named).with_for_update(key_share=True)


@cache
def _holding_free() -> Select[str, str]:
    """Build the statement once that holds several cities, in order, but for those that are held."""
    named = col(City.id).in_(bindparam("city_ids", expanding=True))
    query = sql.select(col(City.id), col(City.country)).where(named, col(City.state) == CityState.REGISTERED)
    return query.order_by(col(City.id)).with_for_update(key_share=True, skip_locked=True)


def named(session: Session, names: Collection[str], *, hold: bool = False) -> dict[str, City]:
    """Find registered cities by reference, or by id; held, in order, until the commit when asked."""
    ids = [name for name in names if is_id(name)]
    query = select(City).where(
        or_(col(City.external_ref).in_(names), col(City.id).in_(ids)), City.state == CityState.REGISTERED
    )
    query = query.order_by(col(City.id))
    rows = session.exec(query.with_for_update(key_share=True) if hold else query).all()
    asked = frozenset(ids)
    found = {city.id: city for city in rows if city.id in asked}
    return found | {city.external_ref: city for city in rows if city.external_ref is not None}


def listed(
    session: Session,
    most: int,
    after: str | None = None,
    *,
    country: str | None = None,
    region: Region | None = None,
    text: str | None = None,
    external_ref: str | None = None,
) -> Sequence[City]:
    """Give registered cities in the order of their ids; `text` is looked for in name and summary."""
    query = select(City).where(City.state == CityState.REGISTERED)
    if text is not None:
        found = (col(column).icontains(text, autoescape=True) for column in (City.name, City.summary))
        query = query.where(or_(*found))
    equal = {City.country: country, City.region: region, City.external_ref: external_ref}
    return page(session, query, col(City.id), most, after, equal)


def places_of(session: Session, city_ids: Sequence[str]) -> dict[str, str]:
    """Give the country of each of these cities that is registered, by its id."""
    query = select(City.id, City.country).where(
        col(City.id).in_(city_ids), City.state == CityState.REGISTERED
    )
    return dict(session.exec(query).all())


def points_of(session: Session, city_ids: Collection[str]) -> dict[str, list[float]]:
    """Give longitude and latitude of those of these cities that have both, by id."""
    found: dict[str, list[float]] = {}
    for some in in_batches(city_ids):
        query = select(City.id, City.longitude, City.latitude).where(
            col(City.id).in_(some), col(City.longitude).is_not(None), col(City.latitude).is_not(None)
        )
        for city_id, *point in session.exec(query):
            found[city_id] = [degrees for degrees in point if degrees is not None]
    return found


def public(city: City) -> CityPublic:
    """Show a city without its contact."""
    return CityPublic.model_validate(city)


def owned(city: City) -> CityOwned:
    """Show a city with its contact."""
    contact = None
    if city.contact_name and city.contact_email:
        contact = Contact(name=city.contact_name, email=city.contact_email)
    return CityOwned(**public(city).model_dump(), contact=contact)


def _announce(session: Session, city: City) -> None:
    """Tell the change log and ask for the matching of what this city takes part in."""
    catalogue.note(session, Subject.CITY, city.id)
    work.enqueue(session, Work.MATCH_CITY, city.id)


def _naming(city: City) -> dict[str, Any]:
    return {name: getattr(city, name) for name in _NAMING_FIELDS}


def _named(fields: Mapping[str, Any]) -> Named:
    point = fields["latitude"], fields["longitude"]
    return Named(fields["name"], fields["country"], None if None in point else point)


def _placed(columns: dict[str, Any], present: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Fill in where a city lies, when nobody says it and the gazetteer knows its name."""
    after = {**(present or {}), **columns}
    if after["latitude"] is not None or after["longitude"] is not None:
        return columns
    place = gazetteer.find(after["name"], after["country"])
    return (
        columns if place is None else columns | dict(zip(("latitude", "longitude"), place.point, strict=True))
    )


def _refuse_double(session: Session, named: Named, besides: str) -> None:
    """Raise `Conflict` when a city other than `besides` is registered that this may be."""
    ids = [other for other in namesakes.sharing_a_key(session, named) if other != besides]
    if not ids:
        return
    for other in session.exec(select(City).where(col(City.id).in_(ids)).order_by(col(City.id))).all():
        if is_same(named, _named(_naming(other))):
            raise Conflict(
                f"{other.name} ({other.country}) is registered already, and {named.name} may be the same. "
                "If it is another city, give its latitude and longitude or force it.",
                code="city-exists",
                members={
                    "existing": {"id": other.id, "name": other.name, "location": f"/v1/cities/{other.id}"}
                },
            )


def _keep_reference_free(session: Session, reference: str | None) -> None:
    if reference is None:
        return
    taken = select(City.id).where(City.external_ref == reference, col(City.state) != CityState.WITHDRAWN)
    if session.exec(taken).first():
        raise Conflict(f"The external_ref {reference!r} is taken by another city.", code="external-ref-taken")
