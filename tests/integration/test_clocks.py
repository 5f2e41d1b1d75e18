# SPDX-License-Identifier: Apache-2.0
"""The clock of a part against the database's: an hour off it does not start, sign or call itself ready."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from services.dispatcher.courier import Courier
from tests.factories import door
from tests.hooks import courier, deliveries, ping, settings_for, subscribe
from tests.receiver import Receiver
from tests.servers import libpq
from twinning import clocks
from twinning.database import Database
from twinning.errors import Unready

MOMENT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
BRIEFLY = timedelta(milliseconds=20)


@contextmanager
def off(url: str, by: str) -> Iterator[None]:
    """Have a PostgreSQL tell another time: a function of the same name is found before its own."""
    name = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(libpq(url), autocommit=True) as admin:
        admin.execute("CREATE SCHEMA odd")
        admin.execute(
            "CREATE FUNCTION odd.clock_timestamp() RETURNS timestamptz LANGUAGE sql "
            f"AS $$ SELECT pg_catalog.clock_timestamp() + interval '{by}' $$"
        )
        admin.execute(f'ALTER DATABASE "{name}" SET search_path = odd, public, pg_catalog')
        yield
        admin.execute(f'ALTER DATABASE "{name}" RESET search_path')


@pytest.mark.parametrize(
    ("theirs", "off_s"),
    [(0.0, 0.0), (0.01, 0.0), (0.02, 0.0), (-3.0, 3.0), (3.02, -3.0)],
)
def test_only_what_lies_outside_the_question_counts(theirs: float, off_s: float) -> None:
    """A moment between asking and hearing is no difference; what lies beyond is one, with its sign."""
    found = clocks._beyond(MOMENT, MOMENT + timedelta(seconds=theirs), MOMENT + BRIEFLY)

    assert found == timedelta(seconds=off_s)


def test_a_right_clock_agrees(database: Database) -> None:
    """On this machine both databases tell the time that we know."""
    with database.snapshot() as session:
        assert abs(clocks.off_by(session)) < timedelta(seconds=1)
        clocks.must_agree(session)


@pytest.mark.parametrize(
    ("by", "told"), [("1 hour", "3600 seconds behind"), ("-1 hour", "3600 seconds ahead of")]
)
@pytest.mark.parametrize("command", ["api", "dispatcher", "worker"])
def test_no_part_starts_with_a_clock_that_is_off(postgres_url: str, command: str, by: str, told: str) -> None:
    """Each part ends with status 1 and one line that says by how much the clock is off."""
    env = {
        **os.environ,
        "TWINNING_DATABASE_URL": postgres_url,
        "TWINNING_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    with off(postgres_url, by):
        argv = [sys.executable, "-m", "services.cli.main", command]
        ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    [line] = ended.stderr.strip().splitlines()
    assert line.startswith(f"twinning: the clock of this machine is {told}")


def test_readiness_is_red_while_the_clock_is_off(postgres_url: str) -> None:
    """`/readyz` names the clock and is 503 by it alone, and green again once it is right."""
    with off(postgres_url, "1 hour"), door(postgres_url) as front:
        red = front.client.get("/readyz")
    with door(postgres_url) as front:
        right = front.client.get("/readyz")

    assert (red.status_code, red.json()["status"], red.json()["clock"]) == (503, "unavailable", "off")
    assert red.json()["database"] == "ok"
    assert (right.status_code, right.json()["clock"]) == (200, "ok")


def test_nothing_is_signed_by_a_clock_that_went_wrong(postgres_url: str) -> None:
    """A dispatcher whose clock goes wrong leaves everything alone, and delivers once it is right again."""
    settings = settings_for(postgres_url)
    with Receiver() as receiver:
        with off(postgres_url, "1 hour"):
            odd = Database(postgres_url)
            row = subscribe(odd, receiver.url("/a"))
            [event_id] = ping(odd, [row])
            with pytest.raises(Unready, match="behind"):
                Courier(odd, settings, "courier-1")._turn([], 10, rung=True)
            [delivery] = deliveries(odd)
            odd.close()
        database = Database(postgres_url)
        with courier(database, settings):
            [got] = receiver.wait_for(1)
        database.close()

    assert delivery.tries == 0
    assert got.webhook_id == event_id
