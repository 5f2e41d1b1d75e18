# SPDX-License-Identifier: Apache-2.0
"""The rule of what matchers observe: it is kept without waiting for whoever works on the same city."""

import pytest

from tests.catalogues import Catalogue
from twinning import cities, observations
from twinning.database import Database
from twinning.dialects import wait_at_most
from twinning.listings import Listing

THEMES = [{"theme": "cl7", "label": "Literacy", "score": 0.4}]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """PostgreSQL alone: who writes into SQLite has it to itself."""
    return postgres_url


def test_an_observation_waits_for_nobody_who_holds_the_city(database: Database) -> None:
    """Two observations of a need are kept while another transaction holds its city to write a listing.

    The second checks the key of the city again, since the row is the transaction's own by then; and whoever
    holds a city may wait for the need meanwhile.
    """
    made = Catalogue(database)
    city = made.city("Suwon", "KR")
    need = made.need(city, "Reading", "Older adults want help with reading and writing letters")
    with database.writing() as writer:
        cities.hold(writer, city)
        with database.transaction() as session:
            wait_at_most(session, 200)
            observations.mark_unmet(session, [need], unmet=True)
            observations.suggest_themes(session, {need: THEMES})

    with database.snapshot() as session:
        listing = session.get_one(Listing, need)
        assert (listing.unmet, listing.suggested_themes) == (True, THEMES)
