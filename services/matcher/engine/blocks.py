# SPDX-License-Identifier: Apache-2.0
"""Ranking blocks of needs: what the join selects for all of them at once, as matches of each."""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np

from services.matcher.engine import many, weights, widening
from services.matcher.engine.join import Asked
from services.matcher.engine.lists import Items, Numbers, Weights
from services.matcher.engine.scoring import Scoring
from services.matcher.engine.shelf import Key
from services.matcher.engine.store import NEED, PRACTICE, Mask
from twinning.terms import Band

_BLOCK = 8192
"""Needs that are ranked at once; more would only take more memory."""

_WIDENING = (weights.FEEDBACK_PRACTICES, weights.FEEDBACK_TERMS)


class Match(NamedTuple):
    """A practice that answers a need: `first` is T1, `score` is T3, the band stands on `first`."""

    need: Key
    practice: Key
    first: float
    score: float
    band: Band | None = None
    cross_region: bool = True


class Blocks(Scoring):
    """Stored texts and what ranks many needs at once."""

    def weighed(self, needs: Sequence[Key]) -> tuple[many.Needs, Weights, Weights]:
        """Some needs as they are compared, their terms in the order of the stems.

        Beside them what the weights of each were divided by, and how long it is now.
        """
        shelf = self._shelves[NEED]
        sizes, terms, counts = shelf.rows.gather([shelf.slots[key] for key in needs])
        heavy = weights.NEED_WEIGHT[counts] * self._worth(terms)
        lengths = weights.lengths(heavy, sizes)
        reaches = weights.reach(lengths, len(self))
        by = lengths / reaches
        return many.Needs(np.append(0, np.cumsum(sizes)), terms, heavy / np.repeat(by, sizes)), by, reaches

    def pays(self, needs: int, floor: float, limit: int | None) -> bool:
        """Whether so many needs are ranked sooner as a block, the join to be built included."""
        stored = len(self._shelves[PRACTICE])
        few = floor > 0.0 or (limit is not None and limit * many.PRACTICES_A_PLACE <= stored)
        if stored < many.FEWEST_PRACTICES or not few:
            return False
        practices = 0 if self._snapshot else stored
        return needs >= many.FEWEST_NEEDS + practices // many.PRACTICES_A_NEED

    def ranked_blocks(
        self, asked: Mapping[Key, Mask | None], floor: float, limit: int | None
    ) -> dict[Key, list[Match]]:
        """The matches of those needs that need not be ranked by themselves, each with its mask."""
        found: dict[Key, list[Match]] = {}
        keys = list(asked)
        for first in range(0, len(keys), _BLOCK):
            block = keys[first : first + _BLOCK]
            masks = many.lines_of([asked[key] for key in block], len(self._cities))
            if floor > 0.0:
                found |= self._above(block, masks, floor, limit)
            else:
                found |= self._best(block, masks, limit or 0)
        return found

    def _above(
        self, keys: list[Key], masks: many.Lines, floor: float, limit: int | None
    ) -> dict[Key, list[Match]]:
        """The practices whose T1 reaches a floor, for each need of a block."""
        needs, lengths, reaches = self.weighed(keys)
        chosen = self._chosen(needs, Asked(np.full(len(keys), floor), *masks), many.ROOM)
        # Synonyms only matter to a need that finds something.
        lent = self._lent_many(self._own_terms(needs, chosen.reached > 0), lengths)
        answers = many.Answers.room_for(len(keys))
        many.answer(needs, lent, self._practices(), chosen, self._feedback(reaches), floor, answers)
        matches: dict[Key, list[Match]] = {}
        for line, (key, count) in enumerate(zip(keys, answers.found.tolist(), strict=True)):
            if count != many.ALONE:
                slots, firsts = answers.slots[line, :count], answers.first[line, :count]
                matches[key] = self._matches(key, slots, firsts, answers.score[line, :count], limit)
        return matches

    def _best(self, keys: list[Key], masks: many.Lines, limit: int) -> dict[Key, list[Match]]:
        """The practices with the highest T3, so many at most, for each need of a block."""
        needs, lengths, reaches = self.weighed(keys)
        open_ended, practices = np.full(len(keys), np.inf), self._practices()
        feedback = self._feedback(reaches)
        chosen = self._chosen(needs, Asked(open_ended, *masks), 0)
        lent = self._lent_many(self._own_terms(needs, np.ones(len(keys), np.bool_)), lengths)
        asked = widening.widened(needs, lent, practices, chosen, feedback)
        snapshot = self.snapshot()
        selected = snapshot.join.select(asked.rows, limit + widening.MARGIN, Asked(open_ended, *masks), 0)
        slots = -np.sort(-snapshot.named(selected.rows), axis=1)
        found = widening.scored(needs, asked, practices, slots, feedback.table, len(feedback.factors))
        matches: dict[Key, list[Match]] = {}
        alone = np.diff(asked.ptr) == 0
        for line, key in enumerate(keys):
            kept = found.score[line] > 0.0
            best = self._matches(
                key, slots[line, kept], found.first[line, kept], found.score[line, kept], limit
            )
            lost = selected.lost[line]
            if not alone[line] and (lost == 0.0 or (len(best) == limit and best[-1].score > lost)):
                matches[key] = best
        return matches

    def _chosen(self, needs: many.Needs, asked: Asked, room: int) -> many.Chosen:
        """What the join selects for needs by T1: what may widen them, and what may reach the floor."""
        snapshot = self.snapshot()
        selected = snapshot.join.select(needs.rows, many.KEEP, asked, room)
        rows, above = snapshot.named(selected.rows), snapshot.named(selected.above)
        return many.Chosen(rows, selected.lost, above, selected.above_count)

    def _own_terms(self, needs: many.Needs, wanted: Mask) -> list[Items]:
        """The terms of each need; of those that are not wanted none."""
        spans = zip(needs.ptr, needs.ptr[1:], wanted.tolist(), strict=False)
        return [needs.terms[first : last if its else first] for first, last, its in spans]

    def _practices(self) -> many.Practices:
        """The stored practices as the kernels read them."""
        rows = self._shelves[PRACTICE].rows
        return many.Practices(rows.start, rows.size, rows.entries, self._all_scales(), self.snapshot().place)

    def _feedback(self, reaches: Weights) -> many.Feedback:
        """How needs that are so long are widened, at present."""
        factors = self._worth(np.arange(len(self._stems)))
        raised, wide = weights.feedback_weight(factors), weights.FEEDBACK_LENGTH * reaches
        return many.Feedback(weights.PRACTICE_WEIGHT, raised, *_WIDENING, wide)

    def _matches(
        self, need: Key, slots: Numbers, first: Weights, score: Weights, limit: int | None
    ) -> list[Match]:
        """Scored practices as matches, best first, equal scores in the order of their keys."""
        if not len(slots):
            return []
        place = self.snapshot().place[slots]
        order = np.lexsort((place, -score))[:limit]
        keys = self._shelves[PRACTICE].keys
        practices = map(keys.__getitem__, slots[order].tolist())
        return [*map(Match, repeat(need), practices, first[order].tolist(), score[order].tolist())]
