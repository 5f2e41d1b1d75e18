# SPDX-License-Identifier: Apache-2.0
"""Whether this machine's clock agrees with the database's: what is signed, due and leased rests on it.

A receiver refuses a signature that is five minutes off, and two machines whose clocks differ by more than a
lease would send the same delivery at once. So a part whose clock is a minute off does not work.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from twinning.database import Database, now
from twinning.dialects import clock
from twinning.errors import Unready
from twinning.settings import Settings

MOST_OFF: Final = timedelta(seconds=60)


def off_by(session: Session) -> timedelta:
    """Measure by how much our clock is ahead of the database's, less than nothing when it is behind.

    What the question itself takes is no difference.
    """
    asked = now()
    theirs = clock(session)
    return _beyond(asked, theirs, now())


def _beyond(asked: datetime, theirs: datetime, heard: datetime) -> timedelta:
    """Say how far their moment lies outside our span."""
    if asked > theirs:
        return asked - theirs
    return min(timedelta(0), heard - theirs)


def agrees(session: Session) -> bool:
    """Say whether our clock agrees with the database's."""
    return abs(off_by(session)) <= MOST_OFF


def must_agree(session: Session) -> None:
    """Refuse to work by a clock that is off; raises `Unready`."""
    off = off_by(session)
    if abs(off) > MOST_OFF:
        seconds = round(abs(off).total_seconds())
        where = "ahead of" if off > timedelta(0) else "behind"
        raise Unready(
            f"the clock of this machine is {seconds} seconds {where} the database's; "
            "set both by a time server and start again"
        )


def check(settings: Settings) -> None:
    """Refuse to start with a clock that is off; a database that is away tells no time."""
    database = Database(settings.database)
    try:
        must_agree_at_start(database)
    finally:
        database.close()


def must_agree_at_start(database: Database) -> None:
    """Refuse to start with a clock that is off; raises `Unready`, and nothing where the database is away."""
    try:
        with database.snapshot() as session:
            must_agree(session)
    except SQLAlchemyError:
        return
