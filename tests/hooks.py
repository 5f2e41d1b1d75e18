# SPDX-License-Identifier: Apache-2.0
"""Endpoints and events for the tests of delivery, written as the services write them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from services.broker import channel_of, connect
from services.dispatcher.courier import Courier
from tests.servers import running
from twinning import endpoints, keys, outbox
from twinning.database import Database
from twinning.endpoints import Attempt, Delivery, WebhookEndpoint
from twinning.events import EndpointNote, WebhookEndpointPing
from twinning.keys import ApiKeyCreate
from twinning.settings import PREFIX, Settings
from twinning.terms import Role

STOP_S = 5.0


def settings_for(url: str, **others: Any) -> Settings:
    """The settings of a dispatcher that may call this machine, with a short schedule."""
    wanted: dict[str, Any] = {
        "database_url": url,
        "webhook_allow_cidrs": "127.0.0.0/8",
        "webhook_allow_http": True,
        "webhook_timeout_s": 5.0,
        "scan_interval_s": 0.5,
        "retry_schedule_s": "0 0.5 1 2 4",
    }
    return Settings(**{**wanted, **others})


def subscribe(database: Database, url: str, **others: Any) -> WebhookEndpoint:
    """Make an endpoint for everything, owned by a new staff key."""
    with database.transaction() as session:
        owner, _ = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Receiver"))
        session.flush()
        fields = {"owner_id": owner.id, "event_types": ["practice.*"], "secrets": endpoints.new_secrets()}
        row = WebhookEndpoint(url=url, **{**fields, **others})
        session.add(row)
    return row


def secret_of(row: WebhookEndpoint) -> str:
    """An endpoint's newest secret."""
    return str(row.secrets[0]["secret"])


def ping(
    database: Database, rows: Sequence[WebhookEndpoint], count: int = 1, message: str = "Hello"
) -> list[str]:
    """Record `count` events for each endpoint in one transaction; gives their ids."""
    with database.transaction() as session:
        return [
            outbox.record(
                session,
                WebhookEndpointPing(
                    data=EndpointNote(endpoint_id=row.id, url=row.url, message=f"{message} {number}"),
                    owner=row.owner_id,
                ),
            )
            for number in range(count)
            for row in rows
        ]


@contextmanager
def courier(
    database: Database, settings: Settings, name: str = "courier-1", **others: Any
) -> Iterator[Courier]:
    """A courier at work, stopped at the end."""
    one = Courier(database, settings, name, **others)
    database.ring = lambda _bell: one.wake()
    one.start()
    try:
        yield one
    finally:
        database.ring = lambda _bell: None
        one.stop(STOP_S)


def deliveries(database: Database, row: WebhookEndpoint | None = None) -> Sequence[Delivery]:
    """The deliveries, of one endpoint or of all, in the order they were made."""
    query = select(Delivery).order_by(col(Delivery.id))
    if row is not None:
        query = query.where(Delivery.endpoint_id == row.id)
    with database.snapshot() as session:
        return session.exec(query).all()


def attempts(database: Database, delivery_id: str) -> Sequence[Attempt]:
    """A delivery's log."""
    with database.snapshot() as session:
        return endpoints.attempts_by_delivery(session, [delivery_id]).get(delivery_id, [])


def reload(database: Database, row: WebhookEndpoint) -> WebhookEndpoint:
    """An endpoint as it is now."""
    with database.snapshot() as session:
        return endpoints.get(session, row.id)


def eventually(ready: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Wait for something in the database, which cannot tell by itself when it changes."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def until_listening(broker_url: str, dispatchers: int = 1) -> None:
    """Wait until so many dispatchers listen for the bell; what is rung before that nobody hears."""
    with connect(broker_url) as client:
        channel = channel_of(broker_url)
        eventually(lambda: client.pubsub_numsub(channel) == [(channel.encode(), dispatchers)])


@contextmanager
def worker_process(settings: Settings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A delivery worker in a process of its own, as it is shipped, ended with the context."""
    spoken = {"webhook_allow_cidrs": " ".join(map(str, settings.webhook_allow_cidrs))}
    spoken |= {"retry_schedule_s": " ".join(map(str, settings.retry_schedule_s))}
    told = {name: str(getattr(settings, name)) for name in settings.model_fields_set} | spoken
    env = {
        **os.environ,
        **{PREFIX + name.upper(): value for name, value in told.items()},
        "C_FORCE_ROOT": "1",
    }
    program = "from services.dispatcher.worker import run; from twinning.settings import PREFIX, Settings; "
    log = folder / "worker.log"
    with running(
        [sys.executable, "-c", f"{program}raise SystemExit(run(Settings.load()))"], log=log, env=env
    ) as process:
        yield process
