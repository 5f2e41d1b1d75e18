# SPDX-License-Identifier: Apache-2.0
"""Prints how well the engine finds what people judged relevant, on public collections that one has at hand.

``python benchmarks/quality.py --data DIR`` takes each folder of DIR with ``docs.jsonl``, ``queries.jsonl``
and ``qrels.txt`` as a collection, runs the engine over it as `twinning search` does, and prints nDCG@10,
Recall@100 and MRR. Where bm25s can be imported it runs beside as a peer, and the last line gives the mean
ratio of each measure to it, without the collections named in ``--apart``. A folder named in
``--without-titles`` leaves titles out. ``--bands`` prints instead how well the first score tells answers from
others and needs that have an answer from needs that have none; ``--prior`` the table that the prior of the
bands was read from.

The measures follow trec_eval: gain is the grade, equal scores are ordered by id, last first, and a query
that finds nothing counts 0. The collections are not ours to ship.
"""

import argparse
import importlib.util
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from services.matcher.engine.index import MatchIndex
from services.matcher.engine.store import NEED, PRACTICE
from services.matcher.engine.text import count_terms

DEPTH = 100
Run = dict[str, list[str]]


@dataclass(frozen=True)
class Collection:
    """Texts, queries, and for each query the grade of each text that answers it."""

    name: str
    texts: dict[str, str]
    queries: dict[str, str]
    grades: dict[str, dict[str, float]]


def read_texts(path: Path, *, titles: bool = True) -> dict[str, str]:
    """The texts of a file by id, the title before the text."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {
        str(row["id"]): f"{row['title']}\n{row['text']}" if titles and row.get("title") else row["text"]
        for row in rows
    }


def read_collection(folder: Path, *, titles: bool) -> Collection:
    """One folder; judgements of 0 and less are dropped."""
    grades: dict[str, dict[str, float]] = {}
    for line in (folder / "qrels.txt").read_text(encoding="utf-8").splitlines():
        query, _, text, grade = line.split()
        if float(grade) > 0:
            grades.setdefault(query, {})[text] = float(grade)
    texts = read_texts(folder / "docs.jsonl", titles=titles)
    return Collection(folder.name, texts, read_texts(folder / "queries.jsonl"), grades)


def in_order(scores: Iterable[tuple[str, float]]) -> list[str]:
    """Ids best first, equal scores by id, last first."""
    return [text for text, _ in sorted(scores, key=lambda pair: (pair[1], pair[0]), reverse=True)]


def ndcg(ranked: list[str], grades: dict[str, float], depth: int = 10) -> float:
    """Normalised discounted cumulative gain of the first ten."""
    gain = sum(grades.get(text, 0.0) / math.log2(place + 2) for place, text in enumerate(ranked[:depth]))
    best = sorted(grades.values(), reverse=True)[:depth]
    return gain / sum(grade / math.log2(place + 2) for place, grade in enumerate(best))


def recall(ranked: list[str], grades: dict[str, float], depth: int = DEPTH) -> float:
    """The share of the answers that stand within the first hundred."""
    return len(grades.keys() & set(ranked[:depth])) / len(grades)


def reciprocal_rank(ranked: list[str], grades: dict[str, float]) -> float:
    """One over the place of the first answer; 0 when there is none."""
    return next((1.0 / place for place, text in enumerate(ranked, 1) if text in grades), 0.0)


MEASURES: dict[str, Callable[[list[str], dict[str, float]], float]] = {
    "nDCG@10": ndcg,
    "Recall@100": recall,
    "MRR": reciprocal_rank,
}


def index_of(collection: Collection) -> MatchIndex:
    """The index of a collection: its texts as practices, its queries as needs."""
    return MatchIndex(
        (f"{kind}:{key}", kind, None, count_terms(text))
        for kind, texts in ((PRACTICE, collection.texts), (NEED, collection.queries))
        for key, text in texts.items()
    )


def run_engine(collection: Collection) -> Run:
    """Our engine: needs and texts together in the idf, ranked by T3."""
    index = index_of(collection)
    run = {}
    for query in collection.queries:
        found = index.rank(f"{NEED}:{query}", limit=DEPTH)
        run[query] = in_order((str(its.practice).removeprefix(f"{PRACTICE}:"), its.score) for its in found)
    return run


def run_bm25s(collection: Collection) -> Run:
    """The peer: bm25s with its English stop list and Snowball stems, k1 1.5 and b 0.75."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    keys = list(collection.texts)
    peer = bm25s.BM25(k1=1.5, b=0.75)
    told = {"stopwords": "en", "stemmer": stemmer, "show_progress": False}
    peer.index(bm25s.tokenize(list(collection.texts.values()), **told), show_progress=False)
    asked = bm25s.tokenize(list(collection.queries.values()), **told)
    found, scores = peer.retrieve(asked, k=min(DEPTH, len(keys)), show_progress=False)
    return {
        query: in_order((keys[place], float(score)) for place, score in zip(*row, strict=True) if score > 0)
        for query, row in zip(collection.queries, zip(found, scores, strict=True), strict=True)
    }


def means(run: Run, collection: Collection) -> list[float]:
    """The mean of each measure over the queries that have an answer."""
    return [
        statistics.fmean(measure(run.get(query, []), grades) for query, grades in collection.grades.items())
        for measure in MEASURES.values()
    ]


