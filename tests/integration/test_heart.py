# SPDX-License-Identifier: Apache-2.0
"""The heart of a worker: its signs of life, what goes with them, and that no failure stops it."""

import threading

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from services.heart import EVERY_S, Heart
from twinning import workers
from twinning.database import Database
from twinning.terms import Service

LONG_S = 30.0


def living(database: Database) -> dict[str, int]:
    """The workers that say they live."""
    with database.snapshot() as session:
        return workers.living(session)


class Also:
    """What a worker does with each sign: noted, waited for, and failing the first time with an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.done = threading.Semaphore(0)

    def __call__(self, _session: Session) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.done.release()

    def wait(self) -> None:
        assert self.done.acquire(timeout=LONG_S)


def test_a_worker_lives_from_its_first_sign_until_it_leaves(database: Database) -> None:
    """A sign is given at once, with what is to be done beside it, and the last one says goodbye."""
    also = Also()
    heart = Heart(database, "w1", Service.MATCHER, also, every_s=0.01)
    heart.start()
    # What is beside the second sign begins after the first has been committed.
    also.wait()
    also.wait()

    assert living(database) == {"matcher": 1}
    heart.stop()
    assert living(database) == {}


def test_no_failure_stops_a_heart(database: Database) -> None:
    """A database that is away costs a sign, and so does a bug of ours; the next sign is given."""
    for error in (OperationalError("UPDATE", {}, Exception("gone")), RuntimeError("A bug of ours.")):
        also = Also(error)
        heart = Heart(database, "w1", Service.DISPATCHER, also, every_s=0.01)
        heart.start()
        also.wait()
        # A failure undoes its sign; what is beside the third begins after the second has been committed.
        also.wait()

        assert living(database) == {"dispatcher": 1}
        heart.stop()


def test_one_late_sign_is_no_death() -> None:
    """Three signs must be missed before a worker counts as gone."""
    assert workers.GONE_AFTER.total_seconds() > 3 * EVERY_S
