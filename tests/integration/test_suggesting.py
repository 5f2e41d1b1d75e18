# SPDX-License-Identifier: Apache-2.0
"""What arrivals do to the standing suggestions, on a real database."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import select

from services.matcher import suggesting
from services.matcher.engine.pairing import Pair, propose
from services.matcher.keeping import Keeper
from services.matcher.matching import ALL, Matcher
from services.matcher.proposing import pair_key
from tests.catalogues import Catalogue
from tests.standing import all_listed
from twinning import catalogue as change_log
from twinning import listings, outbox, work
from twinning.database import Database
from twinning.forms import PracticeCreate
from twinning.keys import Caller
from twinning.listings import Listing
from twinning.settings import Settings
from twinning.terms import Band, Role, SuggestionKind, Work

STAFF = Caller("staff", Role.STAFF)
CITIES = [
    ("Cork", "IE"),
    ("Espoo", "FI"),
    ("Suwon", "KR"),
    ("Balanga", "PH"),
    ("Okayama", "JP"),
    ("Pécs", "HU"),
]
TEXTS = [
    "Volunteers teach older adults to read and write letters in the library",
    "Older adults want help from volunteers with reading and writing letters",
    "Digital helpers in the library show senior citizens a tablet computer",
    "Senior citizens ask for digital help with tablets and online services",
    "Rain gardens at schools teach pupils about floods and the climate",
    "Schools look for ways to teach pupils about climate change and floods",
    "A festival of learning in streets, parks and shops for the whole city",
    "How can a city bring learning into streets and parks with a festival",
    "Employers and colleges offer apprenticeships to young people",
    "Young people leave school and do not find an apprenticeship with employers",
    "Migrants learn the language in cafés with childcare in the evening",
    "Newly arrived migrants need language courses with childcare",
    # The first practice again, in other words.
    "In the library volunteers teach reading and writing of letters to older adults",
]


def test_a_practice_that_answers_a_need_is_suggested_once_with_its_reasons(database: Database) -> None:
    """A practice and a need of two regions make one study visit whose reason names both and adds up."""
    made = Catalogue(database)
    host, visitor = made.city("Cork", "IE"), made.city("Suwon", "KR")
    practice = made.practice(host, "Reading", TEXTS[0])
    need = made.need(visitor, "Reading", TEXTS[1])
    matcher = Matcher(database, Settings(), "m1")

    matcher.take()
    matcher.take()

    with database.snapshot() as session:
        [row] = all_listed(session)
        events = [event.type for event in outbox.feed(session, STAFF, 0, [], 10)]
    [reason] = row.reasons
    assert [city["role"] for city in row.cities] == ["host", "visitor"]
    assert (reason["need_id"], reason["practice_id"]) == (need, practice)
    assert sum(term["contribution"] for term in reason["terms"]) + reason["other"] == pytest.approx(
        reason["score"], abs=1e-9
    )
    assert events == ["suggestion.created"]


def test_two_cities_of_one_region_are_never_suggested(database: Database) -> None:
    """The same texts within one region make no suggestion, and the need counts as unmet."""
    made = Catalogue(database)
    host, visitor = made.city("Cork", "IE"), made.city("Espoo", "FI")
    made.practice(host, "Reading", TEXTS[0])
    need = made.need(visitor, "Reading", TEXTS[1])

    Matcher(database, Settings(), "m1").take()

    with database.snapshot() as session:
        assert all_listed(session) == []
        assert session.get_one(Listing, need).unmet is True


def test_a_withdrawn_practice_takes_its_suggestions_with_it(database: Database) -> None:
    """When the only ground goes, the suggestion is withdrawn, told, and the need is unmet again."""
    made = Catalogue(database)
    host, visitor = made.city("Cork", "IE"), made.city("Suwon", "KR")
    practice = made.practice(host, "Reading", TEXTS[0])
    need = made.need(visitor, "Reading", TEXTS[1])
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()

    made.withdraw(practice)
    matcher.take()

    with database.snapshot() as session:
        assert all_listed(session) == []
        assert session.get_one(Listing, need).unmet is True
        events = [event.type for event in outbox.feed(session, STAFF, 0, [], 10)]
    assert events == ["suggestion.created", "suggestion.withdrawn"]


def test_changed_conditions_take_and_give_suggestions(database: Database) -> None:
    """A practice that no longer hosts loses its visit; when it hosts again the visit comes back."""
    made = Catalogue(database)
    host, visitor = made.city("Cork", "IE"), made.city("Suwon", "KR")
    practice = made.practice(host, "Reading", TEXTS[0])
    need = made.need(visitor, "Reading", TEXTS[1], seeks=["study_visit"], months=[5])
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()

    seen = []
    for hosting in ({"months": [6]}, {"months": [5, 6]}, {"offers_visits": False}, None):
        made.change(practice, hosting=hosting)
        matcher.take()
        with database.snapshot() as session:
            seen.append((len(all_listed(session)), session.get_one(Listing, need).unmet))

    assert seen == [(0, True), (1, False), (0, True), (1, False)]


def test_partners_by_either_word_are_left_out(database: Database) -> None:
    """A pair that one side names among its existing partners falls, and comes back when that is mended."""
    made = Catalogue(database)
    host, visitor = made.city("Cork", "IE"), made.city("Suwon", "KR")
    made.practice(host, "Reading", TEXTS[0])
    made.need(visitor, "Reading", TEXTS[1])
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()

    made.partner(host, visitor)
    matcher.take()

    with database.snapshot() as session:
        assert all_listed(session) == []


def test_a_worker_that_starts_reads_counts_and_not_texts(database: Database) -> None:
    """What one worker has counted, the next one does not count again."""
    made = Catalogue(database)
    made.practice(made.city("Cork", "IE"), "Reading", TEXTS[0])
    Matcher(database, Settings(), "m1").take()
    keeper = Keeper()

    with database.snapshot() as session:
        keeper.catch_up(session)

    assert len(keeper.corpus.index) == 1
    assert keeper.counted == []


def test_a_result_made_from_an_older_state_is_made_again(database: Database) -> None:
    """A worker that was overtaken while it looked keeps nothing and looks again; nothing is told twice."""
    made = Catalogue(database)
    host, visitor = made.city("Cork", "IE"), made.city("Suwon", "KR")
    made.practice(host, "Reading", TEXTS[0])
    made.need(visitor, "Reading", TEXTS[1])
    slow, fast = Matcher(database, Settings(lease_s=0.001), "slow"), Matcher(database, Settings(), "fast")
    claims = slow.claim()
    fast_done = 0
    while fast_done < len(claims):
        fast_done += fast.take()

    slow.do(claims)

    with database.snapshot() as session:
        events = [event.type for event in outbox.feed(session, STAFF, 0, [], 10)]
    assert events == ["suggestion.created"]


def test_changes_are_seen_in_the_order_of_their_commits(database: Database) -> None:
    """A reader never meets a smaller number after a larger one, though two writers cross."""
    made = Catalogue(database)
    city = made.city("Cork", "IE")
    seen: list[int] = []
    with database.transaction() as slow:
        row = listings.register(slow, city, _practice("slow"))
        if not database.is_sqlite:
            # On SQLite there is one writer at a time, and the second would wait for this very block.
            made.practice(city, "fast", TEXTS[1])
            with database.snapshot() as session:
                seen += [change.version for change in change_log.changes_since(session, 0)]
    with database.snapshot() as session:
        later = change_log.changes_since(session, max(seen, default=0))
    assert row.id in {change.subject_id for change in later}


def _practice(title: str) -> PracticeCreate:
    return PracticeCreate(title=title, description=TEXTS[0])


# What a need or a practice may state of how an exchange could go; each takes what its kind has.
CONDITIONS: list[dict[str, Any]] = [
    {"seeks": ["study_visit"], "hosting": {"offers_visits": False}},
    {"seeks": ["twinning"], "hosting": {"offers_visits": True, "months": [5]}},
    {"seeks": [], "months": [6], "hosting": {"seats": 3}},
    {"party_size": 5, "languages": ["en"]},
    {"languages": ["ko", "fi"], "seeks": ["seminar"]},
    {"languages": [], "months": [], "party_size": None, "seeks": [], "hosting": None},
    {"months": [5, 6], "hosting": {"months": [6], "seats": 5}},
]
OPERATION = st.one_of(
    st.tuples(st.just("practice"), st.integers(0, 5), st.integers(0, 12)),
    st.tuples(st.just("need"), st.integers(0, 5), st.integers(0, 11)),
    st.tuples(st.just("rewrite"), st.integers(0, 30), st.integers(0, 11)),
    st.tuples(st.just("withdraw"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("pause"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("state"), st.integers(0, 30), st.integers(0, 6)),
    st.tuples(st.just("partner"), st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("leave"), st.integers(2, 5), st.just(0)),
    st.tuples(st.just("match"), st.just(0), st.just(0)),
)


@pytest.mark.parametrize("small", [0, suggesting.SMALL])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATION, min_size=4, max_size=25))
def test_standing_suggestions_equal_a_round_from_nothing(
    operations: list[tuple[str, int, int]],
    small: int,
    sqlite_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """After any registrations, changes and withdrawals stands what a round would find.

    In a small catalogue at once, in a larger one after the refresh.
    """
    path = tmp_path_factory.mktemp("order") / "order.db"
    shutil.copy(sqlite_file, path)
    database = Database(f"sqlite:///{path}")
    matcher = Matcher(database, Settings(), "m1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suggesting, "SMALL", small)
        _perform(Catalogue(database), matcher, operations)
        matcher.take()
    if not small:
        with database.transaction() as session:
            work.enqueue(session, Work.REFRESH, ALL)
        matcher.take()

    fresh = Keeper()
    with database.snapshot() as session:
        fresh.cut(session)
        stands = {(row.kind, row.pair_key): row for row in all_listed(session)}
    expected = {(pair.kind, pair_key(pair)): pair for pair in _round_from_nothing(fresh)}
    assert stands.keys() == expected.keys()
    for key, pair in expected.items():
        row = stands[key]
        assert row.score == pytest.approx(pair.score, abs=1e-9)
        assert row.band == pair.band
        assert [(why["need_id"], why["practice_id"]) for why in row.reasons] == [
            (match.need, match.practice) for match in pair.matches
        ]
    with database.snapshot() as session:
        told = {row.id: row.unmet for row in session.exec(select(Listing).where(Listing.kind == "need"))}
    for need in fresh.corpus.index.keys("need"):
        assert told[str(need)] is not fresh.corpus.is_met(need)
    database.close()
    shutil.rmtree(path.parent)


def _perform(made: Catalogue, matcher: Matcher, operations: list[tuple[str, int, int]]) -> None:
    """Do the operations, those that name something that is there."""
    cities = [made.city(name, country) for name, country in CITIES]
    gone: set[str] = set()
    listed: list[tuple[str, str]] = []
    for name, first, second in operations:
        if name in {"practice", "need"} and cities[first] not in gone:
            put = made.practice if name == "practice" else made.need
            listed.append((cities[first], put(cities[first], TEXTS[second].split()[0], TEXTS[second])))
        elif name == "rewrite" and listed:
            made.rewrite(listed[first % len(listed)][1], TEXTS[second])
        elif name == "withdraw" and listed:
            made.withdraw(listed.pop(first % len(listed))[1])
        elif name == "state" and listed:
            made.change(listed[first % len(listed)][1], **CONDITIONS[second])
        elif name == "pause" and listed:
            made.pause(listed[first % len(listed)][1])
        elif name == "partner" and not {cities[first], cities[second]} & gone and first != second:
            made.partner(cities[first], cities[second])
        elif name == "leave" and cities[first] not in gone:
            made.leave(cities[first])
            gone.add(cities[first])
            listed = [(city, listing) for city, listing in listed if city != cities[first]]
        elif name == "match":
            matcher.take()


def _round_from_nothing(keeper: Keeper) -> list[Pair]:
    """Find what a `top` round over the whole catalogue finds."""
    return [
        pair
        for kind in (SuggestionKind.STUDY_VISIT, SuggestionKind.TWINNING)
        for pair in propose(keeper.corpus, kind, keeper.corpus.cities, Settings().per_city, Band.POSSIBLE)
    ]
