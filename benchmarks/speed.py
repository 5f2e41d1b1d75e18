# SPDX-License-Identifier: Apache-2.0
"""How fast the engine is beside its peers: ``./run bench speed [--only NAME] [--large] [--postgres URL]``.

Each ``_speed_*.py`` beside this file is one table. Figures are CPU seconds unless a row says wall, and only
the ratios of one run mean something elsewhere: ours and the peer's turns alternate.
"""

import argparse
import importlib
import inspect
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks._rows import HEAD, printed  # noqa: E402 - found by the path above


def main() -> None:
    tables = sorted(path.stem.removeprefix("_speed_") for path in HERE.glob("_speed_*.py"))
    parser = argparse.ArgumentParser(description="Print how fast the engine is beside its peers.")
    parser.add_argument("--only", choices=tables, action="append", help="print this table (may be repeated)")
    parser.add_argument("--large", action="store_true", help="the million, too: 4 GB and minutes")
    parser.add_argument(
        "--postgres",
        metavar="URL",
        help="a database for its full-text search (default: a server started here)",
    )
    chosen = parser.parse_args()
    print(HEAD)
    for name in chosen.only or tables:
        rows = importlib.import_module(f"benchmarks._speed_{name}").rows
        told = {"large": chosen.large, "postgresql": chosen.postgres}
        printed(rows(**{key: told[key] for key in told if key in inspect.signature(rows).parameters}))


if __name__ == "__main__":
    main()
