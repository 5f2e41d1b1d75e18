# SPDX-License-Identifier: Apache-2.0
"""Giving way: nobody waits for the next row of a file, so who imports lets everybody else go first.

Linux knows a niceness for each thread, which counts among the threads of one session, and one for all
threads of a session against those of others (sched(7), "The autogroup feature"). Each process of
the house leads a session of its own; so an import that is nice to its own worker alone would still take as
much of a processor as the API that answers beside it. Elsewhere the niceness stays as it is.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

NICENESS: Final = 10
# Less, since the matching of what people change meanwhile is in the same session.
NICENESS_OF_SESSION: Final = 5
_GROUP: Final = Path("/proc/self/autogroup")


def give_way() -> None:
    """Let the other threads of this session go first."""
    if sys.platform == "linux":
        mine = os.PRIO_PROCESS, threading.get_native_id()
        os.setpriority(*mine, max(NICENESS, os.getpriority(*mine)))


class ProcessSession:
    """The session that this process leads: it gives way to others as long as it is asked to."""

    def __init__(self) -> None:
        # A session that somebody else leads, such as a shell's, is not ours to slow down.
        self._is_ours = sys.platform == "linux" and os.getsid(0) == os.getpid() and _GROUP.exists()
        self._niceness = 0

    def while_there_is_more(self, look: Callable[[], bool]) -> Callable[[], bool]:
        """Give the same look at what is to be done, after which the session gives way if there is more."""

        def looked() -> bool:
            more = look()
            self._be(NICENESS_OF_SESSION if more else 0)
            return more

        return looked

    def _be(self, niceness: int) -> None:
        if not self._is_ours or niceness == self._niceness:
            return
        try:
            _GROUP.write_text(str(niceness))
        except OSError:
            # The kernel takes few such wishes a second; the next look has this one again.
            return
        self._niceness = niceness
