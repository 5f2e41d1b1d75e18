# SPDX-License-Identifier: Apache-2.0
"""Speed of the join: the best ten practices of every need, beside those who multiply sparse matrices."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics.pairwise import linear_kernel
from sparse_dot_topn import sp_matmul_topn

from benchmarks._corpus import VOCABULARY, counted
from benchmarks._rows import Row, cpu_s, side_by_side
from services.matcher.engine.join import Join, Rows

K = 10
PIECE = 1_250
_HELD: list[tuple[Join, Rows]] = []


def matrices(n: int) -> tuple[csr_matrix, csr_matrix]:
    """TF-IDF of `n` needs and `n` practices as scikit-learn weighs them: the same matrices for everybody."""
    sides = []
    for side in ("need", "practice"):
        sizes, terms, counts = counted(n, side)
        ptr = np.append(0, np.cumsum(sizes))
        sides.append(csr_matrix((counts.astype(np.float32), terms, ptr), shape=(n, VOCABULARY)))
    weigher = TfidfTransformer().fit(vstack(sides))
    needs, practices = (weigher.transform(side).astype(np.float32).tocsr() for side in sides)
    return needs, practices


def joined(needs: csr_matrix, practices: csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ours, the building of its lists included."""
    return Join(Rows.of(practices), practices.shape[1]).top(Rows.of(needs), K)


def sparse_dot_topn(needs: csr_matrix, turned: csr_matrix) -> csr_matrix:
    """The fastest exact peer for large matrices; `turned` is the transposed matrix of the practices."""
    return sp_matmul_topn(needs, turned, top_n=K, n_threads=1, sort=True)


def dense_chunks(needs: csr_matrix, practices: csr_matrix) -> None:
    """What scikit-learn's users write: dense products of some rows at a time, and a partition."""
    step = max(1, 32_000_000 // practices.shape[0])
    for first in range(0, needs.shape[0], step):
        products = linear_kernel(needs[first : first + step], practices)
        np.argpartition(products, -K, axis=1)[:, -K:]


def off(needs: csr_matrix, practices: csr_matrix, sample: int) -> str:
    """How far ours is from the full product in double precision, and how many of the best ten it misses."""
    products = (needs[:sample].astype(np.float64) @ practices.astype(np.float64).T).toarray()
    scores, rows = joined(needs[:sample], practices)
    # Sums that differ in their last bits are ties, and ties stand by row.
    best = np.sort(products, axis=1)[:, ::-1][:, :K]
    missed = int((np.take_along_axis(products, rows, 1) < best[:, -1:] - 1e-6).sum())
    tied = scores[:, 1:] == scores[:, :-1]
    order = "by row" if (np.diff(rows)[tied] > 0).all() else "NOT by row"
    furthest = np.abs(scores - best).max()
    return f"furthest from brute force {furthest:.1e}, missed {missed} of {rows.size}, ties {order}"


def _small(n: int, must: float, turns: int) -> Iterator[Row]:
    needs, practices = matrices(n)
    ours, peer, chunks = side_by_side(
        lambda: joined(needs, practices),
        lambda: sparse_dot_topn(needs, practices.T.tocsr()),
        lambda: dense_chunks(needs, practices),
        turns=turns,
    )
    name = f"join {n // 1000}k x {n // 1000}k, top {K}"
    yield Row(name, ours, "sparse_dot_topn, 1 thread", peer, must, off(needs, practices, min(n, 2_000)))
    yield Row(name, ours, "scikit-learn linear_kernel in chunks", chunks, 2.5 if n >= 10_000 else None)


def _hundred_thousand() -> Iterator[Row]:
    n = 100_000
    needs, practices = matrices(n)
    turned = practices.T.tocsr()
    # The peer is asked before and after, and sampled, for it takes minutes.
    before = cpu_s(lambda: sparse_dot_topn(needs[:1_000], turned))
    ours = cpu_s(lambda: joined(needs, practices))
    after = cpu_s(lambda: sparse_dot_topn(needs[1_000:2_000], turned))
    peer = (before + after) / 2_000 * n
    note = f"peer scaled from 2,000 needs; {off(needs, practices, 300)}"
    yield Row("join 100k x 100k, top 10", ours, "sparse_dot_topn, 1 thread", peer, 12.0, note)
    join, queries = Join(Rows.of(practices), practices.shape[1]), Rows.of(needs)
    yield from _two_workers(join, queries)


def _piece(first: int) -> float:
    """The CPU seconds of joining one piece of the needs, in a worker that was forked with all of them."""
    join, queries = _HELD[0]
    return cpu_s(lambda: join.top(queries.part(first, min(first + PIECE, len(queries))), K))


def _spent(workers: int, pieces: list[int]) -> tuple[float, float]:
    """The wall seconds of some workers, and their CPU seconds together; they are started before."""
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        list(pool.map(_piece, range(workers)))
        begun = time.perf_counter()
        together = sum(pool.map(_piece, pieces))
        return time.perf_counter() - begun, together


def _two_workers(join: Join, queries: Rows) -> Iterator[Row]:
    """Wall seconds of the join by one process and by two, which share the practices and take small pieces.

    Other load on the machine can only add to them, so the best of some turns counts. What two lose to each
    other shows in their CPU seconds, whatever else runs.
    """
    _HELD[:] = [(join, queries)]
    pieces = list(range(0, len(queries) // 2, PIECE))
    turns = [(_spent(1, pieces), _spent(2, pieces)) for _ in range(3)]
    _HELD.clear()
    one, two = (min(wall for wall, _ in column) for column in zip(*turns, strict=True))
    alone, both = (statistics.median(cpu for _, cpu in column) for column in zip(*turns, strict=True))
    bytes_each = join.nbytes / len(join)
    note = (
        f"half of the needs, in pieces of {PIECE}, the best of three turns; one takes {alone:.2f} CPU s, "
        f"two together {both:.2f}; the join takes {bytes_each:.0f} bytes a practice"
    )
    yield Row("join 100k x 100k by two processes, wall", two, "by one process", one, 1.8, note)


def _million() -> Iterator[Row]:
    needs, practices = matrices(1_000_000)
    turned = practices.T.tocsr()
    peer = cpu_s(lambda: sparse_dot_topn(needs[:500], turned)) / 500
    held: list[Join] = []
    build = cpu_s(lambda: held.append(Join(Rows.of(practices), practices.shape[1])))
    ours = build / len(held[0]) + cpu_s(lambda: held[0].top(Rows.of(needs[:20_000]), K)) / 20_000
    bytes_each = held[0].nbytes / len(held[0])
    note = f"ours 20,000 needs, peer 500; {bytes_each:.0f} bytes a practice, built in {build:.1f} s"
    yield Row("join 1M x 1M, a need", ours, "sparse_dot_topn, 1 thread", peer, 20.0, note)


def rows(*, large: bool = False) -> Iterator[Row]:
    """The rows of this table; `large` adds the million, which takes 4 GB and minutes."""
    joined(*matrices(700))
    yield from _small(1_000, 1.8, 9)
    yield from _small(10_000, 6.0, 3)
    yield from _hundred_thousand()
    if large:
        yield from _million()
