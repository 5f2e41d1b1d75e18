# SPDX-License-Identifier: Apache-2.0
"""A new version comes in while all work: process after process, and a column that comes and goes."""

import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.faults.checking import Tell, check, read_log
from tests.faults.house import LONG_LEASE, House, house
from tests.faults.parts import Part
from tests.faults.settling import assert_as_from_nothing, refresh, wait_until_done
from tests.faults.writing import Posted, Writing, settle_in
from tests.receiver import Manner
from twinning.endpoints import INTERRUPTED
from twinning.migrating import MIGRATIONS

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(240)]

PER_SECOND = 15.0
NEXT = '''# SPDX-License-Identifier: Apache-2.0
"""The column of the next version."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("attempt", sa.Column("sent_by", sa.String(40), nullable=True))


def downgrade() -> None:
    op.drop_column("attempt", "sent_by")
'''


def test_a_rolling_restart_loses_and_repeats_nothing(
    database_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """Expand, restart each with SIGTERM, go back, contract: all under load, nothing lost, nothing twice."""
    rng = random.Random(seed)
    with house(short_folder, database_url, **LONG_LEASE) as one:
        one.receiver.behave("/hooks", Manner(delay_s=0.03))
        fleet = [one.matcher, one.dispatcher, one.another(one.matcher), one.another(one.dispatcher)]
        one.start(one.broker, one.api, *fleet)
        one.subscribe()
        cities = settle_in(one)
        migrations = _next_version(short_folder, database_url)
        done = threading.Event()

        def keep_writing() -> list[Posted]:
            posted: list[Posted] = []
            while not done.is_set():
                posted += Writing(one, cities, rng).write(15, PER_SECOND)
            return posted

        with ThreadPoolExecutor(1) as pool:
            writes = pool.submit(keep_writing)
            try:
                command.upgrade(migrations, "head")
                exits = [_renew(one, part, "knows_one_column_more") for part in [*fleet, one.api]]
                sent_by_next = _sent_by_next(one)
                exits += [_renew(one, part) for part in [*fleet, one.api]]
                command.downgrade(migrations, "-1")
            finally:
                done.set()
            posted = writes.result()
        wait_until_done(one)
        refresh(one)
        assert_as_from_nothing(one)
        verdict = check(one, posted)
        tell(verdict, f"{len(exits)} processes renewed, {sent_by_next} attempts by the next version")
        assert verdict.flaws == {}
        assert sent_by_next > 0
        assert set(exits) == {0}
        assert verdict.duplicates == 0
        errors = {attempt.error for kept in read_log(one).values() for attempt in kept.log}
        assert INTERRUPTED not in errors


def _renew(house: House, part: Part, change: str = "") -> int:
    """End one process politely and start the other version in its place; gives its exit code."""
    code = part.stop()
    if change:
        part.change(change)
    else:
        part.argv = [part.argv[0], "-m", "services.cli.main", *part.argv[3:]]
    house.start(part)
    return code


def _next_version(folder: Path, url: str) -> Config:
    """Lay out the migrations of a version to come, which has one more."""
    scripts = Path(shutil.copytree(MIGRATIONS, folder / "migrations"))
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["url"] = url
    head = ScriptDirectory.from_config(config).get_current_head()
    (scripts / "versions" / "9999_next.py").write_text(NEXT.format(head=head), "utf-8")
    return config


def _sent_by_next(house: House) -> int:
    """Count the attempts that the next version has written."""
    with house.database.snapshot() as session:
        query = "SELECT count(*) FROM attempt WHERE sent_by IS NOT NULL"
        return int(session.connection().exec_driver_sql(query).scalar_one())