def print_quality(collections: list[Collection], apart: list[str]) -> None:
    """A line for each collection and engine, and the mean ratios to the peer."""
    engines = {"twinning": run_engine}
    if importlib.util.find_spec("bm25s"):
        engines["bm25s"] = run_bm25s
    print(
        f"{'collection':<12}{'engine':<10}{'queries':>8}" + "".join(f"{name:>12}" for name in MEASURES),
        "  ms/query",
    )
    ratios = []
    for collection in collections:
        found = {}
        for name, engine in engines.items():
            begun = time.perf_counter()
            run = engine(collection)
            spent = (time.perf_counter() - begun) / max(1, len(collection.queries)) * 1000
            found[name] = means(run, collection)
            figures = "".join(f"{mean:12.4f}" for mean in found[name])
            print(f"{collection.name:<12}{name:<10}{len(collection.grades):>8}{figures}{spent:10.2f}")
        if "bm25s" in found and collection.name not in apart:
            ratios.append([ours / peer for ours, peer in zip(*found.values(), strict=True)])
    if ratios:
        columns = "".join(f"{statistics.fmean(column):12.3f}" for column in zip(*ratios, strict=True))
        print(f"{'mean ratio':<12}{'to bm25s':<10}{len(ratios):>8}{columns}")


def auc(good: NDArray[np.float64], bad: NDArray[np.float64]) -> float:
    """The chance that a good one scores above a bad one; equal scores count half."""
    ranks = rankdata(np.concatenate([good, bad]))[: len(good)]
    return float((ranks.sum() - len(good) * (len(good) + 1) / 2) / (len(good) * len(bad)))


def print_bands(collections: list[Collection]) -> None:
    """What the first score is worth as a signal, by collection, and the mean.

    `first tens`: among the ten best texts of every query, all queries in one, answers against others.
    `no match`: the best score of queries whose best text is an answer, against the best score of every query
    once all its answers are taken away.
    """
    print(f"{'collection':<12}{'first tens':>12}{'no match':>12}")
    rows = []
    for collection in collections:
        needs = [f"{NEED}:{query}" for query in collection.grades]
        scores = index_of(collection).first_scores(needs, [f"{PRACTICE}:{text}" for text in collection.texts])
        answers = np.array([[text in own for text in collection.texts] for own in collection.grades.values()])
        tens = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        ten, right = np.take_along_axis(scores, tens, 1), np.take_along_axis(answers, tens, 1)
        without = np.where(answers, 0.0, scores).max(axis=1)
        rows.append((auc(ten[right], ten[~right]), auc(ten[right[:, 0], 0], without)))
        print(f"{collection.name:<12}" + "".join(f"{value:12.3f}" for value in rows[-1]))
    print(
        f"{'mean':<12}" + "".join(f"{statistics.fmean(column):12.3f}" for column in zip(*rows, strict=True))
    )


def small_catalogue(
    collection: Collection, size: int, chance: random.Random
) -> tuple[list[float], list[float]]:
    """T1 of the pairs that answer and that do not, of `size` queries of which half have an answer there."""
    queries = chance.sample(sorted(collection.grades), min(size, len(collection.grades)))
    judged = [sorted(collection.grades[query].keys() & collection.texts.keys()) for query in queries]
    everything = sorted(collection.texts)
    texts = sorted(
        {chance.choice(own if own and place % 2 == 0 else everything) for place, own in enumerate(judged)}
    )
    needs, practices = [f"need:{query}" for query in queries], [f"practice:{text}" for text in texts]
    index = MatchIndex(
        [
            (key, PRACTICE, None, count_terms(collection.texts[text]))
            for key, text in zip(practices, texts, strict=True)
        ]
        + [
            (key, NEED, None, count_terms(collection.queries[query]))
            for key, query in zip(needs, queries, strict=True)
        ]
    )
    split: tuple[list[float], list[float]] = ([], [])
    for query, scores in zip(queries, index.first_scores(needs, practices).tolist(), strict=True):
        for text, score in zip(texts, scores, strict=True):
            split[0 if text in collection.grades[query] else 1].append(score)
    return split


def print_prior(collections: list[Collection]) -> None:
    """Percentiles of T1 among pairs that do not answer, and how many pairs above each do answer."""
    print(
        f"{'collection':<12}{'needs':>6}"
        + "".join(f"{f'{share}th':>10}{'answer':>8}" for share in (90, 97, 99))
    )
    chance = random.Random(7)
    for collection in collections:
        for size in (5, 10, 30, 60, 120):
            answers, others = [], []
            for _ in range(max(6, 240 // size)):
                found = small_catalogue(collection, size, chance)
                answers.extend(found[0])
                others.extend(found[1])
            edges = np.quantile(others, [0.90, 0.97, 0.99]).tolist()
            above = [[sum(score >= edge for score in side) for side in (answers, others)] for edge in edges]
            told = (
                f"{edge:10.3f}{good / (good + bad):8.2f}"
                for edge, (good, bad) in zip(edges, above, strict=True)
            )
            print(f"{collection.name:<12}{size:>6}" + "".join(told))


def main() -> None:
    """Read the collections and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of collections")
    parser.add_argument("--without-titles", nargs="*", default=["stackfaq"], metavar="NAME")
    parser.add_argument("--apart", nargs="*", default=["covidfaq"], metavar="NAME")
    parser.add_argument(
        "--bands", action="store_true", help="print what the first score is worth as a signal"
    )
    parser.add_argument("--prior", action="store_true", help="print how the prior of the bands was measured")
    given = parser.parse_args()
    folders = sorted(path.parent for path in given.data.glob("*/qrels.txt"))
    if not folders:
        parser.error(f"{given.data} holds no folder with a qrels.txt")
    collections = [read_collection(each, titles=each.name not in given.without_titles) for each in folders]
    if given.prior:
        print_prior(collections)
    elif given.bands:
        print_bands(collections)
    else:
        print_quality(collections, given.apart)


if __name__ == "__main__":
    main()
