# SPDX-License-Identifier: Apache-2.0
"""One process that starts the others, restarts what dies, and leaves none behind however it ends itself."""

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Final

from services.cli.children import BACK_OFF_S, Child, Running, label, outcome, say
from services.cli.guardian import guardian_argv

PR_SET_PDEATHSIG: Final = 1
STOP_S: Final = 5.0
POLL_S: Final = 0.05


class Supervisor:
    """Keeps children running, in their order, until it is told to stop.

    Everything happens in one thread, the main one: Linux ties a child's end to the end of the thread that
    started it, and a fork among several threads is not safe. On Linux each child is told by the kernel
    when this process dies; there and elsewhere a guardian, which outlives it by a few seconds, then kills
    what is left of each child's session, grandchildren included.
    """

    def __init__(self, children: Sequence[Child], *, held: Sequence[int] = ()) -> None:
        """Take the children; the files `held` stay open until the last of them has gone."""
        names = [child.name for child in children]
        width = max((len(name) for name in names), default=0)
        self._running = [Running(child, label(child.name, n, width)) for n, child in enumerate(children)]
        self._held = tuple(held)
        self._selector = selectors.DefaultSelector()
        self._code: int | None = None
        self._wake, self._woken = socket.socketpair()
        self._guardian: subprocess.Popen[bytes] | None = None

    def run(self, when_ready: Callable[[], None] | None = None) -> int:
        """Start all, call `when_ready` once, and keep them running until SIGINT, SIGTERM or `stop`.

        Returns the exit code: 0 after a stop, 1 when a child could not be started.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children are started from the main thread")
        with self._signals():
            self._guardian = self._start_guardian()
            try:
                if self._start_all():
                    if when_ready is not None:
                        when_ready()
                    self._keep()
            finally:
                self._stop_all()
        return self._code or 0

    def stop(self, code: int = 0) -> None:
        """End `run` with this exit code; may be called from any thread."""
        if self._code is None:
            self._code = code
        # A full or closed socket has woken the loop already.
        with suppress(OSError):
            self._wake.send(b"\0")

    # Starting -----------------------------------------------------------------------------------------

    def _start_all(self) -> bool:
        """Start the children in their order, all at once, and wait until each is ready; say whether all are.

        Most of a start is reading libraries, which goes on side by side; a child that needs another waits
        for it by itself, as it does whenever the other is restarted.
        """
        for running in self._running:
            self._start(running)
        return all(self._await(running) for running in self._running)

    def _await(self, running: Running) -> bool:
        """Wait until a child is ready; say whether it is, and end all when it cannot be."""
        deadline = time.monotonic() + running.child.start_s
        while not running.is_ready():
            if self._code is not None:
                return False
            self._listen()
            if running.process is None or running.process.poll() is not None:
                return self._give_up(running, "ended before it was ready")
            if time.monotonic() > deadline:
                return self._give_up(running, f"was not ready after {running.child.start_s:g} s")
        return True

    def _give_up(self, running: Running, what: str) -> bool:
        """Say which child could not be started and what it said last."""
        self._drain(running)
        lines = "".join(f"\n    {line}" for line in running.last_lines)
        say(f"{running.child.name} {what}{outcome(running.process)}; its last lines:{lines}")
        self._code = 1
        return False

    def _start(self, running: Running) -> None:
        """Start one child in a session of its own, tied to the life of this process."""
        child = running.child
        try:
            running.process = subprocess.Popen(
                child.argv,
                env={**os.environ, **child.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # This process has one thread, so that nothing can be locked in the child.
                preexec_fn=_tie_to_parent(),  # noqa: PLW1509
            )
        except OSError as error:
            running.process = None
            running.last_lines.append(str(error))
            return
        running.begun = time.monotonic()
        output = running.process.stdout
        if output is not None:
            os.set_blocking(output.fileno(), False)
            self._selector.register(output, selectors.EVENT_READ, running)
        self._tell_guardian(f"+{running.process.pid}")

    # Keeping ------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Restart what dies, each time a little later, until there is an exit code."""
        while self._code is None:
            self._listen()
            self._keep_guardian()
            now = time.monotonic()
            for running in self._running:
                if running.process is not None and running.process.poll() is not None:
                    self._buried(running)
                    delay = running.next_delay(now)
                    running.due = now + delay
                    say(f"{running.child.name} ended{outcome(running.process)}; again in {delay:g} s")
                    running.process = None
                elif running.process is None and now >= running.due:
                    self._start(running)
                    if running.process is None:
                        running.due = now + BACK_OFF_S[-1]

    def _buried(self, running: Running) -> None:
        """Take leave of a child that ended: read its last words and end what it started itself."""
        self._drain(running)
        if running.process is not None:
            _kill_session(running.process.pid)
            self._tell_guardian(f"-{running.process.pid}")
            if running.process.stdout is not None:
                with suppress(KeyError):
                    self._selector.unregister(running.process.stdout)
                running.process.stdout.close()

    def _listen(self) -> None:
        """Pass on what children wrote, for a twentieth of a second at most or until a signal comes."""
        for key, _ in self._selector.select(POLL_S):
            if isinstance(key.data, Running):
                self._drain(key.data)
            else:
                self._woken.recv(64)

    def _drain(self, running: Running) -> None:
        """Print the whole lines that a child has written."""
        output = running.process.stdout if running.process is not None else None
        if output is None or output.closed:
            return
        with suppress(BlockingIOError):
            while chunk := os.read(output.fileno(), 65_536):
                running.hear(chunk)
            # The child closed its output and may live on: there is nothing more to wait for here.
            with suppress(KeyError):
                self._selector.unregister(output)
            running.hear(b"\n" if running.rest else b"")

    # Stopping -----------------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Stop all but the first child at once, then the first, which the others need to the end."""
        deadline = time.monotonic() + STOP_S * 0.9
        for wave in (self._running[1:], self._running[:1]):
            for running in wave:
                if running.process is not None:
                    with suppress(ProcessLookupError):
                        running.process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            for running in wave:
                if running.process is not None:
                    self._await_end(running, min(deadline, begun + running.child.stop_s))
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            self._guardian.wait()
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _await_end(self, running: Running, until: float) -> None:
        """Wait for a child that was asked to stop, and kill it when its time is over."""
        process = running.process
        if process is None:
            return
        while process.poll() is None and time.monotonic() < until:
            self._listen()
        if process.poll() is None:
            say(f"{running.child.name} did not stop in time and was killed")
            _kill_session(process.pid)
            process.wait()
        self._buried(running)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into a stop with code 0 for as long as the context lasts."""
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        before_fd = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        stop = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, lambda *_: self.stop()) for number in stop]
        try:
            yield
        finally:
            signal.set_wakeup_fd(before_fd)
            for number, handler in zip(stop, before, strict=True):
                signal.signal(number, handler)

    # The guardian -------------------------------------------------------------------------------------

    def _start_guardian(self) -> subprocess.Popen[bytes]:
        """Start the process that kills what is left when this one is killed."""
        guardian = subprocess.Popen(
            guardian_argv(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._held,
        )
        for running in self._running:
            if running.process is not None:
                _write(guardian.stdin, f"+{running.process.pid}")
        return guardian

    def _keep_guardian(self) -> None:
        """Start another guardian when somebody has killed the first."""
        if self._guardian is not None and self._guardian.poll() is not None:
            self._guardian = self._start_guardian()
            say("the guardian ended; another watches")

    def _tell_guardian(self, line: str) -> None:
        """Tell the guardian of a child that began (+) or ended (-)."""
        if self._guardian is not None:
            _write(self._guardian.stdin, line)


def _tie_to_parent() -> Callable[[], None] | None:
    """Make what a child runs before its program: Linux then sends it SIGTERM when its parent dies.

    Nothing like it exists on macOS, where the guardian sends the signal instead.
    """
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have died before the line above, and then no signal will ever come.
        if os.getppid() != parent:
            os._exit(1)

    return tie


def _kill_session(pid: int) -> None:
    """Kill a child and whatever it started that stayed in its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _write(pipe: IO[bytes] | None, line: str) -> None:
    """Write to the guardian, who may just have died; the next look replaces it and tells it all."""
    if pipe is not None:
        with suppress(BrokenPipeError):
            pipe.write(f"{line}\n".encode())
            pipe.flush()
