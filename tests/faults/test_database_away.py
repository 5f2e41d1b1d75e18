# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL that crashes under load: what was acknowledged is there, and everybody comes back."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.faults.checking import assert_as_from_nothing, check, refresh, wait_until_done
from tests.faults.house import Part, eventually, house
from tests.faults.test_nothing_is_lost import SEED
from tests.faults.writing import Writing, settle_in
from tests.servers import Server, libpq, postgres_server
from twinning.database import migrate

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for the server's command in /proc"),
]


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """A PostgreSQL for one test alone, which it may kill."""
    with postgres_server() as server:
        if server.pid is None:
            pytest.skip("the server of TEST_DATABASE_URL is not ours to kill")
        yield server


def _accepts(server: Server) -> bool:
    try:
        with psycopg.connect(libpq(server.url), connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False


def _kill_a_session(server: Server) -> None:
    """Kill -9 one backend: PostgreSQL then ends all others, too, and recovers from its log."""
    with psycopg.connect(libpq(server.url)) as admin:
        row = admin.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    os.kill(row[0], signal.SIGKILL)


class Restart:
    """Ends a PostgreSQL as `pg_ctl restart -m immediate` does, and runs it again as it was run."""

    def __init__(self, server: Server, folder: Path, stack: ExitStack) -> None:
        process = Path(f"/proc/{server.pid}")
        self._argv = process.joinpath("cmdline").read_text().split("\0")[:-1]
        # PostgreSQL refuses to run as root; who is not root need not become somebody else.
        self._user = process.stat().st_uid if os.geteuid() == 0 else None
        self._first = server.pid
        self._log = folder / "postgres.log"
        self._again: subprocess.Popen[bytes] | None = None
        stack.callback(self._end)

    def __call__(self, server: Server) -> None:
        """Restart it; SIGQUIT ends every session at once and writes nothing more."""
        if self._again is None:
            assert self._first is not None
            os.kill(self._first, signal.SIGQUIT)
        else:
            self._again.send_signal(signal.SIGQUIT)
            self._again.wait()
        eventually(lambda: not _accepts(server), "PostgreSQL is away")
        eventually(self._start, "PostgreSQL runs again")
        eventually(lambda: _accepts(server), "PostgreSQL answers")

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


@pytest.mark.parametrize("fault", ["restarted at once", "session killed"])
def test_nothing_acknowledged_is_missing_after_a_crash_of_the_database(
    own_postgres: Server, short_folder: Path, fault: str, record_property: Callable[[str, object], None]
) -> None:
    """Who is told 503 or nothing asks again; what was told 201 is there, is matched and arrives."""
    rng = random.Random(SEED)
    with ExitStack() as stack:
        migrate(own_postgres.url)
        one = stack.enter_context(house(short_folder, own_postgres.url))
        restart = Restart(own_postgres, short_folder, stack)
        strike = restart if fault == "restarted at once" else _kill_a_session
        one.start(one.broker, one.api, *one.workers)
        one.subscribe()
        writing = Writing(one, settle_in(one), rng)

        def strikes() -> int:
            struck = 0
            while struck < 3 and not writing.over.wait(rng.uniform(0.5, 2.0)):
                strike(own_postgres)
                eventually(lambda: _accepts(own_postgres), "PostgreSQL answers")
                struck += 1
            return struck

        with ThreadPoolExecutor(1) as pool:
            striking = pool.submit(strikes)
            posted = writing.write(200, per_second=20)
            struck = striking.result()
        wait_until_done(one)
        refresh(one)
        assert_as_from_nothing(one)
        verdict = check(one, posted)
        refused = sum(status != 201 for post in posted for status in post.answers)
        record_property("figures", f"{struck} crashes, {refused} requests refused and repeated, {verdict}")
        assert verdict.flaws == {}
        assert struck > 0
        workers: tuple[Part, ...] = (one.api, *one.workers)
        assert all(part.process is not None and part.process.poll() is None for part in workers)
