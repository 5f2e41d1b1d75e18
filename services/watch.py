# SPDX-License-Identifier: Apache-2.0
"""A watch: a thread that looks for what is due, from start to stop.

The bell makes it fast, the look at each interval makes it sure.
"""

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Watch:
    """A thread that looks at once, when woken and after each interval, and again while `look` gives True.

    Without an interval (0) it waits to be woken. After each look it rests for `rest_s`, whoever wakes it.
    In the thread `at_the_beginning` is called before the first look, `at_the_end` when no more will follow.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], bool],
        every_s: float,
        *,
        rest_s: float = 0.0,
        at_the_beginning: Callable[[], None] = lambda: None,
        at_the_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._look = look
        self._every_s = every_s
        self._rest_s = rest_s
        self._at_the_beginning = at_the_beginning
        self._at_the_end = at_the_end
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with a look at once."""
        self._thread.start()

    def wake(self) -> None:
        """Say that something may be due; returns at once, from any thread."""
        self._bell.set()

    def halt(self) -> None:
        """Ask for the end after the look that is under way, and return at once."""
        self._stopping.set()
        self._bell.set()

    def stop(self, timeout_s: float) -> None:
        """End, and wait so long for what is under way."""
        self.halt()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        self._at_the_beginning()
        while not self._stopping.is_set():
            self._bell.clear()
            try:
                while self._look() and not self._stopping.is_set():
                    pass
            except Exception:
                # Whatever it was, the next look may go well; this thread is what makes the work sure.
                log.exception("a look at what is due failed", watch=self._thread.name)
            self._bell.wait(self._every_s or None)
            self._stopping.wait(self._rest_s)
        self._at_the_end()
