# SPDX-License-Identifier: Apache-2.0
"""A line of a speed table: what we do beside what a peer does, in one run, as a ratio.

A machine that others use too makes seconds worthless and ratios fair, as long as the two take turns. So both
run alternately, each time is CPU seconds of this process, and the median of the turns counts.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

TURNS = 5


@dataclass(frozen=True)
class Row:
    """One comparison: `ratio` says how many times as long the peer takes, or None where there is no peer."""

    name: str
    ours_s: float
    peer: str = ""
    peer_s: float | None = None
    must: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as long the peer takes."""
        return None if self.peer_s is None else self.peer_s / self.ours_s

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:8.1f}x"
        must = "" if self.must is None else f"{self.must:6g}x"
        peer = "" if self.peer_s is None else _told(self.peer_s)
        cells = f"{self.name:<52}{_told(self.ours_s):>12}  {self.peer:<38}{peer:>12}{ratio:>10}{must:>8}"
        return f"{cells}  {self.note}".rstrip()


HEAD = f"{'what':<52}{'ours':>12}  {'peer':<38}{'peer':>12}{'ratio':>10}{'must':>8}"


def _told(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of one call, of this process and all its threads."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def side_by_side(*works: Callable[[], object], turns: int = TURNS, warm: bool = True) -> list[float]:
    """The median CPU seconds of each of some works that take turns, after each has run once to warm up."""
    if warm:
        for work in works:
            work()
    spent = [[cpu_s(work) for work in works] for _ in range(turns)]
    return [statistics.median(column) for column in zip(*spent, strict=True)]


def printed(rows: Iterator[Row]) -> None:
    """Print each row when it is there."""
    for row in rows:
        print(row, flush=True)
