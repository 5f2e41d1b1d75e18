# SPDX-License-Identifier: Apache-2.0
"""Prints how well needs find their practices in other languages than English.

``python benchmarks/languages.py`` takes the pairs of ``benchmarks/data/languages.jsonl``, each a need and a
practice that answers it, and prints for each language the share of needs whose practice comes first among
the practices of all languages: by English words alone, by our analysis, and by scikit-learn's default; then
Vietnamese needs typed in decomposed form and without tone marks, and how often a wrong practice of the
need's own language would look good in a catalogue that is mostly English.

The pairs were written for this benchmark, in plain sentences about what learning cities do: they are easy,
and good for telling ways of cutting words apart, not for more. Nobody whose language it is has checked the
Lao, Khmer and Burmese ones. The English catalogue, for the last table, is any file of ``{"text"}`` lines or a
CSV with a column ``text``, given as ``--english FILE``.
"""

import argparse
import csv
import json
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from services.matcher.engine.index import MatchIndex
from services.matcher.engine.store import NEED, PRACTICE
from services.matcher.engine.text import count_terms
from twinning.languages import detect

PAIRS = Path(__file__).parent / "data" / "languages.jsonl"
Scores = NDArray[np.float64]
Count = Callable[[str], dict[str, int]]


@dataclass(frozen=True)
class Pair:
    """A need, the practice that answers it, and their language."""

    language: str
    need: str
    practice: str


def read_pairs() -> list[Pair]:
    """The pairs that ship with the benchmark."""
    return [Pair(**json.loads(line)) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


def by_english_words(text: str) -> dict[str, int]:
    """The terms of a text taken for English."""
    return count_terms(text)


def by_language(text: str) -> dict[str, int]:
    """The terms of a text in the language that it is detected to be in."""
    return count_terms(text, detect(text))


def ours(pairs: list[Pair], count: Count) -> Scores:
    """The score of each practice (columns) for each need (rows) by our engine."""
    entries = [(f"{place}", PRACTICE, None, count(pair.practice)) for place, pair in enumerate(pairs)]
    entries += [(f"need {place}", NEED, None, count(pair.need)) for place, pair in enumerate(pairs)]
    index = MatchIndex(entries)
    scores = np.zeros((len(pairs), len(pairs)))
    for place in range(len(pairs)):
        for match in index.rank(f"need {place}"):
            scores[place, int(str(match.practice))] = match.score
    return scores


def scikit(pairs: list[Pair]) -> Scores:
    """The same by scikit-learn's default TfidfVectorizer."""
    vectorizer = TfidfVectorizer()
    practices = vectorizer.fit_transform([pair.practice for pair in pairs])
    found: Scores = (vectorizer.transform([pair.need for pair in pairs]) @ practices.T).toarray()
    return found


def firsts(pairs: list[Pair], scores: Scores) -> dict[str, float]:
    """For each language the share of needs whose own practice comes first, and alone."""
    found: dict[str, list[bool]] = {}
    for place, pair in enumerate(pairs):
        row = scores[place]
        first = row[place] > np.delete(row, place).max()
        found.setdefault(pair.language, []).append(bool(first))
    return {language: sum(hits) / len(hits) for language, hits in found.items()}


def typed(pairs: list[Pair], language: str, change: Callable[[str], str]) -> list[Pair]:
    """The pairs with the needs of one language typed otherwise."""
    return [
        Pair(pair.language, change(pair.need), pair.practice) if pair.language == language else pair
        for pair in pairs
    ]


def decomposed(text: str) -> str:
    """A text with its accents as characters of their own."""
    return unicodedata.normalize("NFD", text)


def without_marks(text: str) -> str:
    """A text as it is typed without a Vietnamese keyboard."""
    bare = "".join(letter for letter in decomposed(text) if not unicodedata.combining(letter))
    return bare.replace("đ", "d").replace("Đ", "D")


def read_english(path: Path) -> list[str]:
    """The texts of an English catalogue."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
        return [row["text"] for row in rows]


def print_mixed(pairs: list[Pair], english: list[str]) -> None:
    """Where pairs of one language stand among the pairs of an English catalogue that they joined."""
    middle = len(english) // 2
    stored = [(f"{place}", PRACTICE, None, count_terms(text)) for place, text in enumerate(english[:middle])]
    stored += [(f"n{place}", NEED, None, count_terms(text)) for place, text in enumerate(english[middle:])]
    needs, practices = [f"n{place}" for place in range(len(english) - middle)], list(map(str, range(middle)))
    before = MatchIndex(stored).first_scores(needs, practices)
    possible, strong = np.quantile(before, [0.97, 0.99])
    print(f"\n{'T1 among English texts':<24}{'wrong pairs':>36}{'right pairs':>24}{'English moves':>16}")
    print(f"{'':<24}{'possible':>24}{'strong':>12}{'possible':>12}{'strong':>12}{'at most':>16}")
    for language in dict.fromkeys(pair.language for pair in pairs):
        own = [pair for pair in pairs if pair.language == language]
        index = MatchIndex(
            stored
            + [(f"p+{place}", PRACTICE, None, by_language(pair.practice)) for place, pair in enumerate(own)]
            + [(f"n+{place}", NEED, None, by_language(pair.need)) for place, pair in enumerate(own)]
        )
        places = range(len(own))
        scores = index.first_scores([f"n+{place}" for place in places], [f"p+{place}" for place in places])
        right, wrong = np.diag(scores), scores[~np.eye(len(own), dtype=bool)]
        moved = np.abs(index.first_scores(needs, practices) - before).max() / before.max()
        shares = [(side >= edge).mean() for side in (wrong, right) for edge in (possible, strong)]
        print(
            f"{language:<24}{shares[0]:>24.2f}" + "".join(f"{share:>12.2f}" for share in shares[1:]), end=""
        )
        print(f"{moved:>16.3f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--english", type=Path, metavar="FILE", help="English texts for the last table")
    given = parser.parse_args()
    pairs = read_pairs()
    rows = {
        "scikit-learn default": scikit(pairs),
        "English words alone": ours(pairs, by_english_words),
        "ours": ours(pairs, by_language),
        "ours, vi decomposed": ours(typed(pairs, "vi", decomposed), by_language),
        "ours, vi without marks": ours(typed(pairs, "vi", without_marks), by_language),
    }
    languages = dict.fromkeys(pair.language for pair in pairs)
    print(f"{'own practice first':<24}" + "".join(f"{language:>6}" for language in languages))
    for name, scores in rows.items():
        print(f"{name:<24}" + "".join(f"{share:>6.2f}" for share in firsts(pairs, scores).values()))
    if given.english:
        print_mixed(pairs, read_english(given.english))


if __name__ == "__main__":
    main()
