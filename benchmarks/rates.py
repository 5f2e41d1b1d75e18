# SPDX-License-Identifier: Apache-2.0
"""What counting a request costs: nothing counted, counted in one process alone, and counted in a broker.

Prints microseconds a request, by the clock and of the processor: `./run bench rates`.
"""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from services.api.rates import Rates
from services.cli.servers import embedded_broker

# Each key asks for all but the last of its rate, as fast as it can.
KEYS = 20


@contextmanager
def broker() -> Iterator[str]:
    """Run a broker of our own on a unix socket."""
    with TemporaryDirectory(prefix="twinning-") as folder, embedded_broker(Path(folder)) as made:
        process = subprocess.Popen(made.argv, stdout=subprocess.DEVNULL)
        try:
            while not made.ready():
                time.sleep(0.01)
            yield made.url
        finally:
            process.terminate()
            process.wait()


async def cost(rate: int, url: str) -> tuple[float, float]:
    """Measure one setting; gives microseconds a request by the clock and of the processor."""
    counter = Rates(rate, url)
    each = (rate or 600) - 1
    await counter.take("warm")
    clock, work = time.perf_counter(), time.process_time()
    for key in range(KEYS):
        for _ in range(each):
            await counter.take(f"key {key}")
    took = time.perf_counter() - clock, time.process_time() - work
    await counter.close()
    return tuple(seconds / (KEYS * each) * 1e6 for seconds in took)  # type: ignore[return-value]


def main() -> None:
    """Measure and print."""
    with broker() as url:
        for what, rate, where in (
            ("no rate", 0, ""),
            ("600 a minute, one process alone", 600, ""),
            ("600 a minute, in the broker", 600, url),
            ("60 a minute, in the broker: each one asked for", 60, url),
        ):
            clock, work = asyncio.run(cost(rate, where))
            print(f"{what:50} {clock:8.1f} us a request {work:8.1f} us of processor")


if __name__ == "__main__":
    main()
