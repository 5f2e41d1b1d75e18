# SPDX-License-Identifier: Apache-2.0
"""Prints how often the themes that are suggested for a text are those that experts gave it.

``python benchmarks/themes.py --data FILE`` takes a CSV with the columns ``id``, ``text``, ``sdg`` (1 to 17)
and ``label``: whether experts agreed that the text is about that Sustainable Development Goal. The texts
where they did are ranked among the seventeen goals; beside ours stands scikit-learn's default
TfidfVectorizer over the same descriptions. The last column is the chance that of two texts that experts
looked at for one goal, one that they gave it and one that they did not, the first has the higher score (AUC,
mean of the goals).

The texts are parted in two by a hash of their id. The words of the themes may be chosen by looking at the
half called ``seen``; ``unseen`` is what is reported. The texts are not ours to ship (SDG benchmark, CC BY
4.0).
"""

import argparse
import csv
import hashlib
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sklearn.feature_extraction.text import TfidfVectorizer

from services.matcher.engine.themes import LEAST, suggest_themes, theme_texts

GOALS = [f"sdg-{number}" for number in range(1, 18)]
Rank = Callable[[str], dict[str, float]]


@dataclass(frozen=True)
class Judged:
    """A text, a goal, and whether experts say that the text is about it."""

    text: str
    goal: str
    agreed: bool
    seen: bool


def read(path: Path) -> list[Judged]:
    """The rows of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Judged(
                row["text"],
                f"sdg-{row['sdg']}",
                row["label"] == "True",
                hashlib.sha256(row["id"].encode()).digest()[0] % 2 == 0,
            )
            for row in csv.DictReader(file)
        ]


def ours(text: str, least: float = LEAST) -> dict[str, float]:
    """The score of each goal by our suggestion; 0 where it is too small to be suggested."""
    found = suggest_themes(text, None, least)
    return dict.fromkeys(GOALS, 0.0) | {theme: score for theme, score in found if theme in GOALS}


def ours_uncut(text: str) -> dict[str, float]:
    """The same down to the smallest score."""
    return ours(text, 0.0)


def scikit() -> Rank:
    """The score of each goal by scikit-learn's default."""
    vectorizer = TfidfVectorizer()
    goals = vectorizer.fit_transform([theme_texts()[goal] for goal in GOALS])

    def rank(text: str) -> dict[str, float]:
        return dict(zip(GOALS, (vectorizer.transform([text]) @ goals.T).toarray()[0].tolist(), strict=True))

    return rank


def macro_f1(pairs: list[tuple[str, str]]) -> float:
    """The mean over the goals of F1, from pairs of what is true and what was found."""
    scores = []
    for goal in GOALS:
        hits = sum(true == found == goal for true, found in pairs)
        named = sum(true == goal for true, _ in pairs) + sum(found == goal for _, found in pairs)
        scores.append(2 * hits / named if named else 0.0)
    return statistics.fmean(scores)


def auc(judged: list[tuple[Judged, dict[str, float]]]) -> float:
    """The mean over the goals of the chance that an agreed text scores above one that is not."""
    found = []
    for goal in GOALS:
        sides = [
            [scores[goal] for its, scores in judged if its.goal == goal and its.agreed is agreed]
            for agreed in (True, False)
        ]
        wins = [(good > bad) + (good == bad) / 2 for good in sides[0] for bad in sides[1]]
        found.append(statistics.fmean(wins))
    return statistics.fmean(found)


def main() -> None:
    """Print a line for each half and each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--wrong", action="store_true", help="print what was taken for what, of the half seen"
    )
    rows = read((given := parser.parse_args()).data)
    print(f"{'':<10}{'':<16}{'texts':>6}{'top 1':>8}{'top 3':>8}{'F1':>8}{'AUC':>8}")
    for half in ("seen", "unseen"):
        some = [row for row in rows if row.seen is (half == "seen")]
        for name, rank in {"ours": ours, "ours, uncut": ours_uncut, "scikit-learn": scikit()}.items():
            judged = [(row, rank(row.text)) for row in some]
            ranked = [
                (row.goal, sorted(scores, key=lambda goal: -scores[goal]), row.text)
                for row, scores in judged
                if row.agreed
            ]
            first = statistics.fmean(goal == best[0] for goal, best, _ in ranked)
            third = statistics.fmean(goal in best[:3] for goal, best, _ in ranked)
            f1 = macro_f1([(goal, best[0]) for goal, best, _ in ranked])
            print(
                f"{half:<10}{name:<16}{len(ranked):>6}{first:>8.3f}{third:>8.3f}{f1:>8.3f}{auc(judged):>8.3f}"
            )
            if given.wrong and half == "seen" and name == "ours":
                for goal, best, text in ranked:
                    if goal != best[0]:
                        print(f"    {goal} taken for {best[0]}: {text[:100]}")


if __name__ == "__main__":
    main()
