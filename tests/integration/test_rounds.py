# SPDX-License-Identifier: Apache-2.0
"""Matching rounds, run by the matcher on a real database."""

import pytest

from services.matcher import rounds as running
from services.matcher.assembling import gini
from services.matcher.matching import Matcher
from tests.catalogues import Catalogue
from tests.integration.test_suggesting import TEXTS
from twinning import outbox, rounds, standing
from twinning.database import Database
from twinning.events import EventType
from twinning.keys import Caller
from twinning.rounds import MatchingRound, RoundPublic, RoundRequest
from twinning.settings import Settings
from twinning.terms import Band, Role, RoundState, SuggestionKind

STAFF = Caller("staff", Role.STAFF)


@pytest.fixture
def cities(database: Database) -> list[str]:
    """Four cities of two regions whose practices answer each other's needs."""
    made = Catalogue(database)
    ids = [made.city(*city) for city in (("Cork", "IE"), ("Pécs", "HU"), ("Suwon", "KR"), ("Balanga", "PH"))]
    for number, city in enumerate(ids):
        made.practice(city, "Practice", TEXTS[2 * number])
        made.need(city, "Need", TEXTS[(2 * number + 5) % 12])
    return ids


def ask(database: Database, wanted: RoundRequest) -> str:
    """Ask for a round; gives its id."""
    with database.transaction() as session:
        return rounds.ask(session, wanted, "key").id


def read(database: Database, round_id: str) -> tuple[RoundPublic, list[tuple[str, float]]]:
    """Read a round and what it proposes."""
    with database.snapshot() as session:
        row = session.get_one(MatchingRound, round_id)
        found = rounds.suggestions_of(session, round_id)
        return rounds.public(session, row), [(each.pair_key, each.score) for each in found]


def test_a_round_proposes_what_stands_best_first(database: Database, cities: list[str]) -> None:
    """A `top` round with the standing parameters links to just what stands, in the order of the scores."""
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()
    round_id = ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT))

    matcher.take()

    shown, found = read(database, round_id)
    with database.snapshot() as session:
        stands = {row.pair_key for row in standing.all_listed(session) if row.kind == "study_visit"}
    assert cities
    assert shown.state is RoundState.COMPLETED
    assert {key for key, _ in found} == stands
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert shown.progress.done == shown.progress.total > 0


def test_a_round_adds_and_withdraws_nothing(database: Database, cities: list[str]) -> None:
    """A round of weak matches adds suggestions beside those that stand, and none falls."""
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()
    with database.snapshot() as session:
        before = {row.id for row in standing.all_listed(session)}

    round_id = ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT, min_band=Band.WEAK, per_city=50))
    matcher.take()

    with database.snapshot() as session:
        after = {row.id for row in standing.all_listed(session)}
        told = [event.type for event in outbox.feed(session, STAFF, 0, [], 200)]
    assert cities
    assert before == after
    assert EventType.SUGGESTION_WITHDRAWN not in told
    assert told[-1] == EventType.MATCHING_ROUND_COMPLETED
    assert len(read(database, round_id)[1]) >= len(before)


def test_the_same_catalogue_and_parameters_give_the_same_round(database: Database, cities: list[str]) -> None:
    """Two rounds over one catalogue, by different workers, propose the same with the same scores."""
    Matcher(database, Settings(), "m1").take()
    first = ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT))
    Matcher(database, Settings(), "m2").take()
    second = ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT))
    Matcher(database, Settings(), "m3").take()

    assert cities
    assert read(database, first)[1] == read(database, second)[1] != []


def test_a_round_of_some_countries_makes_their_lists_only(database: Database, cities: list[str]) -> None:
    """Who learns in a round of one country is of that country."""
    matcher = Matcher(database, Settings(), "m1")
    round_id = ask(
        database, RoundRequest(kind=SuggestionKind.STUDY_VISIT, countries=["IE"], min_band=Band.WEAK)
    )
    matcher.take()

    with database.snapshot() as session:
        learners = {
            one["learner_city_id"]
            for row in rounds.suggestions_of(session, round_id)
            for one in row.directions
        }
    assert learners <= {cities[0]}
    assert read(database, round_id)[0].summary is not None


def test_an_empty_catalogue_completes_an_empty_round(database: Database) -> None:
    """A round over nothing is completed, with a summary of zeros."""
    round_id = ask(database, RoundRequest(kind=SuggestionKind.TWINNING))
    Matcher(database, Settings(), "m1").take()

    shown, found = read(database, round_id)
    assert shown.state is RoundState.COMPLETED
    assert shown.summary is not None
    assert (shown.summary.cities, found) == (0, [])


def test_a_cancelled_round_does_nothing_more(database: Database, cities: list[str]) -> None:
    """After a cancel no block is taken and nothing is proposed."""
    round_id = ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT))
    with database.transaction() as session:
        rounds.cancel(session, session.get_one(MatchingRound, round_id))
    Matcher(database, Settings(), "m1").take()

    shown, found = read(database, round_id)
    assert cities
    assert (shown.state, found) == (RoundState.CANCELLED, [])


def test_a_killed_workers_block_is_taken_again(
    database: Database, cities: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round cut into many blocks is completed though a worker took some and was never heard of again."""
    monkeypatch.setattr(running, "NEEDS_IN_A_BLOCK", 1)
    dead, alive = Matcher(database, Settings(lease_s=0.001), "dead"), Matcher(database, Settings(), "alive")
    round_id = ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT))
    Matcher(database, Settings(), "first").take()
    round_id = ask(database, RoundRequest(kind=SuggestionKind.TWINNING))
    dead.do(dead.claim())
    assert dead.claim()

    alive.take()

    assert cities
    assert read(database, round_id)[0].state is RoundState.COMPLETED


@pytest.mark.parametrize(
    ("counts", "expected"), [([], 0.0), ([0, 0], 0.0), ([3, 3, 3], 0.0), ([0, 0, 0, 4], 0.75), ([1, 3], 0.25)]
)
def test_exposure_is_measured_as_gini_did(counts: list[int], expected: float) -> None:
    """All alike is 0; one of four that has everything is three quarters."""
    assert gini(counts) == pytest.approx(expected)
