# SPDX-License-Identifier: Apache-2.0
"""Matching rounds, run by the matcher on a real database."""

import json
from typing import Any

import pytest
from sqlalchemy import event

from services.matcher import rounds as running
from services.matcher.assembling import gini
from services.matcher.matching import Matcher
from tests.catalogues import Catalogue
from tests.integration.test_suggesting import TEXTS
from tests.standing import all_listed, suggestions_of
from twinning import outbox, rounds, suggestions
from twinning.database import Database
from twinning.events import EventType
from twinning.keys import Caller
from twinning.rounds import MatchingRound, RoundPublic, RoundRequest
from twinning.settings import Settings
from twinning.terms import Assignment, Band, Role, RoundState, SuggestionKind

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
        found = suggestions_of(session, round_id)
        return rounds.public(session, row), [(each.pair_key, each.score) for each in found]


def test_a_round_proposes_what_stands_best_first(database: Database, cities: list[str]) -> None:
    """A `top` round with the standing parameters links to just what stands, in the order of the scores."""
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()
    round_id = ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT))

    matcher.take()

    shown, found = read(database, round_id)
    with database.snapshot() as session:
        stands = {row.pair_key for row in all_listed(session) if row.kind == "study_visit"}
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
        before = {row.id for row in all_listed(session)}

    round_id = ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT, min_band=Band.WEAK, per_city=50))
    matcher.take()

    with database.snapshot() as session:
        after = {row.id for row in all_listed(session)}
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


@pytest.mark.parametrize("kind", SuggestionKind)
@pytest.mark.parametrize("assignment", Assignment)
def test_any_number_of_workers_gives_the_same_round(
    database: Database, cities: list[str], kind: SuggestionKind, assignment: Assignment
) -> None:
    """A round that three workers do in turns, a need each, is what one worker finds in one go."""
    Matcher(database, Settings(), "first").take()
    wanted = RoundRequest(kind=kind, assignment=assignment, min_band=Band.WEAK)
    whole = ask(database, wanted)
    Matcher(database, Settings(), "alone").take()
    shared = ask(database, wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "NEEDS_IN_A_BLOCK", 1)
        workers = [Matcher(database, Settings(), f"one of {place}") for place in range(3)]
        turns = sum(bool(work_in_turn(worker)) for worker in workers * 20)

    assert cities
    assert turns >= (1 if kind is SuggestionKind.SEMINAR else 3)
    assert told(database, whole) == told(database, shared)


def work_in_turn(worker: Matcher) -> int:
    """Let a worker do what it takes in one go; gives how many units that was."""
    claims = worker.claim()
    worker.do(claims)
    return len(claims)


def told(database: Database, round_id: str) -> str:
    """All that a round says of itself and of what it proposes, as text."""
    with database.snapshot() as session:
        shown = rounds.public(session, session.get_one(MatchingRound, round_id))
        found = suggestions_of(session, round_id)
        assert shown.summary is not None
        parts = [(row.pair_key, row.score, row.band, row.directions, row.reasons) for row in found]
        return json.dumps([shown.summary.model_dump(mode="json"), parts])


def test_a_round_of_some_countries_makes_their_lists_only(database: Database, cities: list[str]) -> None:
    """Who learns in a round of one country is of that country."""
    matcher = Matcher(database, Settings(), "m1")
    round_id = ask(
        database, RoundRequest(kind=SuggestionKind.STUDY_VISIT, countries=["IE"], min_band=Band.WEAK)
    )
    matcher.take()

    with database.snapshot() as session:
        learners = {
            one["learner_city_id"] for row in suggestions_of(session, round_id) for one in row.directions
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


def test_a_round_asks_for_work_before_it_takes_its_turn(database: Database, cities: list[str]) -> None:
    """Matchers hold their units when they wait for the turn, so whoever has it must not wait for a unit."""
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()
    ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT))
    # It is cut into blocks, its one block is done, and something changes before the end.
    for _ in range(2):
        matcher.do(matcher.claim())
    Catalogue(database).practice(cities[0], "Later", TEXTS[3])
    # What begins a transaction on SQLite is a statement of the one before.
    transactions: list[list[str]] = [[]]

    def note(_connection: Any, _cursor: Any, statement: str, given: Any, *_rest: Any) -> None:
        transactions[-1].append(f"{statement} {given}")

    event.listen(database.engine, "begin", lambda _connection: transactions.append([]))
    event.listen(database.engine, "before_cursor_execute", note)
    matcher.take()

    both = [(_first(each, "INSERT INTO work_unit"), _first(each, "'keeping'")) for each in transactions]
    asking = [places for places in both if None not in places]
    assert asking
    assert all(unit < turn for unit, turn in asking)


