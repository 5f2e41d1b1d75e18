# SPDX-License-Identifier: Apache-2.0
"""Compile the loops of the engine once, so that no first request waits for it: at set-up, in an image build.

``python -m services.matcher.engine.warming`` compiles what every catalogue needs; with ``--bulk`` also what
reads, searches and joins thousands of texts. See ``compiled`` for where the code is kept.
"""

import sys

from services.matcher.engine import many
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.neighbours import smallest_sums
from services.matcher.engine.store import NEED, PRACTICE, Entry
from services.matcher.engine.words import Vocabulary

_WORDS = [f"word{number}" for number in range(40)]


def _entries(count: int) -> list[Entry]:
    """So many needs and practices of three cities."""
    return [
        (
            f"{kind}{number}",
            kind,
            number % 3,
            {_WORDS[(number * 7 + step) % 40]: 1 + step for step in range(9)},
        )
        for kind in (NEED, PRACTICE)
        for number in range(count)
    ]


def warm() -> None:
    """Call every loop that any catalogue needs, with the very types that it is called with in earnest."""
    entries = _entries(20)
    index = MatchIndex(entries[1:])
    index.put(*entries[0])
    mask = index.mask([0, 1])
    index.rank(f"{NEED}1", mask, 3, 0.01)
    index.needs_near(f"{PRACTICE}1", mask, 0.01)
    for number in range(20):
        index.put(f"more{number}", NEED, 0, {_WORDS[0]: 1, f"new{number}": 1})
    index.needs_near(f"{PRACTICE}1")
    smallest_sums(b"a few words", 1)


def warm_bulk() -> None:
    """Call the loops that read, search and join thousands of texts."""
    Vocabulary().count([" ".join(_WORDS)])
    index = MatchIndex(_entries(many.FEWEST_PRACTICES))
    needs = index.keys(NEED)
    index.rank(needs[0], None, 3)
    index.rank_many(needs, [index.mask([0, 1])] * len(needs), 0.01)
    index.rank_many(needs, limit=3)


if __name__ == "__main__":
    warm()
    if "--bulk" in sys.argv:
        warm_bulk()
