# SPDX-License-Identifier: Apache-2.0
"""Clusters of like needs: a tree for each group of needs that are connected by likeness."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import ClusterNode, linkage, to_tree
from scipy.sparse import csr_array, vstack
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from services.matcher.engine.index import MatchIndex

LIKE = 0.1
"""The mean cosine of two clusters' needs from which on they are about one thing.

Read on the demonstration's 48 needs of 17 cities: at 0.15 two seminars come of them, at 0.1 four with a
subject each, at 0.05 six, two of which mix what does not belong together.
"""

LARGEST = 4000
"""A group of more needs is parted at a higher likeness, step by step: a tree takes their number squared."""

STEP = 0.02
_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a tree of needs: its needs, and whether they are alike enough to be about one thing."""

    needs: tuple[Hashable, ...]
    alike: bool
    halves: tuple["Branch", ...]


def like_needs(index: MatchIndex, needs: Sequence[Hashable], like: float = LIKE) -> list[Branch]:
    """The trees of some needs, in the order of each one's first need.

    Two clusters whose mean likeness reaches a bound hold two needs that reach it. So needs are first parted
    into groups that are connected by such pairs, exactly and in little memory; each group has its own tree.
    """
    if not needs:
        return []
    vectors = index.vectors(needs)
    return [_tree(vectors, group, needs, at) for group, at in _groups(vectors, np.arange(len(needs)), like)]


def _groups(
    vectors: csr_array, places: NDArray[np.intp], like: float
) -> Iterator[tuple[NDArray[np.intp], float]]:
    """Parts of the needs in which all are connected, with the likeness that connects them."""
    links = _links(vectors[places], like)
    count, labels = connected_components(links, directed=False)
    order = np.argsort(labels, kind="stable")
    for group in np.split(order, np.cumsum(np.bincount(labels, minlength=count))[:-1]):
        if len(group) > LARGEST and like < 1.0:
            yield from _groups(vectors, places[group], like + STEP)
        else:
            yield places[group], like


def _links(vectors: csr_array, like: float) -> csr_array:
    """Which needs are at least so much alike, some rows at a time."""
    turned = vectors.T.tocsc()
    parts = []
    for start in range(0, vectors.shape[0], _ROWS):
        near = (vectors[start : start + _ROWS] @ turned).tocsr()
        near.data[np.round(near.data, 9) < like] = 0.0
        near.eliminate_zeros()
        parts.append(near)
    return vstack(parts, format="csr")


def _tree(vectors: csr_array, group: NDArray[np.intp], needs: Sequence[Hashable], like: float) -> Branch:
    """The tree of one group by average linkage."""
    keys = [needs[place] for place in group.tolist()]
    if len(keys) == 1:
        return Branch((keys[0],), alike=True, halves=())
    some = vectors[group]
    # Rounded, for the order in which products are added up hangs on the numbers that words were given.
    apart = np.clip(np.round(1.0 - (some @ some.T).toarray(), 9), 0.0, None)
    np.fill_diagonal(apart, 0.0)
    return _branch(to_tree(linkage(squareform(apart, checks=False), "average")), keys, 1.0 - like)


def _branch(root: ClusterNode, keys: Sequence[Hashable], apart: float) -> Branch:
    """The branches of a tree, from its leaves up; not by recursion, for a tree may be as deep as wide."""
    made: dict[int, Branch] = {}
    waiting = [root]
    while waiting:
        node = waiting[-1]
        halves = [] if node.is_leaf() else [node.get_left(), node.get_right()]
        missing = [half for half in halves if half.id not in made]
        if missing:
            waiting.extend(missing)
            continue
        waiting.pop()
        below = tuple(made.pop(half.id) for half in halves)
        its = (keys[node.id],) if node.is_leaf() else tuple(need for half in below for need in half.needs)
        made[node.id] = Branch(its, alike=node.dist <= apart + 1e-9, halves=below)
    return made[root.id]
