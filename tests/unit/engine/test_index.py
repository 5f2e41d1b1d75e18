# SPDX-License-Identifier: Apache-2.0
"""The index: exact scores under any history."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.matcher.engine.index import Match, MatchIndex
from services.matcher.engine.store import Entry
from services.matcher.engine.weights import NEED_WEIGHT, term_weight

# Two of them are synonyms: what one text calls one way another calls otherwise.
WORDS = [*(f"w{number}" for number in range(10)), "kindergarten", "preschool"]
COUNTS = st.dictionaries(st.sampled_from(WORDS), st.integers(1, 5), max_size=7)
ENTRY = st.tuples(st.integers(0, 14), st.sampled_from(["need", "practice"]), st.integers(0, 4), COUNTS)
STEPS = st.lists(st.one_of(ENTRY, st.integers(0, 14)), max_size=50)


def reference(
    entries: list[Entry], need: dict[str, int], allowed: set[int]
) -> dict[object, tuple[float, float]]:
    """T1 and T3 by practice, straight from the definitions."""
    texts = len(entries)
    frequency = Counter(term for _, _, _, counts in entries for term in counts)
    times_in_all = Counter[str]()
    for _, _, _, counts in entries:
        times_in_all.update(counts)
    worth = {
        term: math.log(1 + (texts - df + 0.5) / (df + 0.5))
        * (1 + 0.3 * math.log((times_in_all[term] + 1) / (df + 1)))
        for term, df in frequency.items()
    }
    vectors = {
        key: {term: times / (times + 2) for term, times in counts.items()}
        for key, kind, _, counts in entries
        if kind == "practice"
    }
    norms = {key: math.hypot(*vector.values()) or 1.0 for key, vector in vectors.items()}
    mean = sum(norms.values()) / len(norms) if norms else 1.0
    pivoted = {
        key: {term: value / (0.35 * mean + 0.65 * norms[key]) for term, value in vector.items()}
        for key, vector in vectors.items()
    }
    query = {term: (1 + math.log(times)) * worth[term] for term, times in need.items()}
    length = math.hypot(*query.values()) or 1.0
    far = max(1.0, (length / math.log(1 + (texts - 0.5) / 1.5)) ** 0.25)
    reach = 1 + texts / (texts + 100) * (far - 1)
    query = {term: value / length * reach for term, value in query.items()}
    lent = {"kindergarten": "preschool", "preschool": "kindergarten"}
    lent = {of: term for term, of in lent.items() if term in need and of not in need and of in worth}

    def scored(weights: dict[str, float]) -> dict[object, float]:
        return {
            key: sum(weights.get(term, 0.0) * value for term, value in vector.items())
            for key, vector in pivoted.items()
        }

    first = scored(query)
    query |= {of: 0.3 * worth[of] / length * reach for of in lent}
    city = {key: city for key, _, city, _ in entries}
    open_ = [key for key in first if first[key] > 0 and city[key] in allowed]
    top = sorted(open_, key=lambda key: (-first[key], str(key)))[:3]
    extra: Counter[str] = Counter()
    for key in top:
        weighted = {term: value * worth[term] ** 1.5 for term, value in vectors[key].items()}
        size = math.hypot(*weighted.values())
        for term, value in weighted.items():
            extra[term] += first[key] ** 1.25 / sum(first[key] ** 1.25 for key in top) * value / size
    size = math.hypot(*extra.values()) or 1.0
    for term, value in extra.items():
        query[term] = query.get(term, 0.0) + 0.42 * reach * value / size
    total = scored(query)
    return {key: (first[key], total[key]) for key in total if total[key] > 0 and city[key] in allowed}


def replay(steps: list[Entry | int]) -> tuple[MatchIndex, list[Entry]]:
    """An index that went through every step, and the texts that are left."""
    index, left = MatchIndex(), dict[object, Entry]()
    for step in steps:
        if isinstance(step, tuple):
            index.put(*step)
            left[step[0]] = step
        elif step in index:
            index.drop(step)
            del left[step]
    return index, list(left.values())


def keys_of(entries: list[Entry], kind: str) -> list[object]:
    """The keys of one kind."""
    return [key for key, its, _, _ in entries if its == kind]


@pytest.mark.parametrize(
    ("practices", "need", "first"),
    [
        # Two texts, df 2 for the shared word; the only weight is 1, the only product x / (x + 2) / norm.
        pytest.param({"p": {"a": 1}}, {"a": 1}, {"p": 1.0}, id="the same word"),
        pytest.param({"p": {"a": 1}}, {"b": 1}, {}, id="no shared word"),
        pytest.param({"p": {}}, {"a": 1}, {}, id="an empty practice"),
        pytest.param({"p": {"a": 1}}, {}, {}, id="an empty need"),
        pytest.param({}, {"a": 1}, {}, id="no practice"),
        pytest.param(
            {"p": {"a": 1}, "q": {"a": 2}},
            {"a": 3},
            {"q": 0.5 / (0.35 * 5 / 12 + 0.65 / 2), "p": (1 / 3) / (0.35 * 5 / 12 + 0.65 / 3)},
            id="saturation and pivot",
        ),
        pytest.param({"y": {"a": 1}, "x": {"a": 1}}, {"a": 1}, {"x": 1.0, "y": 1.0}, id="ties by key"),
    ],
)
def test_small_examples_come_out_as_by_hand(
    practices: dict[str, dict[str, int]], need: dict[str, int], first: dict[str, float]
) -> None:
    """T1 is what a person computes, times the need's length; the order is that of T3, then of the keys."""
    index = MatchIndex([(key, "practice", 0, counts) for key, counts in practices.items()])
    index.put("n", "need", 1, need)

    found = index.rank("n")

    assert [match.practice for match in found] == list(first)
    [reach] = index.weighed(["n"])[2]
    assert [match.first for match in found] == pytest.approx(
        [value * reach for value in first.values()], rel=1e-9
    )


