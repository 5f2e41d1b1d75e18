# SPDX-License-Identifier: Apache-2.0
"""Prints what one query has found, best first, for programs that measure."""

import json
import sys
from collections.abc import Callable, Iterable

from services.matcher.engine.pairing import SCORE_SCALE

RUN_NAME = "twinning"


def print_ranking(query: str, ranked: Iterable[tuple[str, float]]) -> None:
    """The lines of one query in the format that trec_eval reads."""
    # One write for all lines: a print for each costs as much as finding it.
    sys.stdout.write(
        "".join(
            f"{query} Q0 {ref} {place} {score * SCORE_SCALE!r} {RUN_NAME}\n"
            for place, (ref, score) in enumerate(ranked, 1)
        )
    )


def _print_found(query: str, ranked: Iterable[tuple[str, float]]) -> None:
    """The texts that one query found, one a line."""
    for place, (ref, score) in enumerate(ranked, 1):
        print(
            json.dumps(
                {"query": query, "id": ref, "rank": place, "score": score * SCORE_SCALE}, ensure_ascii=False
            )
        )


RANKING_PRINTERS: dict[str, Callable[[str, Iterable[tuple[str, float]]], None]] = {
    "trec": print_ranking,
    "jsonl": _print_found,
}
"""How a search run can be printed."""
