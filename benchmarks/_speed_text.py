# SPDX-License-Identifier: Apache-2.0
"""From text to index: how fast texts are counted, a whole round is scored and a run file is written.

``python benchmarks/_speed_text.py [SIZE]`` prints the rows, each beside its peer. Every turn starts with an
empty vocabulary, as the peer does.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from benchmarks import _corpus
from benchmarks._rows import HEAD, Row, printed, side_by_side
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.store import NEED, PRACTICE
from services.matcher.engine.text import count_terms
from services.matcher.engine.words import Vocabulary

TOP = 10
SEARCH_TOP = 100
SEARCH_TURNS = 3
_PEERS = Path(__file__).with_name("_search_peers.py")


def rows(size: int = 10_000) -> Iterator[Row]:
    """All rows, for so many texts a side."""
    needs, practices = _corpus.texts(size, NEED), _corpus.texts(size, PRACTICE)
    yield from counting(practices)
    yield from starting(practices)
    yield from round_from_text(needs, practices)
    yield from searching(2 * size, size // 5)


def counting(texts: list[str]) -> Iterator[Row]:
    """Cutting texts into words and counting them; the peer does not stem, but weighs."""
    vectorizer = "TfidfVectorizer.fit_transform"

    def ours() -> None:
        Vocabulary().count(texts)

    def theirs() -> None:
        TfidfVectorizer(stop_words="english", dtype=np.float32).fit_transform(texts)

    spent = [seconds / len(texts) for seconds in side_by_side(ours, theirs)]
    note = f"{len(texts)} texts, {np.mean([len(text) for text in texts]):.0f} characters"
    yield Row("count the terms of a text, many at once", spent[0], vectorizer, spent[1], 1, note)
    known = Vocabulary()
    known.count(texts)
    (again,) = side_by_side(lambda: known.count(texts))
    yield Row("the same, all words known", again / len(texts), vectorizer, spent[1])
    some = texts[:500]
    known.count(some)
    one, alone = side_by_side(
        lambda: [known.count([text]) for text in some], lambda: [*map(count_terms, some)]
    )
    yield Row("one text at a time", one / len(some), "count_terms", alone / len(some))


def starting(texts: list[str]) -> Iterator[Row]:
    """Filling an index from term counts as they were kept: what a worker does when it starts."""
    kept = [json.dumps(counts) for counts in Vocabulary().count(texts)]
    entries = [(place, PRACTICE, place % 1000, json.loads(counts)) for place, counts in enumerate(kept)]
    (spent,) = side_by_side(lambda: MatchIndex(entries))
    yield Row(f"fill an index from kept counts, {len(texts)} texts", spent)


def round_from_text(needs: list[str], practices: list[str]) -> Iterator[Row]:
    """The ten best practices of each need, from nothing but text: by T1, as the peer ranks, and by T3."""

    def filled() -> MatchIndex:
        vocabulary, index = Vocabulary(), MatchIndex()
        for kind, texts in ((PRACTICE, practices), (NEED, needs)):
            index.put_texts([(f"{kind}{n}", kind, None) for n in range(len(texts))], vocabulary.count(texts))
        return index

    def ours() -> None:
        best_first(filled())

    def widened() -> None:
        index = filled()
        index.rank_many(index.keys(NEED), limit=TOP)

    def theirs() -> None:
        weighed = TfidfVectorizer(stop_words="english").fit_transform([*needs, *practices])
        np.argsort(-cosine_similarity(weighed[: len(needs)], weighed[len(needs) :]), axis=1)[:, :TOP]

    first, third, peer = side_by_side(ours, widened, theirs, turns=3)
    name, usual = (
        f"a whole round from text, {len(needs)} x {len(practices)}",
        "TfidfVectorizer, cosine, argsort",
    )
    yield Row(f"{name}, T1", first, usual, peer, 10)
    yield Row(f"{name}, T3", third, usual, peer, note="the peer has no feedback")


def best_first(index: MatchIndex) -> NDArray[np.int64]:
    """The practices with the highest T1 of each need."""
    needs, *_ = index.weighed(index.keys(NEED))
    return index.snapshot().join.top(needs.rows, TOP)[1]


def searching(documents: int, queries: int) -> Iterator[Row]:
    """`twinning search` as a whole process: start, read, count, index, rank, write."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{side}.jsonl") for side in (PRACTICE, NEED)]
        for path, side, size in zip(paths, (PRACTICE, NEED), (documents, queries), strict=True):
            told = (json.dumps({"id": str(n), "text": t}) for n, t in enumerate(_corpus.texts(size, side)))
            path.write_text("\n".join(told), encoding="utf-8")
        corpus, asked = map(str, paths)
        given = ("--corpus", corpus, "--queries", asked, "--top", str(SEARCH_TOP))
        commands = [["-m", "services.cli.main", "search", *given]]
        commands += [[str(_PEERS), name, corpus, asked, str(SEARCH_TOP)] for name in ("bm25s", "sklearn")]
        spent = processes(commands)
    for name, seconds in zip(("bm25s, whole process", "scikit-learn, whole process"), spent[1:], strict=True):
        note = f"{documents} texts, {queries} queries, top {SEARCH_TOP}"
        yield Row("twinning search, whole process", spent[0], name, seconds, 1, note)


def processes(commands: list[list[str]]) -> list[float]:
    """The median CPU seconds of some Python processes that take turns, after one run of each."""
    turns = [[process_s(command) for command in commands] for _ in range(SEARCH_TURNS + 1)][1:]
    return [float(np.median(column)) for column in zip(*turns, strict=True)]


def process_s(command: list[str]) -> float:
    """CPU seconds of one Python process, start and end included; raises when it fails."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, cwd=root)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


if __name__ == "__main__":
    print(HEAD)
    printed(rows(*map(int, sys.argv[1:])))
