# SPDX-License-Identifier: Apache-2.0
"""A small process that outlives a killed supervisor for some seconds and leaves nobody behind.

It hears on its standard input which process groups live (`+123`) and which have ended (`-123`). When that
input closes and groups are left, the supervisor was killed: they get some seconds to stop by themselves,
since Linux has told them, and are killed then. Files it inherited, such as the lock on the data folder,
stay held until that is done. It imports next to nothing, so that it costs little memory.
"""

import os
import signal
import sys
import time

GRACE_S = 3.0
POLL_S = 0.02


def guardian_argv() -> list[str]:
    """Write the command that runs this file alone, without site packages."""
    return [sys.executable, "-I", "-S", __file__]


def main() -> None:
    """Listen until the supervisor ends, then see to it that its children do."""
    # Ctrl-C is for the supervisor; this process ends when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        groups.add(group) if line[0] == "+" else groups.discard(group)
    if sys.platform != "linux":
        _signal(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while _signal(groups, 0) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    _signal(groups, signal.SIGKILL)


def _signal(groups: set[int], number: int) -> bool:
    """Send a signal to each group (0 only asks), forget those that have gone, and say if any is left."""
    for group in tuple(groups):
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            groups.discard(group)
    return bool(groups)


if __name__ == "__main__":
    main()
