# SPDX-License-Identifier: Apache-2.0
"""Sharing out: nobody beyond their room, nobody left out who need not be, and the largest total."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from services.matcher.engine import assignment
from services.matcher.engine.assignment import (
    TooLarge,
    assign,
    gain_lost,
    share_out,
    top_total,
)

Market = tuple[list[tuple[int, int]], list[float], list[int], list[int]]


@st.composite
def markets(draw: st.DrawFn, most_room: int = 3) -> Market:
    """Candidate pairs of up to four a side, their scores, and everybody's room."""
    lefts, rights = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    pairs = draw(
        st.lists(st.sampled_from(list(product(range(lefts), range(rights)))), unique=True, max_size=8)
    )
    scores = draw(st.lists(st.integers(0, 100).map(float), min_size=len(pairs), max_size=len(pairs)))
    room = [
        draw(st.lists(st.integers(0, most_room), min_size=size, max_size=size)) for size in (lefts, rights)
    ]
    return pairs, scores, room[0], room[1]


def fits(chosen: list[tuple[int, int]], rooms: tuple[list[int], list[int]]) -> bool:
    """Whether nobody has more than there is room for."""
    return all(
        sum(pair[side] == who for pair in chosen) <= room
        for side in (0, 1)
        for who, room in enumerate(rooms[side])
    )


def worth(
    chosen: list[tuple[int, int]], scores: dict[tuple[int, int], float], both: bool
) -> tuple[int, float]:
    """How many have a partner, and the total score."""
    sides = (0, 1) if both else (0,)
    return sum(len({pair[side] for pair in chosen}) for side in sides), sum(scores[pair] for pair in chosen)


@given(markets(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_share_is_the_best_of_all_that_fit(market: Market, both: bool) -> None:
    """Of all choices within the rooms none serves more, and of those that serve as many none totals more."""
    pairs, scores, room_left, room_right = market
    sides = np.array(pairs, np.int64).reshape(-1, 2).T

    chosen = assign(
        sides[0],
        sides[1],
        np.array(scores),
        np.array(room_left, np.int64),
        np.array(room_right, np.int64),
        cover_right=both,
    )

    by_pair = dict(zip(pairs, scores, strict=True))
    taken = [pair for pair, its in zip(pairs, chosen.tolist(), strict=True) if its]
    every = (
        list(some)
        for size in range(len(pairs) + 1)
        for some in combinations(pairs, size)
        if fits(list(some), (room_left, room_right))
    )
    assert fits(taken, (room_left, room_right))
    assert worth(taken, by_pair, both) == max(worth(some, by_pair, both) for some in every)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_one_to_one_totals_what_scipy_totals(size: int, seed: int) -> None:
    """Where everybody is a candidate of everybody the total is that of `linear_sum_assignment`."""
    scores = np.random.default_rng(seed).integers(0, 1_000_000, (size, size)) / 10_000
    left, right = (side.ravel() for side in np.indices(scores.shape))
    ones = np.ones(size, np.int64)

    chosen = assign(left, right, scores.ravel(), ones, ones)
    wider = assign(left, right, scores.ravel(), ones, np.append(ones, 1))

    best = scores[linear_sum_assignment(scores, maximize=True)].sum()
    assert scores.ravel()[chosen].sum() == pytest.approx(best, abs=1e-9)
    # One more who is nobody's candidate takes the other of the two solvers.
    assert scores.ravel()[wider].sum() == pytest.approx(best, abs=1e-9)


@given(markets(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_candidates_plays_no_part(market: Market, chance: object) -> None:
    """The same candidates told in another order are shared out alike."""
    pairs, scores, _, room = market
    told = [((f"a{one}", f"b{other}"), score) for (one, other), score in zip(pairs, scores, strict=True)]
    mixed = told[:]
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    rooms = {f"b{number}": its for number, its in enumerate(room)}

    assert share_out(dict(told), rooms, 2) == share_out(dict(mixed), rooms, 2)


def test_first_everybody_then_the_total() -> None:
    """The best pair gives way when it would leave another without anybody."""
    candidates = {("a", "x"): 90.0, ("a", "y"): 10.0, ("b", "x"): 20.0}

    assert share_out(candidates, {}, 1) == [("a", "y"), ("b", "x")]
    assert share_out(candidates, {"x": 2}, 1) == [("a", "x"), ("b", "x")]
    assert share_out(candidates, {"x": 0}, 1) == [("a", "y")]


def test_a_market_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs that would not fit into 64 bits stop with a sentence, before anything is solved."""
    monkeypatch.setattr(assignment, "MOST_CITIES", 3)

    with pytest.raises(TooLarge, match="4 cities are more than 3"):
        share_out({("a", "x"): 1.0, ("b", "y"): 1.0}, {}, 1)


def test_what_sharing_costs_is_a_share_of_the_lists_without_limits() -> None:
    """The unconstrained total counts each pair of the owners' best lists once; what is lost of it is told."""
    candidates = {("h1", "a"): 60.0, ("h1", "b"): 40.0, ("h2", "b"): 30.0, ("h2", "c"): 5.0}

    assert top_total(candidates, (1,), ["a", "b"], 1) == 100.0
    assert top_total(candidates, (1,), ["a", "b"], 2) == 130.0
    assert top_total(candidates, (0, 1), ["a", "b", "h1", "h2"], 1) == 130.0
    assert (gain_lost(90.0, 100.0), gain_lost(0.0, 0.0), gain_lost(2.0, 1.0)) == (
        pytest.approx(0.1),
        0.0,
        0.0,
    )
