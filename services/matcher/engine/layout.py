# SPDX-License-Identifier: Apache-2.0
"""How a sparse matrix is laid out for the join: by level, by block, with lengths that bound what is left."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.compiled import compiled
from services.matcher.engine.instructions import GROUP

Items = NDArray[np.int32]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]

_NEVER = np.float32(-1e9)


class Matrix(NamedTuple):
    """A sparse matrix by rows: where each begins (and the last ends), its terms, their weights."""

    ptr: Numbers
    terms: Items
    values: Floats


class Laid(NamedTuple):
    """Rows made ready: the rows themselves, then by block and term their lists, then what bounds them.

    `heads` says where in a block's lists each term's begins. By cut `norms` has the length of each row's part
    that lies below it, `peaks` the highest of each group of rows, `typical` a high one. `order` names the
    rows.
    """

    matrix: Matrix
    city: Items
    order: Numbers
    width: int
    blocks: Numbers
    heads: NDArray[np.int32]
    list_rows: NDArray[np.uint16]
    list_values: Floats
    cuts: Numbers
    norms: Floats
    peaks: Floats
    typical: Floats

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        arrays = [*self.matrix, *(part for part in self if isinstance(part, np.ndarray))]
        return sum(array.nbytes for array in arrays)


@compiled
def by_level(matrix: Matrix, order: Numbers, rank: Items, cuts: Numbers) -> Matrix:
    """Rows in some order, their terms renumbered by rank and those between two cuts side by side."""
    level_of = np.zeros(cuts[-1] + 1, np.uint8)
    for level in range(len(cuts)):
        level_of[cuts[level] :] = level
    heads = np.zeros(len(order) + 1, np.int64)
    for place in range(len(order)):
        heads[place + 1] = heads[place] + matrix.ptr[order[place] + 1] - matrix.ptr[order[place]]
    numbers = np.empty(heads[-1], np.int32)
    weights = np.empty(heads[-1], np.float32)
    ends = np.empty(len(cuts) + 1, np.int64)
    for place in range(len(order)):
        first, last = matrix.ptr[order[place]], matrix.ptr[order[place] + 1]
        ends[:] = 0
        for entry in range(first, last):
            ends[level_of[min(rank[matrix.terms[entry]], cuts[-1])] + 1] += 1
        ends[0] = heads[place]
        for level in range(len(cuts)):
            ends[level + 1] += ends[level]
        for entry in range(first, last):
            number = rank[matrix.terms[entry]]
            level = level_of[min(number, cuts[-1])]
            numbers[ends[level]], weights[ends[level]] = number, matrix.values[entry]
            ends[level] += 1
    return Matrix(heads, numbers, weights)


@compiled
def heaviest(matrix: Matrix, weights: Floats) -> Items:
    """The term of each row that weighs most; -1 for an empty row."""
    found = np.full(len(matrix.ptr) - 1, -1, np.int32)
    for row in range(len(found)):
        most = np.float32(-1.0)
        for entry in range(matrix.ptr[row], matrix.ptr[row + 1]):
            if weights[entry] > most:
                most, found[row] = weights[entry], matrix.terms[entry]
    return found


@compiled
def listed(
    matrix: Matrix, blocks: Numbers, width: int
) -> tuple[NDArray[np.int32], NDArray[np.uint16], Floats]:
    """For each block of rows and each term where its list begins, and the lists: row in the block, weight."""
    heads = np.zeros((len(blocks) - 1, width + 1), np.int32)
    rows = np.empty(len(matrix.terms), np.uint16)
    weights = np.empty(len(matrix.terms), np.float32)
    ends = np.empty(width + 1, np.int64)
    for block in range(len(blocks) - 1):
        first, last = blocks[block], blocks[block + 1]
        head, base = heads[block], matrix.ptr[first]
        for entry in range(base, matrix.ptr[last]):
            head[matrix.terms[entry] + 1] += 1
        ends[0] = base
        for term in range(width):
            head[term + 1] += head[term]
            ends[term + 1] = base + head[term + 1]
        for row in range(first, last):
            for entry in range(matrix.ptr[row], matrix.ptr[row + 1]):
                end = ends[matrix.terms[entry]]
                rows[end], weights[end] = row - first, matrix.values[entry]
                ends[matrix.terms[entry]] = end + 1
    return heads, rows, weights


@compiled
def cut_norms(matrix: Matrix, cuts: Numbers) -> tuple[Floats, Items]:
    """By row and cut: the length of what lies below the cut, never too short, and where the rest begins."""
    norms = np.zeros((len(matrix.ptr) - 1, len(cuts)), np.float32)
    begins = np.zeros((len(matrix.ptr) - 1, len(cuts)), np.int32)
    for row in range(len(matrix.ptr) - 1):
        entry, square = matrix.ptr[row], 0.0
        for level in range(len(cuts)):
            while entry < matrix.ptr[row + 1] and matrix.terms[entry] < cuts[level]:
                square += np.float64(matrix.values[entry]) * np.float64(matrix.values[entry])
                entry += 1
            norms[row, level] = np.sqrt(square) * (1.0 + 1e-6)
            begins[row, level] = entry - matrix.ptr[row]
    return norms, begins


def bounds(matrix: Matrix, cuts: Numbers) -> tuple[Floats, Floats, Floats]:
    """By cut the lengths of the rows below it, the highest of each group, and a typical one."""
    rows, (norms, _) = len(matrix.ptr) - 1, cut_norms(matrix, cuts)
    groups = -(-rows // GROUP)
    padded = np.full((len(cuts), groups * GROUP), _NEVER, np.float32)
    padded[:, :rows] = norms.T
    peaks = padded.reshape(len(cuts), groups, GROUP).max(axis=2, initial=_NEVER)
    typical = np.quantile(norms[:: max(1, rows // 4096)], 0.9, axis=0) if rows else np.zeros(len(cuts))
    return padded, np.ascontiguousarray(peaks), typical.astype(np.float32)