def _first(statements: list[str], words: str) -> int | None:
    """The place of the first statement that holds some words."""
    return next((place for place, each in enumerate(statements) if words in each), None)


@pytest.mark.parametrize("kind", [SuggestionKind.STUDY_VISIT, SuggestionKind.TWINNING])
@pytest.mark.parametrize("block", [1, 200])
def test_a_balanced_round_asks_nobody_too_often(
    database: Database, kind: SuggestionKind, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a round is cut, nobody stands in two pairs in one role, and all who can have one."""
    monkeypatch.setattr(running, "NEEDS_IN_A_BLOCK", block)
    made = Catalogue(database)
    ids = [made.city(*city) for city in (("Cork", "IE"), ("Pécs", "HU"), ("Suwon", "KR"), ("Balanga", "PH"))]
    for city in ids:
        made.practice(city, "Reading", f"{TEXTS[0]} {city[-4:]}")
        made.need(city, "Reading", TEXTS[1])
    round_id = ask(database, RoundRequest(kind=kind, per_city=1, assignment=Assignment.BALANCED))

    Matcher(database, Settings(), "m1").take()

    shown, found = read(database, round_id)
    with database.snapshot() as session:
        rows = suggestions_of(session, round_id)
        roles = [(city["city_id"], city["role"]) for row in rows for city in row.cities]
        version = {row.catalogue_version for row in rows}
    assert shown.state is RoundState.COMPLETED
    assert len(found) == (4 if kind is SuggestionKind.STUDY_VISIT else 2)
    assert len(roles) == len(set(roles))
    assert shown.summary is not None
    assert shown.summary.cities_without_suggestion == 0
    assert shown.summary.exposure_gini == 0.0
    assert shown.summary.total_score == pytest.approx(sum(score for _, score in found))
    assert shown.summary.score_loss is not None
    assert 0.0 <= shown.summary.score_loss < 0.5
    assert version == {shown.catalogue_version}


def test_a_host_has_as_many_visitors_as_it_says(database: Database) -> None:
    """A balanced round sends a host no more visitors than the visits a year that its practices state."""
    made = Catalogue(database)
    host = made.city("Cork", "IE")
    made.practice(host, "Reading", TEXTS[0], hosting={"visits_per_year": 2})
    for number, name in enumerate(("Suwon", "Osan", "Goyang", "Namyangju")):
        made.need(made.city(name, "KR"), "Reading", f"{TEXTS[1]} {TEXTS[5] if number else ''}")
    asked = [
        ask(database, RoundRequest(kind=SuggestionKind.STUDY_VISIT, assignment=each)) for each in Assignment
    ]

    Matcher(database, Settings(), "m1").take()

    (top, every), (balanced, few) = (read(database, each) for each in asked)
    assert top.summary is not None
    assert balanced.summary is not None
    assert (len(every), len(few)) == (4, 2)
    # Three of the visitors are alike, and any of them may be the second.
    assert [score for _, score in few] == [score for _, score in every[:2]]
    assert set(few) <= set(every)
    assert top.summary.score_loss == 0.0
    lost = 1 - sum(score for _, score in few) / sum(score for _, score in every)
    assert balanced.summary.score_loss == pytest.approx(lost)
    assert balanced.summary.cities_without_suggestion == 2


@pytest.fixture
def readers(database: Database) -> tuple[list[str], list[str], str]:
    """Six cities of both regions: two that show reading and four that want it; gives also a practice."""
    made = Catalogue(database)
    names = [("Cork", "IE"), ("Suwon", "KR"), ("Espoo", "FI"), ("Osan", "KR"), ("Pécs", "HU")]
    ids = [made.city(*city) for city in (*names, ("Goyang", "KR"))]
    practices = [made.practice(city, "Reading", f"{TEXTS[0]} {city[-4:]}") for city in ids[:2]]
    needs = [made.need(city, "Reading", TEXTS[1]) for city in ids[2:]]
    for number, city in enumerate(ids):
        made.need(city, "Others", TEXTS[number + 3])
    return ids, needs, practices[0]


@pytest.mark.parametrize("scope", [{}, {"countries": ["FI"]}])
def test_a_round_of_seminars_gathers_cities_of_both_regions(
    database: Database,
    readers: tuple[list[str], list[str], str],
    scope: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who asks the same meets those who show it; a round of one country lists what its cities learn in."""
    monkeypatch.setattr(running, "NEEDS_IN_A_BLOCK", 1)
    ids, needs, _ = readers
    round_id = ask(database, RoundRequest(kind=SuggestionKind.SEMINAR, **scope))

    Matcher(database, Settings(), "m1").take()

    shown, _ = read(database, round_id)
    with database.snapshot() as session:
        [row] = suggestions_of(session, round_id)
    roles = {city["city_id"]: city["role"] for city in row.cities}
    assert roles == dict.fromkeys(ids[:2], "host") | dict.fromkeys(ids[2:], "participant")
    assert {way["learner_city_id"] for way in row.directions} == set(ids[2:])
    assert {why["need_id"] for why in row.reasons} == set(needs)
    assert row.pair_key == ":".join(sorted(ids))
    assert row.score == pytest.approx(sum(way["score"] for way in row.directions) / 4)
    assert shown.summary is not None
    assert shown.summary.cities == (1 if scope else 6)
    assert shown.summary.cities_without_suggestion == (0 if scope else 2)
    assert shown.progress.done == shown.progress.total == 6


def test_a_seminar_is_made_once_follows_its_cities_and_falls_with_its_ground(
    database: Database, readers: tuple[list[str], list[str], str]
) -> None:
    """A second round links to the seminar that stands; it is told anew when it changes and when it falls."""
    made = Catalogue(database)
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()
    asked = [ask(database, RoundRequest(kind=SuggestionKind.SEMINAR)) for _ in range(2)]
    matcher.take()
    first, second = (read(database, each)[1] for each in asked)
    with database.snapshot() as session:
        [row] = suggestions_of(session, asked[0])
        feed = outbox.feed(session, STAFF, 0, [], 200)
        before = feed[-1].sequence
    assert first == second != []

    made.rewrite(readers[2], f"{TEXTS[0]}, and cook soup every evening")
    matcher.take()
    with database.snapshot() as session:
        changed = suggestions.get(session, row.id)
    assert changed.status == "proposed"
    assert changed.score != row.score

    made.change(readers[2], hosting={"offers_visits": False})
    matcher.take()
    with database.snapshot() as session:
        assert suggestions.get(session, row.id).status == "withdrawn"
        told = [
            event.type for event in outbox.feed(session, STAFF, before, [], 200) if row.id in str(event.body)
        ]
    assert told[-1] == EventType.SUGGESTION_WITHDRAWN


@pytest.mark.parametrize(
    ("counts", "expected"), [([], 0.0), ([0, 0], 0.0), ([3, 3, 3], 0.0), ([0, 0, 0, 4], 0.75), ([1, 3], 0.25)]
)
def test_exposure_is_measured_as_gini_did(counts: list[int], expected: float) -> None:
    """All alike is 0; one of four that has everything is three quarters."""
    assert gini(counts) == pytest.approx(expected)
