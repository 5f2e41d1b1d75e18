# SPDX-License-Identifier: Apache-2.0
"""How soon a process is ready: the command line's help, and the engine with all its compiled loops."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks._rows import Row

TURNS = 9
_ROOT = Path(__file__).resolve().parent.parent
_ENGINE = "from services.matcher.engine.warming import warm; warm()"


def rows() -> Iterator[Row]:
    """Whole processes; each has run before, so that all is on disk."""
    for name, arguments, note in (
        ("`twinning --help`, whole process", ["-m", "services.cli.main", "--help"], "must 0.3 s"),
        ("import, and first call of every loop", ["-c", _ENGINE], "compiled loops are on disk"),
    ):
        started(arguments)
        spent = np.median([started(arguments) for _ in range(TURNS)], axis=0)
        yield Row(name, float(spent[0]), note=f"{note}; {spent[1]:.2f} s by the clock")


def started(arguments: list[str]) -> tuple[float, float]:
    """CPU seconds and seconds by the clock of one Python process, start and end included."""
    begun = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=_ROOT)
    ended = os.times()
    cpu = ended.children_user + ended.children_system - begun.children_user - begun.children_system
    return cpu, ended.elapsed - begun.elapsed
