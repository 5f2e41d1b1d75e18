# SPDX-License-Identifier: Apache-2.0
"""The shapes of a city: as it is registered and changed, as everyone sees it, as its own people do."""

from datetime import datetime

from twinning.fields import (
    Count,
    CountryCode,
    Email,
    Languages,
    Latitude,
    Line,
    Lines,
    Longitude,
    Reference,
    Shape,
    Text,
    Website,
)
from twinning.terms import CityState, Region


class Contact(Shape):
    """Whom to write to; shown to staff, the city, its coordinators, and a partner once introduced."""

    name: Line
    email: Email


class CityCreate(Shape):
    """A city to be registered."""

    name: Line
    country: CountryCode
    external_ref: Reference | None = None
    languages: Languages = []
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    population: Count | None = None
    website: Website | None = None
    summary: Text | None = None
    networks: Lines = []
    existing_partners: Lines = []
    contact: Contact | None = None


class CityUpdate(CityCreate):
    """What may be changed of a city; a field left out stays as it is."""

    name: Line = ""
    country: CountryCode = ""


class CityPublic(Shape):
    """A city as everyone with a key sees it, and as events show it: without its contact."""

    id: str
    name: str
    external_ref: str | None
    country: str
    region: Region
    languages: list[str]
    latitude: float | None
    longitude: float | None
    population: int | None
    website: str | None
    summary: str | None
    networks: list[str]
    existing_partners: list[str]
    state: CityState
    created_at: datetime
    updated_at: datetime


class CityOwned(CityPublic):
    """A city as those see it who look after it: with its contact."""

    contact: Contact | None = None
