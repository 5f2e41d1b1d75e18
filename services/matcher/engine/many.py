# SPDX-License-Identifier: Apache-2.0
"""Ranking a block of needs at once: what the join selected, scored by the very sums that `rank` makes.

The join says for each need which practices may be its best three, whose words widen it, and which may reach
the floor. Only those are scored here, so a round costs what it finds, not what it searches.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine import kernels
from services.matcher.engine.compiled import compiled
from services.matcher.engine.join import Join, Rows
from services.matcher.engine.kernels import Entries, Items, Numbers, Weights

KEEP = 8
"""Practices that the join keeps for each need: three to widen it, the rest so that ties are seen."""

ROOM = 96
"""Practices above the floor that a need may have here; one with more is ranked by itself."""

FEWEST_NEEDS = 4
"""A block of fewer needs is ranked one by one: handing it over costs as much as it saves."""

FEWEST_PRACTICES = 1000
"""Of fewer practices a need is ranked in a fifth of a millisecond; the join would hardly save a thing."""

PRACTICES_A_NEED = 25
"""So many practices are put into a join in the time that ranking one need by itself takes."""

PRACTICES_A_PLACE = 8
"""A need that wants more than one in so many practices, whatever their T1, is ranked by itself."""

ALONE = -1
"""The count of a need that must be ranked by itself."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The practices of one moment as a join: where each row stands, and what comes first by key."""

    join: Join
    slots: Numbers
    place: Numbers

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return self.join.nbytes + sum(array.nbytes for array in (self.slots, self.place))

    def named(self, rows: Items) -> Numbers:
        """Rows as slots; -1 stays."""
        known = np.append(self.slots, -1)
        return known[rows]


Lines = tuple[NDArray[np.bool_], Numbers]
"""Different masks, one a line, and which line belongs to whom."""


class Practices(NamedTuple):
    """The stored practices as the kernels read them, with each one's scale and the place of its key."""

    start: Items
    size: Items
    entries: Entries
    scales: Weights
    place: Numbers


class Needs(NamedTuple):
    """Weighted terms of many needs, one need after another: where each begins, its terms, their weights."""

    ptr: Numbers
    terms: Items
    values: Weights

    @property
    def rows(self) -> Rows:
        """The same in single precision, as the join asks with them."""
        return Rows(self.ptr, self.terms, self.values.astype(np.float32))


class Chosen(NamedTuple):
    """What the join selected for each need, by slot, and the score that nothing left out exceeds."""

    best: Numbers
    lost: Weights
    above: Numbers
    reached: Numbers


class Feedback(NamedTuple):
    """How needs are widened: weight by count, worth by term, how many practices and terms, how long each."""

    table: Weights
    factors: Weights
    practices: int
    terms: int
    lengths: Weights


class Answers(NamedTuple):
    """For each need how many practices were found (or ALONE), and their slots, T1 and T3."""

    found: Numbers
    slots: Numbers
    first: Weights
    score: Weights

    @classmethod
    def room_for(cls, needs: int) -> "Answers":
        """Empty answers for so many needs."""
        shape = (needs, ROOM)
        return cls(np.zeros(needs, np.int64), np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape))


@compiled
def _leaders(
    practices: Practices, slots: Numbers, dense: Weights, table: Weights, best: Numbers, first: Weights
) -> int:
    """The best of some slots by T1, equal ones by their keys; says how many there are."""
    scored = np.empty(len(slots))
    kernels.scores_of(
        practices.start, practices.size, practices.entries, slots, dense, table, practices.scales, scored
    )
    found = 0
    for candidate in range(len(slots)):
        score, slot = scored[candidate], slots[candidate]
        if score <= 0.0:
            continue
        at = found
        while at > 0 and (
            first[at - 1] < score
            or (first[at - 1] == score and practices.place[best[at - 1]] > practices.place[slot])
        ):
            if at < len(best):
                best[at], first[at] = best[at - 1], first[at - 1]
            at -= 1
        if at < len(best):
            best[at], first[at] = slot, score
            found = min(found + 1, len(best))
    return found


@compiled
def _widen(dense: Weights, terms: Items, totals: Weights, most: int, wide: float) -> None:
    """Add the heaviest terms to a need, at the length of its feedback."""
    square = 0.0
    for total in totals[:most]:
        square += total * total
    length = np.sqrt(square) if square > 0.0 else 1.0
    for place in range(most):
        dense[terms[place]] += wide * (totals[place] / length)


