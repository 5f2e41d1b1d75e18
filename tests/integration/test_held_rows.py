# SPDX-License-Identifier: Apache-2.0
"""The rules of rows that are held: who waits for whom, in which order, and that each is seen as it is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from sqlalchemy import text
from sqlmodel import Session

from services.api import access, asking
from tests.catalogues import Catalogue
from tests.hooks import deliveries, eventually, ping, subscribe
from twinning import (
    cities,
    endpoints,
    imports,
    listings,
    observations,
    replays,
    rounds,
    subscriptions,
    switching,
    work,
)
from twinning.database import Database, now
from twinning.dialects import wait_at_most
from twinning.errors import Conflict
from twinning.keys import Caller
from twinning.listings import Listing
from twinning.replays import ReplayRequest
from twinning.rounds import RoundRequest
from twinning.table_files import TableFormat
from twinning.terms import ListingKind, Role, SuggestionKind, Work

THEMES = [{"theme": "cl7", "label": "Literacy", "score": 0.4}]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """PostgreSQL alone: who writes into SQLite has it to itself."""
    return postgres_url


def test_whoever_holds_a_row_lets_pass_who_refers_to_it(database: Database) -> None:
    """A foreign key's check waits for none of those that hold a row to change it."""
    made = Catalogue(database)
    city = made.city("Suwon", "KR")
    need = made.need(city, "Reading", "Older adults want help with reading and writing letters")
    made.change(need, external_ref="n-1")
    endpoint = subscribe(database, "http://127.0.0.1:9/")
    with database.transaction() as session:
        row = rounds.ask(session, RoundRequest(kind=SuggestionKind.STUDY_VISIT), endpoint.owner_id)
        sent = imports.ask(session, endpoint.owner_id, "a.csv", TableFormat.CSV, 1, BytesIO(b"a"))
        again = replays.ask(session, endpoints.get(session, endpoint.id), ReplayRequest(since=now()))
        session.flush()
        round_id, import_id, replay_id = row.id, sent.id, again.id
    holding: list[tuple[str, str, Callable[[Session], object]]] = [
        ("city", city, lambda session: cities.get(session, city, hold=True)),
        ("city", city, lambda session: cities.hold(session, city)),
        ("city", city, lambda session: cities.named(session, [city], hold=True)),
        ("listing", need, lambda session: listings.get(session, ListingKind.NEED, need, hold=True)),
        ("listing", need, lambda session: listings.of_city(session, city)),
        (
            "listing",
            need,
            lambda session: listings.by_reference(session, city, ListingKind.NEED, "n-1", hold=True),
        ),
        ("webhook_endpoint", endpoint.id, lambda session: endpoints.get(session, endpoint.id, hold=True)),
        ("matching_round", round_id, lambda session: rounds.get(session, round_id, hold=True)),
        ("import", import_id, lambda session: imports.get(session, import_id, hold=True)),
        ("replay", replay_id, lambda session: replays.get(session, replay_id, hold=True)),
        ("api_key", endpoint.owner_id, lambda session: subscriptions._must_have_room(session, endpoint)),
    ]
    for table, id_, hold in holding:
        with database.writing() as holder:
            hold(holder)
            for strength, free in (("KEY SHARE", 1), ("NO KEY UPDATE", 0)):
                query = f'SELECT id FROM "{table}" WHERE id = :id FOR {strength} SKIP LOCKED'
                with database.writing() as other:
                    assert len(other.execute(text(query), {"id": id_}).all()) == free, (table, strength)


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


def test_who_strikes_units_off_and_who_asks_for_them_wait_in_one_order(database: Database) -> None:
    """A matcher that is done with two listings, and a request that changes both, make no deadlock."""
    for subject in ("b", "a"):
        with database.transaction() as session:
            work.enqueue(session, Work.MATCH_LISTING, subject)
    with database.transaction() as session:
        claims = work.claim(session, "matcher", 10, 30)
    assert [claim.subject for claim in claims] == ["b", "a"]

    def change() -> None:
        with database.transaction() as session:
            work.enqueue_all(session, Work.MATCH_LISTING, ["a", "b"])

    def finish() -> None:
        with database.transaction() as session:
            work.finish(session, claims)

    with ThreadPoolExecutor(2) as pool, database.writing() as holder:
        holder.execute(text("SELECT id FROM work_unit WHERE subject = 'a' FOR UPDATE"))
        changing = pool.submit(change)
        eventually(lambda: _waiting(database, 1))
        finishing = pool.submit(finish)
        eventually(lambda: _waiting(database, 2))
        holder.rollback()
        changing.result(30)
        finishing.result(30)


def _waiting(database: Database, count: int) -> bool:
    with database.snapshot() as session:
        return (session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")) or 0) >= count


def test_a_delivery_is_not_sent_again_to_an_endpoint_switched_off_meanwhile(database: Database) -> None:
    """Whoever has a delivery made again sees its endpoint as it is when it is held, not as it was before."""
    endpoint = subscribe(database, "http://127.0.0.1:9/")
    ping(database, [endpoint])
    (delivery,) = deliveries(database, endpoint)
    with database.writing() as session:
        row = access.own_delivery(session, Caller(endpoint.owner_id, Role.STAFF), delivery.id)
        with database.transaction() as other:
            switching.disable(other, endpoints.get(other, endpoint.id, hold=True), "its owner")
        with pytest.raises(Conflict):
            asking.retry(session, row)
