# SPDX-License-Identifier: Apache-2.0
"""The heart of a working process: it says now and then that the process lives, and at last that it leaves."""

from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from services.watch import Watch
from twinning import workers
from twinning.database import Database
from twinning.terms import Service

# Three signs fit into the time after which a worker counts as gone.
EVERY_S: Final = 10.0
STOP_S: Final = 1.0

log = structlog.get_logger(__name__)


class Heart:
    """Says at once, and then each so many seconds, that a worker lives.

    `also` is done in the same transaction each time.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        service: Service,
        also: Callable[[Session], None] = lambda _session: None,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._database = database
        self._name = name
        self._service = service
        self._also = also
        self._watch = Watch("heart", self._beat, every_s)

    def start(self) -> None:
        """Begin, with a first sign at once."""
        self._watch.start()

    def stop(self) -> None:
        """Say that the worker leaves; where the database is away, it is counted as gone soon anyway."""
        self._watch.stop(STOP_S)
        try:
            with self._database.transaction() as session:
                workers.leave(session, self._name)
        except SQLAlchemyError as error:
            log.warning("could not say goodbye", error=str(error))

    def _beat(self) -> bool:
        """Give a sign of life; there is never more than one to give."""
        try:
            with self._database.transaction() as session:
                workers.beat(session, self._name, self._service)
                self._also(session)
            self._database.shorten_log()
        except SQLAlchemyError as error:
            log.warning("could not say that this worker lives", error=str(error))
        return False
