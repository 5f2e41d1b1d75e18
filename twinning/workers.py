# SPDX-License-Identifier: Apache-2.0
"""Signs of life: each working process writes now and then that it lives, and readiness reads it."""

import os
import socket
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.database import now
from twinning.dialects import Instant
from twinning.inserting import put_all
from twinning.terms import Service

# Three signs missed in a row, and a worker counts as gone.
GONE_AFTER: Final = timedelta(seconds=35)
FORGOTTEN_AFTER: Final = timedelta(days=1)


class Worker(SQLModel, table=True):
    """A process that does what is due, and when it last said that it lives."""

    name: str = Field(primary_key=True, max_length=80)
    service: str = Field(max_length=20)
    beat_at: datetime = Field(sa_type=Instant)


def name_of(service: Service) -> str:
    """Name this process, as its leases and its signs of life do."""
    return f"{service}@{socket.gethostname()[:40]}:{os.getpid()}"


def beat(session: Session, name: str, service: Service) -> None:
    """Say that a worker lives."""
    row = {"name": name, "service": service, "beat_at": now()}
    put_all(session, Worker, [row], ["name"], ["service", "beat_at"])
    session.execute(delete(Worker).where(col(Worker.beat_at) < now() - FORGOTTEN_AFTER))


def leave(session: Session, name: str) -> None:
    """Say that a worker stops."""
    session.execute(delete(Worker).where(col(Worker.name) == name))


def living(session: Session) -> dict[str, int]:
    """Count the living workers of each service."""
    query = select(Worker.service, func.count()).where(col(Worker.beat_at) > now() - GONE_AFTER)
    return dict(session.exec(query.group_by(col(Worker.service))).all())
