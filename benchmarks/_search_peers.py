# SPDX-License-Identifier: Apache-2.0
"""What `twinning search` does, as one would write it with another library; a peer to be measured beside it.

``python benchmarks/_search_peers.py bm25s|sklearn DOCUMENTS QUERIES TOP`` reads two JSON Lines files of
{"id", "text"} and prints a run file. It shares no code with the project.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def read(path: str) -> tuple[list[str], list[str]]:
    """The ids and the texts of a file."""
    with Path(path).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row["id"] for row in rows], [row["text"] for row in rows]


def write(ids: list[str], queries: list[str], found: Iterable[tuple[Any, Any]], name: str) -> None:
    """A run file of the places and scores found for each query."""
    for query, (places, scores) in zip(queries, found, strict=True):
        ranked = zip(places.tolist(), scores.tolist(), strict=True)
        sys.stdout.write(
            "".join(f"{query} Q0 {ids[at]} {n} {score} {name}\n" for n, (at, score) in enumerate(ranked, 1))
        )


def bm25s(documents: str, queries: str, top: int) -> None:
    """BM25 with the stemmer and stop words that bm25s recommends."""
    import bm25s as library
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    ids, texts = read(documents)
    asked, questions = read(queries)
    engine = library.BM25()
    engine.index(
        library.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False
    )
    tokens = library.tokenize(questions, stopwords="en", stemmer=stemmer, show_progress=False)
    places, scores = engine.retrieve(tokens, k=top, show_progress=False)
    write(ids, asked, zip(places, scores, strict=True), "bm25s")


def sklearn(documents: str, queries: str, top: int) -> None:
    """TF-IDF and cosine, some hundred queries at a time, with a partial sort."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import linear_kernel

    ids, texts = read(documents)
    asked, questions = read(queries)
    vectorizer = TfidfVectorizer(stop_words="english", dtype=np.float32)
    stored = vectorizer.fit_transform(texts)
    wanted = vectorizer.transform(questions)
    for start in range(0, len(asked), 500):
        scores = linear_kernel(wanted[start : start + 500], stored)
        places = np.argpartition(scores, -top)[:, -top:]
        held = np.take_along_axis(scores, places, 1)
        order = np.argsort(-held)
        places, held = np.take_along_axis(places, order, 1), np.take_along_axis(held, order, 1)
        write(ids, asked[start : start + 500], zip(places, held, strict=True), "sklearn")


PEERS: dict[str, Callable[[str, str, int], None]] = {"bm25s": bm25s, "sklearn": sklearn}

if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
