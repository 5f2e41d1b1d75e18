# SPDX-License-Identifier: Apache-2.0
"""Sharing out partners where they are few: first that as many as can have one, then the largest total score.

Exact, by flows over the candidates that there are (Google OR-tools; cost scaling after Goldberg, 1997). How
many can have a partner is a largest flow; a cheapest flow that is held to this number is the choice.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import fsum

import numpy as np
from numpy.typing import NDArray
from ortools.graph.python.linear_sum_assignment import SimpleLinearSumAssignment
from ortools.graph.python.max_flow import SimpleMaxFlow
from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

UNITS = 10_000
"""Costs are whole: so many units for a point of the score. A total is exact to half a unit for each pair.

The solvers multiply costs by the number of cities and keep prices of up to three times as many of them in 64
bits: with scores up to 100 that is enough for a million cities.
"""

MOST_CITIES = 1_000_000

Numbers = NDArray[np.int64]


class TooLarge(ValueError):
    """A market of more cities than its costs leave room for in 64 bits."""


def assign(
    left: Numbers,
    right: Numbers,
    scores: NDArray[np.float64],
    room_left: Numbers,
    room_right: Numbers,
    *,
    cover_right: bool = False,
) -> NDArray[np.bool_]:
    """Which of the candidate pairs to take, so that nobody on either side has more than there is room for.

    Arrays of one length give each candidate's number on the left, on the right, and its score from 0 to 100;
    no pair stands twice. As many on the left as can have a partner get one, with `cover_right` as many on the
    right, too (both at once is always possible: Ford and Fulkerson's supply and demand theorem); among all
    such choices this is one with the largest total. The same arrays give the same choice.
    """
    if len(room_left) + len(room_right) > MOST_CITIES:
        raise TooLarge(f"{len(room_left) + len(room_right)} cities are more than {MOST_CITIES}")
    if not len(left):
        return np.zeros(0, np.bool_)
    worth = np.rint(scores * UNITS).astype(np.int64)
    covered = _most_covered(left, right, room_left, room_right)
    if covered == len(room_left) == len(room_right) and max(room_left.max(), room_right.max()) == 1:
        return _one_to_one(left, right, worth)
    other = _most_covered(right, left, room_right, room_left) if cover_right else 0
    return _cheapest(left, right, worth, (room_left, room_right), (covered, other))


def _most_covered(side: Numbers, other: Numbers, room_side: Numbers, room_other: Numbers) -> int:
    """How many of one side can have a partner at once."""
    sides, others = len(room_side), len(room_other)
    source, sink = sides + others, sides + others + 1
    flow = SimpleMaxFlow()
    flow.add_arcs_with_capacity(side, other + sides, np.ones(len(side), np.int64))
    flow.add_arcs_with_capacity(np.full(sides, source), np.arange(sides), np.minimum(room_side, 1))
    flow.add_arcs_with_capacity(np.arange(sides, sides + others), np.full(others, sink), room_other)
    _check(flow.solve(source, sink), SimpleMaxFlow.OPTIMAL)
    return int(flow.optimal_flow())


def _one_to_one(left: Numbers, right: Numbers, worth: Numbers) -> NDArray[np.bool_]:
    """The choice where everybody has one partner: a problem with a much faster solver of its own."""
    solver = SimpleLinearSumAssignment()
    arcs = solver.add_arcs_with_cost(left, right, -worth)
    _check(solver.solve(), SimpleLinearSumAssignment.OPTIMAL)
    nodes = np.arange(int(left.max()) + 1)
    mates = np.fromiter(map(solver.right_mate, nodes.tolist()), np.int64, len(nodes))
    return np.asarray((mates[left] == right)[arcs], np.bool_)


def _cheapest(
    left: Numbers,
    right: Numbers,
    worth: Numbers,
    rooms: tuple[Numbers, Numbers],
    covered: tuple[int, int],
) -> NDArray[np.bool_]:
    """The best choice that gives partners to just so many on either side.

    Each side has two gates. Through the first passes one unit for each of those who get a partner, which
    forces their number; through the second what anybody has beyond that, or goes past everybody.
    """
    lefts, rights = len(rooms[0]), len(rooms[1])
    firsts, others, ends_first, ends_other = range(lefts + rights, lefts + rights + 4)
    most = int(min(rooms[0].sum(), rooms[1].sum(), len(left)))
    flow = SimpleMinCostFlow()

    def let_through(tails: Numbers, heads: Numbers, capacities: Numbers) -> None:
        flow.add_arcs_with_capacity_and_unit_cost(tails, heads, capacities, np.zeros(len(tails), np.int64))

    pairs = flow.add_arcs_with_capacity_and_unit_cost(
        left, right + lefts, np.ones(len(left), np.int64), -worth
    )
    for place, held in enumerate(covered):
        room, nodes = rooms[place], np.arange(len(rooms[place])) + place * lefts
        once = np.minimum(room, 1) if held else np.zeros_like(room)
        for gate, capacity in (
            ((firsts, ends_first)[place], once),
            ((others, ends_other)[place], room - once),
        ):
            used = nodes[capacity > 0]
            gates = np.full(len(used), gate)
            tails, heads = (used, gates) if place else (gates, used)
            let_through(tails, heads, capacity[capacity > 0])
    let_through(np.array([others]), np.array([ends_other]), np.array([most]))
    gates = np.array([firsts, others, ends_first, ends_other])
    supplies = np.array([covered[0], most - covered[0], -covered[1], covered[1] - most])
    flow.set_nodes_supplies(gates, supplies)
    _check(flow.solve(), SimpleMinCostFlow.OPTIMAL)
    return np.asarray(flow.flows(pairs) > 0, np.bool_)


def _check(status: object, wanted: object) -> None:
    """Refuse what a solver did not solve: there is always a solution, if only an empty one."""
    if status != wanted:
        raise RuntimeError(f"the solver ended with {status}")


def share_out(
    candidates: Mapping[tuple[Hashable, Hashable], float],
    room: Mapping[Hashable, int],
    per_city: int,
    *,
    cover_right: bool = False,
) -> list[tuple[Hashable, Hashable]]:
    """Which of the (left, right) pairs to propose; see `assign`.

    Everybody on the left has room for `per_city`, on the right for `room`, or `per_city` where it is not
    given. Pairs are taken in the order of their cities, so that the same candidates give the same choice.
    """
    pairs = sorted(candidates, key=lambda pair: tuple(map(str, pair)))
    sides = [sorted({pair[side] for pair in pairs}, key=str) for side in (0, 1)]
    places = [{city: place for place, city in enumerate(side)} for side in sides]
    left, right = (
        np.fromiter((places[side][pair[side]] for pair in pairs), np.int64, len(pairs)) for side in (0, 1)
    )
    chosen = assign(
        left,
        right,
        np.fromiter((candidates[pair] for pair in pairs), np.float64, len(pairs)),
        np.full(len(sides[0]), per_city, np.int64),
        np.fromiter((room.get(city, per_city) for city in sides[1]), np.int64, len(sides[1])),
        cover_right=cover_right,
    )
    return [pairs[place] for place in np.flatnonzero(chosen).tolist()]


def gain_lost(total: float, unconstrained: float) -> float:
    """The share of an unconstrained total that sharing out costs, from 0 to 1."""
    return min(1.0, max(0.0, 1.0 - total / unconstrained)) if unconstrained > 0.0 else 0.0


def top_total(
    candidates: Mapping[tuple[Hashable, ...], float],
    sides: Sequence[int],
    owners: Iterable[Hashable],
    per_city: int,
) -> float:
    """The total score of the owners' best lists, each set of cities once.

    `sides` says in which places of a set somebody stands who has a list.
    """
    having = set(owners)
    lists: dict[Hashable, list[tuple[float, tuple[str, ...], tuple[Hashable, ...]]]] = {}
    for cities, score in candidates.items():
        for owner in {cities[side] for side in sides} & having:
            lists.setdefault(owner, []).append((-score, tuple(map(str, cities)), cities))
    best = {cities for entries in lists.values() for _, _, cities in sorted(entries)[:per_city]}
    return fsum(candidates[cities] for cities in best)
