# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of one's own, to be restarted at once, to lose a session, and to be hung."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.parts import eventually
from tests.servers import Server, libpq, postgres_server
from twinning.migrating import migrate

OTHERS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


class OwnPostgres:
    """A running server with all our tables, and the ways in which it can fail."""

    def __init__(self, server: Server, folder: Path, stack: ExitStack) -> None:
        self.url = server.url
        process = Path(f"/proc/{server.pid}")
        self._argv = process.joinpath("cmdline").read_text().split("\0")[:-1]
        # PostgreSQL refuses to run as root; who is not root need not become somebody else.
        self._user = process.stat().st_uid if os.geteuid() == 0 else None
        self._first = server.pid
        self._log = folder / "postgres.log"
        self._again: subprocess.Popen[bytes] | None = None
        stack.callback(self._end)

    def accepts(self) -> bool:
        """Say whether it takes connections."""
        try:
            with psycopg.connect(libpq(self.url), connect_timeout=3):
                return True
        except psycopg.OperationalError:
            return False

    def kill_a_session(self) -> None:
        """Kill -9 one backend: PostgreSQL then ends all others, too, and recovers from its log."""
        with psycopg.connect(libpq(self.url), autocommit=True) as admin:
            row = admin.execute(OTHERS).fetchone()
            assert row is not None
            os.kill(row[0], signal.SIGKILL)
            # Until it has noticed it goes on taking connections, which then end with all the others.
            eventually(lambda: _is_broken(admin), "PostgreSQL has noticed")
        eventually(self.accepts, "PostgreSQL answers")

    def hang(self, seconds: float) -> None:
        """Stop every session that there is, as a disk that hangs does, and let them go on after so long."""
        with psycopg.connect(libpq(self.url)) as admin:
            sessions = [row[0] for row in admin.execute(OTHERS)]
        for pid in sessions:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            for pid in sessions:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def restart(self) -> None:
        """End it as `pg_ctl restart -m immediate` does, and run it again as it was run.

        SIGQUIT ends every session at once and writes nothing more.
        """
        if self._again is None:
            assert self._first is not None
            os.kill(self._first, signal.SIGQUIT)
        else:
            self._again.send_signal(signal.SIGQUIT)
            self._again.wait()
        eventually(lambda: not self.accepts(), "PostgreSQL is away")
        eventually(self._start, "PostgreSQL runs again")
        eventually(self.accepts, "PostgreSQL answers")

    def _start(self) -> bool:
        """Start it; while the one before holds the folder, it ends at once."""
        with self._log.open("ab") as output:
            self._again = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )
        try:
            self._again.wait(0.5)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _end(self) -> None:
        if self._again is not None and self._again.poll() is None:
            self._again.send_signal(signal.SIGINT)
            self._again.wait(10)


def _is_broken(connection: psycopg.Connection[Any]) -> bool:
    """Say whether a connection has been ended from the other side."""
    with suppress(psycopg.OperationalError):
        connection.execute("SELECT 1")
    return connection.broken


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """Start a PostgreSQL that nobody else uses; where the server is somebody else's, skip the test."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        if server.pid is None:
            pytest.skip("the server of TEST_DATABASE_URL is not ours to kill")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinning-test-")))
        migrate(server.url)
        yield OwnPostgres(server, folder, stack)
