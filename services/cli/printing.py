# SPDX-License-Identifier: Apache-2.0
"""Prints what the commands without a server have found: for people, for programs, for measuring."""

import csv
import json
import sys
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.listing_files import Listed, ListedText
from services.cli.rankings import print_ranking
from services.matcher.engine.corpus import Corpus
from services.matcher.engine.index import Match
from services.matcher.engine.pairing import Pair
from services.matcher.engine.reasons import Document, explain

_COLUMNS = (
    "need_ref",
    "need",
    "need_city",
    "practice_ref",
    "practice",
    "practice_city",
    "score",
    "band",
    "words",
    "themes",
)


def _document(its: ListedText) -> Document:
    """What a reason is told of a listing."""
    return Document(its.fields.title, its.body, tuple(its.fields.themes), its.labels, its.language)


def _reason(corpus: Corpus, listed: Listed, found: Match) -> dict[str, Any]:
    """One ground of a suggestion as the API would show it, references in place of ids."""
    need, practice = listed.texts[found.need], listed.texts[found.practice]
    reason = explain(corpus, found, _document(need), _document(practice))
    sides = {
        f"{its.kind}_{name}": value
        for its in (need, practice)
        for name, value in (("id", its.ref), ("title", its.fields.title), ("city_id", its.city_ref))
    }
    return {
        **sides,
        "score": reason.score,
        "band": reason.band,
        "terms": [
            {"term": term.term, "contribution": term.contribution, "related": term.related}
            for term in reason.terms
        ],
        "other": reason.other,
        "themes": list(reason.themes),
        "need_quote": reason.need_quote,
        "practice_quote": reason.practice_quote,
        "missing": list(reason.missing),
    }


def _suggestion(corpus: Corpus, listed: Listed, pair: Pair) -> dict[str, Any]:
    """A pair in the shape of a suggestion, references in place of ids."""
    facts = [
        (listed.cities[str(city)].facts, corpus.city(city), role)
        for city, role in zip(pair.cities, pair.roles, strict=True)
    ]
    return {
        "kind": pair.kind,
        "score": pair.score,
        "band": pair.band,
        "cities": [
            {
                "city_id": city.key,
                "name": city.name,
                "country": told.country,
                "region": city.region,
                "role": role,
            }
            for told, city, role in facts
        ],
        "directions": [{"learner_city_id": way.learner, "score": way.score} for way in pair.directions],
        "reasons": [_reason(corpus, listed, found) for found in pair.matches],
    }


def _print_jsonl(corpus: Corpus, listed: Listed, pairs: list[Pair]) -> None:
    """One suggestion a line."""
    for pair in pairs:
        print(json.dumps(_suggestion(corpus, listed, pair), ensure_ascii=False))


def _rows(corpus: Corpus, listed: Listed, pairs: list[Pair]) -> Iterator[dict[str, str]]:
    """One match a row, suggestions in their order, its values by column."""
    for pair in pairs:
        for found in pair.matches:
            reason = _reason(corpus, listed, found)
            words = ", ".join(term["term"] for term in reason["terms"] if not term["related"])
            cities = [listed.cities[reason[f"{side}_city_id"]].facts.name for side in ("need", "practice")]
            told = (
                reason["need_id"], reason["need_title"], cities[0],
                reason["practice_id"], reason["practice_title"], cities[1],
                f"{reason['score']:.1f}", reason["band"] or "", words, ", ".join(reason["themes"]),
            )  # fmt: skip
            yield dict(zip(_COLUMNS, told, strict=True))


def _print_csv(corpus: Corpus, listed: Listed, pairs: list[Pair]) -> None:
    """One match a row, under a header."""
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(corpus, listed, pairs))


def _print_table(corpus: Corpus, listed: Listed, pairs: list[Pair]) -> None:
    """A table for people, of few columns, so that words stay whole on a narrow terminal, too."""
    table = Table("score", "need", "practice", "words")
    for row in _rows(corpus, listed, pairs):
        told = (
            f"{row['score']}\n{row['band']}",
            f"{row['need']}\n({row['need_city']})",
            f"{row['practice']}\n({row['practice_city']})",
            row["words"],
        )
        table.add_row(*map(Text, told))
    Console().print(table if table.row_count else "Nothing matches; try a lower --min-band.")


def _print_trec(_corpus: Corpus, listed: Listed, pairs: list[Pair]) -> None:
    """A run file: one match a line, ranked within its need; scores stand before the cap at 100."""
    by_need: dict[Hashable, set[Match]] = {}
    for pair in pairs:
        for found in pair.matches:
            by_need.setdefault(found.need, set()).add(found)
    for need in sorted(by_need, key=str):
        ranked = sorted(by_need[need], key=lambda found: (-found.score, str(found.practice)))
        refs = [(listed.texts[found.practice].ref, found.score) for found in ranked]
        print_ranking(listed.texts[need].ref, refs)


PAIR_PRINTERS: dict[str, Callable[[Corpus, Listed, list[Pair]], None]] = {
    "table": _print_table,
    "jsonl": _print_jsonl,
    "csv": _print_csv,
    "trec": _print_trec,
}
"""How matches can be printed."""