@compiled
def add(dense: Weights, needs: Needs, need: int) -> None:
    """Add one need's weighted terms."""
    for entry in range(needs.ptr[need], needs.ptr[need + 1]):
        dense[needs.terms[entry]] += needs.values[entry]


@compiled
def clear(dense: Weights, terms: Items) -> None:
    """Make the values of some terms zero again."""
    for term in terms:
        dense[term] = 0.0


@compiled
def _above(
    slots: Numbers,
    practices: Practices,
    dense: Weights,
    table: Weights,
    floor: float,
    answers: Answers,
    need: int,
) -> int:
    """Keep the slots whose T1 reaches the floor; says how many."""
    first = np.empty(len(slots))
    kernels.scores_of(
        practices.start, practices.size, practices.entries, slots, dense, table, practices.scales, first
    )
    found = 0
    for place in range(len(slots)):
        if first[place] >= floor:
            answers.slots[need, found], answers.first[need, found] = slots[place], first[place]
            found += 1
    return found


@compiled
def widened(
    kept: Numbers,
    lost: float,
    wide: float,
    practices: Practices,
    feedback: Feedback,
    dense: Weights,
    pool: Weights,
) -> Items:
    """Add feedback of a length to a need; gives the terms that it touched, none where it takes a closer look.

    That is where a practice that was left out may be among the best, and where equal terms are cut apart.
    """
    best, first = np.empty(feedback.practices, np.int64), np.empty(feedback.practices)
    leaders = _leaders(practices, kept, dense, feedback.table, best, first)
    if lost > 0.0 and (leaders < len(first) or first[leaders - 1] <= lost):
        return np.empty(0, np.int32)
    shares = first[:leaders] * np.sqrt(np.sqrt(first[:leaders]))
    total = 0.0
    for share in shares:
        total += share
    for place in range(leaders):
        shares[place] /= total
    known = (practices.start, practices.size, practices.entries)
    terms, totals = kernels.pooled(*known, best[:leaders], shares, feedback.factors, feedback.table, pool)
    order = np.argsort(-totals, kind="mergesort")
    terms, totals = terms[order], totals[order]
    if len(terms) > feedback.terms and totals[feedback.terms - 1] == totals[feedback.terms]:
        return np.empty(0, np.int32)
    _widen(dense, terms, totals, min(feedback.terms, len(terms)), wide)
    return terms


@compiled
def answer(
    needs: Needs,
    lent: Needs,
    practices: Practices,
    chosen: Chosen,
    feedback: Feedback,
    floor: float,
    answers: Answers,
) -> None:
    """Score what was chosen for each need, or say that the need must be ranked by itself."""
    dense, pool = np.zeros(len(feedback.factors)), np.zeros(len(feedback.factors))
    known = (practices.start, practices.size, practices.entries)
    for need in range(len(needs.ptr) - 1):
        if chosen.reached[need] > chosen.above.shape[1]:
            answers.found[need] = ALONE
            continue
        add(dense, needs, need)
        slots = chosen.above[need, : chosen.reached[need]]
        found = _above(slots, practices, dense, feedback.table, floor, answers, need)
        if found > 0:
            kept = 0
            while kept < chosen.best.shape[1] and chosen.best[need, kept] >= 0:
                kept += 1
            best, wide = chosen.best[need, :kept], feedback.lengths[need]
            terms = widened(best, chosen.lost[need], wide, practices, feedback, dense, pool)
            add(dense, lent, need)
            slots, score = answers.slots[need, :found], answers.score[need, :found]
            kernels.scores_of(*known, slots, dense, feedback.table, practices.scales, score)
            clear(dense, terms)
            answers.found[need] = found if len(terms) else ALONE
        clear(dense, needs.terms[needs.ptr[need] : needs.ptr[need + 1]])
        clear(dense, lent.terms[lent.ptr[need] : lent.ptr[need + 1]])


def lines_of(masks: list[NDArray[np.bool_] | None], cities: int) -> Lines:
    """The different masks, one a line as wide as there are cities, and which line belongs to whom."""
    numbers: dict[int, int] = {}
    mask_of = np.array([numbers.setdefault(id(mask), len(numbers)) for mask in masks], np.int64)
    lines = np.zeros((len(numbers), max(1, cities)), np.bool_)
    for mask, line in zip(masks, mask_of.tolist(), strict=True):
        if mask is None:
            lines[line] = True
        else:
            lines[line, : len(mask)] = mask
    return lines, mask_of
