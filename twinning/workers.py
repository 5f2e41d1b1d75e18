# SPDX-License-Identifier: Apache-2.0
"""Signs of life: each working process writes now and then that it lives, and readiness reads it."""

import os
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import delete, func
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.database import Database, now
from twinning.dialects import Instant
from twinning.many_rows import put
from twinning.terms import Service

log = structlog.get_logger(__name__)

EVERY_S: Final = 10.0
# Three signs missed in a row, and a worker counts as gone.
GONE_AFTER: Final = timedelta(seconds=35)
FORGOTTEN_AFTER: Final = timedelta(days=1)


class Worker(SQLModel, table=True):
    """A process that works off a queue, and when it last said so."""

    name: str = Field(primary_key=True, max_length=80)
    service: str = Field(max_length=20)
    beat_at: datetime = Field(sa_type=Instant)


def name_of(service: Service) -> str:
    """Name this process, as its leases and its signs of life do."""
    return f"{service}@{socket.gethostname()[:40]}:{os.getpid()}"


def beat(session: Session, name: str, service: Service) -> None:
    """Say that a worker lives."""
    row = {"name": name, "service": service, "beat_at": now()}
    put(session, Worker, [row], ["name"], ["service", "beat_at"])
    session.execute(delete(Worker).where(col(Worker.beat_at) < now() - FORGOTTEN_AFTER))


def leave(session: Session, name: str) -> None:
    """Say that a worker stops."""
    session.execute(delete(Worker).where(col(Worker.name) == name))


def living(session: Session) -> dict[str, int]:
    """Count the living workers of each service."""
    query = select(Worker.service, func.count()).where(col(Worker.beat_at) > now() - GONE_AFTER)
    return dict(session.exec(query.group_by(col(Worker.service))).all())


class Heart:
    """A thread that says every ten seconds that this process lives, and at the end that it leaves.

    `also` is done in the same transaction each time.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        service: Service,
        also: Callable[[Session], None] = lambda _session: None,
    ) -> None:
        self._also = also
        self._database = database
        self._name = name
        self._service = service
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """Begin, with a first sign at once."""
        self._thread.start()

    def stop(self) -> None:
        """Say that the worker leaves; where the database is away, it is counted as gone soon anyway."""
        self._stopped.set()
        self._thread.join(timeout=1)
        try:
            with self._database.transaction() as session:
                leave(session, self._name)
        except SQLAlchemyError as error:
            log.warning("could not say goodbye", error=str(error))

    def _run(self) -> None:
        while True:
            try:
                with self._database.transaction() as session:
                    beat(session, self._name, self._service)
                    self._also(session)
            except SQLAlchemyError as error:
                log.warning("could not say that this worker lives", error=str(error))
            if self._stopped.wait(EVERY_S):
                return
