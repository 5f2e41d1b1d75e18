# SPDX-License-Identifier: Apache-2.0
"""The best practices of many needs at once by T3, whatever their T1: two joins, and the very sums of `rank`.

The first join finds for each need the practices whose words widen it; a second one asks with the widened
needs. What it selects is scored here again.
"""

from typing import NamedTuple

import numpy as np

from services.matcher.engine import kernels, many
from services.matcher.engine.compiled import compiled
from services.matcher.engine.kernels import Items, Numbers, Weights
from services.matcher.engine.many import Chosen, Feedback, Needs, Practices

MARGIN = 2
"""Practices that the join keeps beyond the wanted, so that ties are seen."""


class Scored(NamedTuple):
    """For each need T1 and T3 of what was selected; 0 where nothing was."""

    first: Weights
    score: Weights


@compiled
def _taken(dense: Weights, terms: Items, values: Weights, at: int, known: Items) -> int:
    """Move what stands at some terms to lists that are filled up to a place; gives the place after it."""
    for term in terms:
        if dense[term] != 0.0:
            known[at], values[at] = term, dense[term]
            dense[term] = 0.0
            at += 1
    return at


@compiled
def widened(needs: Needs, lent: Needs, practices: Practices, chosen: Chosen, feedback: Feedback) -> Needs:
    """Each need with synonyms and feedback; empty for one that must be ranked by itself."""
    dense, pool = np.zeros(len(feedback.factors)), np.zeros(len(feedback.factors))
    count = len(needs.ptr) - 1
    room = len(needs.terms) + len(lent.terms) + count * feedback.terms
    heads, terms, values = np.zeros(count + 1, np.int64), np.empty(room, np.int32), np.empty(room)
    for need in range(count):
        own = needs.terms[needs.ptr[need] : needs.ptr[need + 1]]
        other = lent.terms[lent.ptr[need] : lent.ptr[need + 1]]
        many.add(dense, needs, need)
        kept = 0
        while kept < chosen.best.shape[1] and chosen.best[need, kept] >= 0:
            kept += 1
        best = chosen.best[need, :kept]
        wide = feedback.lengths[need]
        related = many.widened(best, chosen.lost[need], wide, practices, feedback, dense, pool)
        heads[need + 1] = heads[need]
        if len(related):
            many.add(dense, lent, need)
            at = heads[need]
            for part in (own, other, related):
                at = _taken(dense, part, values, at, terms)
            heads[need + 1] = at
        many.clear(dense, own)
    return Needs(heads, terms[: heads[-1]], values[: heads[-1]])


@compiled
def scored(
    needs: Needs, asked: Needs, practices: Practices, slots: Numbers, table: Weights, terms: int
) -> Scored:
    """T1 and T3 of the slots selected for each need, of which the first are given and `asked` are widened."""
    dense, found = np.zeros(terms), Scored(np.zeros(slots.shape), np.zeros(slots.shape))
    known = (practices.start, practices.size, practices.entries)
    for need in range(len(needs.ptr) - 1):
        kept = 0
        while kept < slots.shape[1] and slots[need, kept] >= 0:
            kept += 1
        chosen = slots[need, :kept]
        many.add(dense, needs, need)
        kernels.scores_of(*known, chosen, dense, table, practices.scales, found.first[need, :kept])
        many.clear(dense, needs.terms[needs.ptr[need] : needs.ptr[need + 1]])
        many.add(dense, asked, need)
        kernels.scores_of(*known, chosen, dense, table, practices.scales, found.score[need, :kept])
        many.clear(dense, asked.terms[asked.ptr[need] : asked.ptr[need + 1]])
    return found
