# SPDX-License-Identifier: Apache-2.0
"""A catalogue for tests that go past the front door: registers cities and listings in a real database."""

from typing import Any

from twinning import cities, listings
from twinning.cities import City
from twinning.city_shapes import CityCreate, CityUpdate
from twinning.database import Database
from twinning.forms import NeedCreate, NeedUpdate, PracticeCreate, PracticeUpdate
from twinning.listings import Listing
from twinning.terms import ListingKind, ListingState


class Catalogue:
    """Writes to a database as the front door does, one transaction each."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def city(self, name: str, country: str, partners: list[str] | None = None) -> str:
        """Register a city; gives its id."""
        with self.database.transaction() as session:
            wanted = CityCreate(name=name, country=country, existing_partners=partners or [])
            return cities.register(session, wanted).id

    def practice(self, city_id: str, title: str, description: str, **facts: Any) -> str:
        """Register a practice; gives its id."""
        wanted = PracticeCreate(title=title, description=description, **facts)
        with self.database.transaction() as session:
            return listings.register(session, city_id, wanted).id

    def need(self, city_id: str, title: str, description: str, **facts: Any) -> str:
        """Register a need; gives its id."""
        with self.database.transaction() as session:
            wanted = NeedCreate(title=title, description=description, **facts)
            return listings.register(session, city_id, wanted).id

    def rewrite(self, listing_id: str, description: str) -> None:
        """Change what a listing says."""
        self.change(listing_id, description=description)

    def change(self, listing_id: str, **fields: Any) -> None:
        """Change a listing's fields, those that its kind has."""
        with self.database.transaction() as session:
            row = self._listing(session.get(Listing, listing_id))
            shape = PracticeUpdate if row.kind == ListingKind.PRACTICE else NeedUpdate
            theirs = {name: value for name, value in fields.items() if name in shape.model_fields}
            listings.change(session, row, shape(**theirs))

    def pause(self, listing_id: str) -> None:
        """Take a listing out of matching for a while, or bring it back."""
        with self.database.transaction() as session:
            row = self._listing(session.get(Listing, listing_id))
            shape = PracticeUpdate if row.kind == ListingKind.PRACTICE else NeedUpdate
            paused = row.state == ListingState.PAUSED
            state = ListingState.PUBLISHED if paused else ListingState.PAUSED
            listings.change(session, row, shape(state=state))

    def withdraw(self, listing_id: str) -> None:
        """Withdraw a listing."""
        with self.database.transaction() as session:
            listings.withdraw(session, self._listing(session.get(Listing, listing_id)))

    def partner(self, city_id: str, other_id: str) -> None:
        """Note that two cities are partners already."""
        with self.database.transaction() as session:
            city = cities.get(session, city_id)
            partners = [*city.existing_partners, other_id]
            cities.change(session, city, CityUpdate(existing_partners=sorted(set(partners))))

    def leave(self, city_id: str) -> None:
        """Withdraw a city with its listings."""
        with self.database.transaction() as session:
            for listing in listings.of_city(session, city_id):
                listings.withdraw(session, listing)
            cities.withdraw(session, session.get_one(City, city_id))

    @staticmethod
    def _listing(row: Listing | None) -> Listing:
        assert row is not None
        return row