@given(STEPS, st.sets(st.integers(0, 4)))
@settings(max_examples=150, deadline=None)
def test_any_history_equals_the_definition(steps: list[Entry | int], allowed: set[int]) -> None:
    """After any puts and drops T1 and T3 equal the definition over what is left, to 1e-9."""
    index, left = replay(steps)
    mask = index.mask(allowed)
    needs = {key: counts for key, kind, _, counts in left if kind == "need"}

    for key, counts in needs.items():
        expected = reference(left, dict(counts), allowed)
        found = {match.practice: (match.first, match.score) for match in index.rank(key, mask)}
        assert found.keys() == expected.keys()
        for practice, scores in found.items():
            assert scores == pytest.approx(expected[practice], abs=1e-9)


@given(STEPS, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_history_leaves_no_trace_in_any_bit(steps: list[Entry | int], chance: random.Random) -> None:
    """Ranks, scores, lengths and frequencies are those of a fresh build in any order, to the last bit."""
    index, left = replay(steps)
    chance.shuffle(left)
    fresh = MatchIndex(left)

    assert len(index) == len(fresh)
    assert index.mean_norm == fresh.mean_norm
    assert [index.frequency(word) for word in WORDS] == [fresh.frequency(word) for word in WORDS]
    for need in keys_of(left, "need"):
        assert index.rank(need) == fresh.rank(need)


@given(STEPS, st.floats(0, 1), st.sets(st.integers(0, 4)))
@settings(max_examples=150, deadline=None)
def test_needs_near_misses_none(steps: list[Entry | int], threshold: float, allowed: set[int]) -> None:
    """The needs near a practice are just those that rank it with T1 at or above the threshold."""
    index, left = replay(steps)
    mask = index.mask(allowed)
    ranked: dict[object, dict[object, float]] = {}
    for need, kind, city, _ in left:
        if kind == "need" and city in allowed:
            for match in index.rank(need):
                if match.first > 0 and match.first >= threshold:
                    ranked.setdefault(match.practice, {})[need] = match.first

    for practice in keys_of(left, "practice"):
        assert index.needs_near(practice, mask, threshold) == ranked.get(practice, {})


@given(STEPS, st.sets(st.integers(0, 4)))
@settings(max_examples=100, deadline=None)
def test_contributions_sum_to_the_score(steps: list[Entry | int], allowed: set[int]) -> None:
    """What the terms add is the score, and a related word is none of the need's."""
    index, left = replay(steps)
    mask = index.mask(allowed)
    for need, kind, _, counts in left:
        for match in index.rank(need, mask) if kind == "need" else ():
            parts = index.contributions(need, match.practice, mask)
            assert math.fsum(value for _, value, _ in parts) == pytest.approx(match.score, abs=1e-9)
            assert all(related == (term not in counts) for term, _, related in parts)


@given(STEPS, COUNTS)
@settings(max_examples=100, deadline=None)
def test_a_preview_is_what_registering_would_find(steps: list[Entry | int], counts: dict[str, int]) -> None:
    """A text that is not stored ranks as if it were, either way round, and leaves nothing behind."""
    index, left = replay(steps)
    stored = MatchIndex([*left, (99, "need", 7, counts)])
    before = [index.rank(need) for need in keys_of(left, "need")]

    found = index.rank_counts(counts, city=7)

    assert [(match.practice, match.score) for match in found] == [
        (match.practice, match.score) for match in stored.rank(99)
    ]
    stored = MatchIndex([*left, (99, "practice", 7, counts)])
    answered = {match.need: match for match in index.rank_counts(counts, None, "practice", city=7)}
    assert {need: match.first for need, match in answered.items()} == stored.needs_near(99)
    assert all(match.score == stored.match(need, 99).score for need, match in answered.items())
    assert [index.rank(need) for need in keys_of(left, "need")] == before
    assert len(index) == len(left)


def test_equal_scores_keep_the_order_of_their_keys_under_a_limit() -> None:
    """A limit that cuts through equal scores keeps those whose keys come first."""
    index = MatchIndex([(f"p{number}", "practice", 0, {"a": 1}) for number in (3, 1, 4, 2, 5)])
    index.put("n", "need", 1, {"a": 1})

    assert [match.practice for match in index.rank("n", limit=3)] == ["p1", "p2", "p3"]


def test_a_floor_leaves_the_scores_as_they_are() -> None:
    """Asking for a least T1 drops matches and changes none."""
    index = MatchIndex([("p", "practice", 0, {"a": 1}), ("q", "practice", 0, {"a": 1, "b": 4})])
    index.put("n", "need", 1, {"a": 1})
    best = index.rank("n")[0]

    assert index.rank("n", floor=best.first) == [best]


def test_a_mask_decides_whose_words_feed_back() -> None:
    """A practice of a city that may not be paired neither ranks nor lends its words."""
    index = MatchIndex([("p", "practice", 0, {"a": 1, "b": 1}), ("q", "practice", 1, {"b": 1})])
    index.put("n", "need", 2, {"a": 1})

    assert index.rank("n", index.mask([1])) == []
    assert [match.practice for match in index.rank("n")] == ["p", "q"]


def test_a_great_many_changes_pack_and_stay_exact() -> None:
    """Empty slots and unused terms are cleared away without a change of any score."""
    index = MatchIndex([("n", "need", 0, {"a": 1, "b": 2}), ("p", "practice", 1, {"a": 2, "c": 1})])
    expected = index.rank("n")
    for number in range(700):
        index.put(f"x{number}", "practice", 2, {f"rare{number}": 1, "a": 1})
        index.put(f"y{number}", "need", 2, {f"rare{number}": 1, "a": 1})
        index.drop(f"x{number}")
        index.drop(f"y{number}")

    assert index.rank("n") == expected
    assert list(index.needs_near("p").items()) == [("n", expected[0].first)]
    assert index.frequency("rare5") == 0


def test_a_word_in_every_text_is_still_found() -> None:
    """A need whose only word is everywhere has a tiny length, which the filter must not trust."""
    entries: list[Entry] = [(f"p{number}", "practice", 0, {"all": 1}) for number in range(300)]
    index = MatchIndex([*entries, *((f"n{number}", "need", 1, {"all": 1}) for number in range(3000))])

    assert index.needs_near("p0", None, 0.9).keys() == {f"n{number}" for number in range(3000)}


def test_counts_beyond_the_highest_are_taken_as_the_highest() -> None:
    """An absurd count neither overflows nor breaks the sums."""
    index = MatchIndex([("p", "practice", 0, {"a": 10**9}), ("n", "need", 1, {"a": 10**9})])

    reach = (math.log(1.2) * (1 + 0.3 * math.log(511 / 3)) * (1 + math.log(255)) / math.log(2)) ** 0.25
    reach = 1 + 2 / 102 * (reach - 1)
    assert index.rank("n") == [Match("n", "p", pytest.approx(reach), pytest.approx(1.42 * reach))]


def test_a_key_that_is_not_stored_is_a_key_error() -> None:
    """Dropping, ranking and matching what is not there fail by name."""
    with pytest.raises(KeyError):
        MatchIndex().drop("x")
    with pytest.raises(KeyError):
        MatchIndex().rank("x")


def test_the_three_best_lend_their_words_and_no_fourth() -> None:
    """A fourth match's own word does not widen the need."""
    entries: list[Entry] = [
        (f"p{number}", "practice", 0, {"a": 9 - number, f"own{number}": 1}) for number in range(4)
    ]
    index = MatchIndex([*entries, ("n", "need", 1, {"a": 1})])

    words = {term for key, *_ in entries for term, _, _ in index.contributions("n", key)}

    assert words == {"a", "own0", "own1", "own2"}


@given(st.integers(0, 2**32), st.floats(0.0, 0.6))
@settings(max_examples=15, deadline=None)
def test_lengths_follow_single_arrivals_in_a_large_catalogue(seed: int, threshold: float) -> None:
    """Where an arrival moves a few lists only, the filter misses no need and stays close to true lengths."""
    chance = random.Random(seed)

    def counts() -> dict[str, int]:
        return {f"t{int(chance.paretovariate(0.5)) % 2000}": chance.randint(1, 3) for _ in range(8)}

    index = MatchIndex((f"n{number}", "need", 0, counts()) for number in range(400))
    index.put("p", "practice", 1, counts())
    index.needs_near("p")
    for number in range(30):
        index.put(f"x{number}", chance.choice(["need", "practice"]), 0, counts())
        index.drop(f"n{number}")
        near = index.needs_near("p", None, threshold)
    firsts = {need: index.match(need, "p").first for need in index.keys("need")}

    assert near == {need: first for need, first in firsts.items() if first > 0 and first >= threshold}
    assert_close(index, least=0.95)


def test_lengths_follow_a_catalogue_that_shrinks() -> None:
    """What may stay as it is among many texts is settled anew among few: a common word is worth less."""
    index = MatchIndex((f"n{number}", "need", 0, {"common": 1}) for number in range(2000))
    index.put("p", "practice", 1, {"common": 1})
    index.put_many((f"x{number}", "practice", 1, {"other": 1}) for number in range(1000))
    index.needs_near("p")
    for number in range(3):
        index.put(f"new{number}", "need", 0, {"common": 1})
        index.needs_near("p")
    for number in reversed(range(50, 1000)):
        index.drop(f"x{number}")

    near = index.needs_near("p", None, 0.3)

    assert len(near) == 2003
    assert_close(index, least=0.9)


def assert_close(index: MatchIndex, least: float) -> None:
    """The bounds that steer the filter are below what each need is divided by, by a small share at most."""
    shelf = index._shelves["need"]
    lows = index._lengths.lows(shelf.size)
    for slot in shelf.live():
        terms, counts = shelf.rows.of(slot)
        length = math.hypot(
            *(
                NEED_WEIGHT[counts]
                * term_weight(len(index), index._frequency[terms], index._occurrences[terms])
            )
        )
        far = max(1.0, (length / math.log((len(index) + 1) / 1.5)) ** 0.25)
        by = length / (1 + len(index) / (len(index) + 100) * (far - 1))
        assert least * by <= lows[slot] <= by * (1 + 1e-6)


def test_rounding_that_added_up_misses_no_need() -> None:
    """A length that is a difference of nearly equal sums is not trusted, so its error hides nobody."""
    entries: list[Entry] = [(number, "need", 0, {"all": 1}) for number in range(3000)]
    index = MatchIndex([*entries, ("p", "practice", 1, {"all": 1})])
    index.needs_near("p")
    index._lengths._sums[:, 2] += 1e-6
    index._lengths._level = -1.0

    assert len(index.needs_near("p", None, 0.9)) == 3000


def test_what_a_listing_takes_in_memory_is_bounded() -> None:
    """The index takes at most 1,000 bytes a listing of fifty words, and a round 1,200 more a practice."""
    rng = np.random.default_rng(4)
    drawn = rng.zipf(1.3, (20_000, 110)) % 40_000
    entries: list[Entry] = [
        (number, ("need", "practice")[number % 2], number % 500, Counter(map(str, words)))
        for number, words in enumerate(drawn.tolist())
    ]
    index = MatchIndex(entries)
    index.needs_near(1)
    index.rank(0, None, 10)

    assert np.mean([len(counts) for *_, counts in entries]) > 50
    assert index.nbytes <= 1000 * len(index)
    assert index.snapshot().nbytes <= 1200 * len(index.keys("practice"))
