# SPDX-License-Identifier: Apache-2.0
"""Five minutes of fifty clients that read and write while workers are killed by kill -9 and started again.

    ./run bench load [--seconds 300] [--clients 50] [--only sqlite|postgresql]

The house is that of the fault tests: API, matcher, dispatcher and broker as processes of their own, and a
receiver that hears every event. It fails when a request is answered by 5xx or not at all, or when a write
that was acknowledged cannot be read back, from the lists or from the feed.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._databases import KINDS, fresh_database
from tests.faults import loading
from tests.faults.house import house


def main() -> int:
    """Run on both databases, print, and say whether all went well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--only", choices=KINDS)
    given = parser.parse_args()
    well = True
    for kind in (given.only,) if given.only else KINDS:
        with (
            tempfile.TemporaryDirectory(prefix="twinning-load-") as folder,
            fresh_database(kind) as url,
            house(Path(folder), url) as one,
        ):
            one.start(one.broker, one.api, *one.workers)
            one.subscribe()
            told, found = loading.run(one, given.clients, given.seconds, given.seed)
        load = os.getloadavg()[0]
        print(f"{kind}, load of the machine {load:.1f}: {loading.figures(told, found)}", flush=True)
        well = well and not (told.failed or found.lost or found.untold)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
