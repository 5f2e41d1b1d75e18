# SPDX-License-Identifier: Apache-2.0
"""The rules of parts of a transaction: each may be undone alone, and finds what those before it have left."""

import pytest

from tests.catalogues import Catalogue
from twinning import cities, idempotency, keys
from twinning.city_shapes import CityUpdate
from twinning.database import Database
from twinning.errors import Unauthorised
from twinning.keys import ApiKey, ApiKeyCreate
from twinning.terms import Role


def test_a_part_finds_what_the_parts_before_it_have_put_off(database: Database) -> None:
    """A second request under one key finds the first one's answer, in a savepoint of its own, too."""
    columns = {
        "caller": "c",
        "key": "k",
        "request_hash": "",
        "status": 201,
        "headers": {},
        "body": b"first",
        "key_id": None,
        "about": None,
    }
    with database.writing() as whole:
        with database.within(whole) as undone:
            idempotency.store(undone, columns | {"key": "other"})
        with database.within(whole) as part:
            assert idempotency.find(part, "c", "other") is None
            idempotency.store(part, columns)
            database.join(whole, part)
        with database.within(whole) as part:
            found = idempotency.find(part, "c", "k")
            assert found is not None
            assert found.body == b"first"
            database.join(whole, part)
        database.commit(whole)
    with database.snapshot() as session:
        assert idempotency.find(session, "c", "k") is not None
        assert idempotency.find(session, "c", "other") is None


def test_a_key_that_ends_in_company_is_refused_to_those_behind(database: Database) -> None:
    """Revoked in one part of a transaction, a key that asked before is good for nothing in the next part."""
    with database.transaction() as session:
        row, key = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Staff"))
        key_id = row.id
    with database.writing() as whole:
        with database.within(whole) as part:
            keys.identify(part, key)
            database.join(whole, part)
        with database.within(whole) as part:
            keys.revoke(part, part.get_one(ApiKey, key_id))
            database.join(whole, part)
        with database.within(whole) as part, pytest.raises(Unauthorised):
            keys.identify(part, key)


def test_a_city_that_was_held_is_read_anew_when_it_has_changed(database: Database) -> None:
    """Whoever holds a city again in a transaction hears of the country that it was given in between."""
    city_id = Catalogue(database).city("Suwon", "KR")
    with database.writing() as session:
        cities.foresee(session, [city_id])
        before = cities.hold(session, city_id).country
        cities.change(session, cities.get(session, city_id, hold=True), CityUpdate(country="JP"))
        session.flush()
        after = cities.hold(session, city_id).country

    assert (before, after) == ("KR", "JP")
