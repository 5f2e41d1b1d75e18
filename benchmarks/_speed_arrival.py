# SPDX-License-Identifier: Apache-2.0
"""Speed of one arrival: which of many needs a new practice answers, and what a new need finds."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from benchmarks import _corpus
from benchmarks._rows import Row, cpu_s
from benchmarks._speed_join import joined, matrices
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.store import NEED, PRACTICE, Entry
from services.matcher.engine.text import count_terms
from tests.servers import Server, libpq, postgres_server

CITIES = 1_000
WARMING, ARRIVALS, PEERS = 200, 600, 15
PASSING = 25


def entries(texts: Sequence[str], kind: str) -> Iterator[Entry]:
    """Texts as the index stores them, dealt to the cities in turn."""
    for number, text in enumerate(texts):
        yield f"{kind}{number}", kind, f"city {number % CITIES}", count_terms(text)


def _timed(work: Callable[[str], object], texts: Sequence[str]) -> list[float]:
    """CPU seconds of each call."""
    return [cpu_s(lambda text=text: work(text)) for text in texts]


def _middle(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)


class Arrivals:
    """An index that takes in one new practice after another and says which needs each answers."""

    def __init__(self, needs: Sequence[str], practices: Sequence[str]) -> None:
        self.index = MatchIndex([*entries(needs, NEED), *entries(practices, PRACTICE)])
        self.bar = 0.0
        self.last: list[object] = []
        self._number = 0

    def arrive(self, text: str) -> None:
        """From a text to the needs that it answers, storing included."""
        self._number += 1
        key = f"new {self._number}"
        self.index.put(key, PRACTICE, "city 0", count_terms(text))
        self.last = list(self.index.needs_near(key, None, self.bar))

    def settle_bar(self, texts: Sequence[str]) -> None:
        """Set the bar so that some dozens of needs pass it."""
        found = []
        for number, text in enumerate(texts):
            self.index.put("trial", PRACTICE, "city 0", count_terms(text))
            firsts = list(self.index.needs_near("trial").values())
            self.index.drop("trial")
            found.append(firsts[min(PASSING + number, len(firsts)) - 1])
        self.bar = _middle(found)


def _counted(texts: Sequence[str], counter: CountVectorizer) -> csr_matrix:
    return csr_matrix(counter.transform(texts), dtype=np.float32)


def peers(
    needs: Sequence[str], practices: Sequence[str]
) -> tuple[Callable[[str], object], Callable[[str], object]]:
    """What others write: the exact way that fits idf again, and the quick way that leaves it as it was."""
    counter = CountVectorizer(stop_words="english").fit([*needs, *practices])
    held, others = _counted(needs, counter), _counted(practices, counter)
    weigher = TfidfTransformer().fit(vstack([held, others]))
    turned = csr_matrix(weigher.transform(held).T)

    def refitted(text: str) -> NDArray[np.int64]:
        new = _counted([text], counter)
        fresh = TfidfTransformer().fit(vstack([held, others, new]))
        scores = (fresh.transform(new) @ fresh.transform(held).T).toarray()[0]
        return np.argpartition(-scores, PASSING)[:PASSING]

    def frozen(text: str) -> NDArray[np.int64]:
        scores = weigher.transform(_counted([text], counter)) @ turned
        return scores.indices[np.argsort(scores.data)[-PASSING:]]

    return refitted, frozen


def _join_elsewhere(size: int) -> None:
    """Join over and over, as a round would in another process."""
    needs, practices = matrices(size)
    while True:
        joined(needs, practices)


def _beside_a_round(arrivals: Arrivals, texts: Sequence[str], size: int) -> Row:
    """How much longer the slowest of a hundred arrivals takes than the middle one, while a round runs."""
    other = get_context("spawn").Process(target=_join_elsewhere, args=(size,), daemon=True)
    other.start()
    # Making its matrices takes the other process some seconds; its rounds are what matters.
    while other.is_alive() and _cpu_of(other.pid or 0) < 5.0:
        time.sleep(0.2)
    seconds = sorted(_timed(arrivals.arrive, texts))
    other.kill()
    other.join()
    p50, p99 = _middle(seconds), seconds[int(0.99 * (len(seconds) - 1))]
    note = f"p99 {p99 * 1e3:.2f} ms, p99/p50 {p99 / p50:.1f} (must 4, aim 2)"
    return Row("  the same while a full join runs beside, p50", p50, note=note)


def _cpu_of(process: int) -> float:
    """CPU seconds that another process has taken."""
    with open(f"/proc/{process}/stat", encoding="ascii") as stat:  # noqa: PTH123 - not a file on disk
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(index: MatchIndex) -> Row:
    note = f"{index.nbytes / len(index):.0f} bytes a text (must 1,000, aim 600), keys and words not counted"
    return Row(f"memory of the index, {len(index):,} texts", index.nbytes / 1e9, note=f"(GB) {note}")


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    """The PostgreSQL that was named, or one started here as the tests start theirs."""
    with nullcontext(Server("", url)) if url else postgres_server() as server:
        yield libpq(server.url)


def _wall(work: Callable[[str], object], text: str) -> float:
    """Wall seconds of a call."""
    begun = time.perf_counter()
    work(text)
    return time.perf_counter() - begun


def _postgresql(url: str, needs: Sequence[str], texts: Sequence[str]) -> float:
    """Wall seconds of a full-text search over the needs, the middle of some; PostgreSQL has no idf."""
    import psycopg

    words = CountVectorizer(stop_words="english").build_analyzer()
    ask = (
        "SELECT id FROM speed_needs, to_tsquery('english', %s) query "
        "WHERE cut @@ query ORDER BY ts_rank(cut, query) DESC LIMIT 10"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS speed_needs")
        connection.execute("CREATE TABLE speed_needs (id int, body text, cut tsvector)")
        with connection.cursor().copy("COPY speed_needs (id, body) FROM STDIN") as copy:
            for line in enumerate(needs):
                copy.write_row(line)
        connection.execute("UPDATE speed_needs SET cut = to_tsvector('english', body)")
        connection.execute("CREATE INDEX ON speed_needs USING gin (cut)")
        connection.execute("VACUUM ANALYZE speed_needs")
        spent = []
        for text in texts:
            asked = " | ".join(set(words(text)))
            spent.append(_wall(lambda asked: connection.execute(ask, (asked,)).fetchall(), asked))
        connection.execute("DROP TABLE speed_needs")
    return _middle(spent)


def _searched(index: MatchIndex, texts: Sequence[str], practices: int) -> Row:
    """One need, from its text to the best hundred by T3."""

    def search(text: str) -> None:
        index.put("asked", NEED, "city 0", count_terms(text))
        index.rank("asked", None, 100)
        index.drop("asked")

    search(texts[0])
    note = "must 3 ms, aim 1.5 ms" if practices == 5_000 else ""
    return Row(f"text to best 100 by T3, {practices:,} practices", _middle(_timed(search, texts)), note=note)


def _arrival(size: int, postgresql: str | None) -> Iterator[Row]:
    needs, practices = _corpus.texts(size, NEED), _corpus.texts(size, PRACTICE)
    new = _corpus.texts(2 * ARRIVALS + WARMING, PRACTICE, seed=11)
    arrivals = Arrivals(needs, practices)
    arrivals.settle_bar(new[:9])
    refitted, frozen = peers(needs, practices)
    _timed(arrivals.arrive, new[:WARMING])
    _timed(frozen, new[:2])
    theirs = [_middle(_timed(refitted, new[:3])), _middle(_timed(frozen, new[:PEERS]))]
    seconds = _timed(arrivals.arrive, new[WARMING : WARMING + ARRIVALS])
    name, ours = f"one practice arrives, {size // 1000}k needs, exact", _middle(seconds)
    p99 = sorted(seconds)[int(0.99 * (len(seconds) - 1))]
    note = f"{len(arrivals.last)} needs pass in the last; p99 {p99 * 1e3:.2f} ms"
    yield Row(name, ours, "counts kept, TfidfTransformer refit", theirs[0], 100.0, note)
    yield Row(name, ours, "transform, sparse row @ CSR (idf frozen)", theirs[1], 3.0, "the peer is not exact")
    entered = arrivals.last[:]
    if entered:
        spent = [cpu_s(lambda key=key: arrivals.index.rank(key, None, 20)) for key in entered]
        yield Row("  T3 of a need that it enters, best 20", _middle(spent), note=f"of {len(entered)} needs")
    with _server(postgresql) as url:
        peer = _postgresql(url, needs, new[:PEERS])
    wall = _middle([_wall(arrivals.arrive, text) for text in new[:PEERS]])
    yield Row(f"{name}, wall", wall, "PostgreSQL full-text search", peer, 500.0, "the peer has no idf")
    yield _beside_a_round(arrivals, new[-ARRIVALS:], size)
    yield _memory(arrivals.index)
    yield _searched(arrivals.index, _corpus.texts(60, NEED, seed=12), size)


def rows(*, size: int = 100_000, postgresql: str | None = None) -> Iterator[Row]:
    """The rows of this table, for so many needs and practices."""
    for practices in (5_000, 50_000):
        index = MatchIndex(entries(_corpus.texts(practices, PRACTICE), PRACTICE))
        yield _searched(index, _corpus.texts(60, NEED, seed=12), practices)
    yield from _arrival(size, postgresql)
