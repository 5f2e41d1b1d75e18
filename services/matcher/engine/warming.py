# SPDX-License-Identifier: Apache-2.0
"""Compile every loop of the engine once, so that no first request waits for it: at set-up, in an image build.

``python -m services.matcher.engine.warming`` does it; what is compiled is kept on disk beside the modules, or
in the user's cache directory where those cannot be written.
"""

from services.matcher.engine.index import MatchIndex
from services.matcher.engine.store import NEED, PRACTICE, Entry


def warm() -> None:
    """Call every compiled loop with the very types that it is called with in earnest."""
    words = [f"word{number}" for number in range(40)]
    entries: list[Entry] = [
        (
            f"{kind}{number}",
            kind,
            number % 3,
            {words[(number * 7 + step) % 40]: 1 + step for step in range(9)},
        )
        for kind in (NEED, PRACTICE)
        for number in range(20)
    ]
    index = MatchIndex(entries[1:])
    index.put(*entries[0])
    mask = index.mask([0, 1])
    needs = index.keys(NEED)
    index.rank(needs[0], mask, 3)
    index.rank(needs[0], None, 3, 0.01)
    index.needs_near(f"{PRACTICE}1", mask, 0.01)
    index.rank_many(needs, [mask] * len(needs), 0.01)
    for number in range(20):
        index.put(f"more{number}", NEED, 0, {words[0]: 1, f"new{number}": 1})
    index.needs_near(f"{PRACTICE}1")


if __name__ == "__main__":
    warm()
