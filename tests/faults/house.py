# SPDX-License-Identifier: Apache-2.0
"""The whole house as real processes on short time-outs, each to be killed, hung, wiped and started again.

Where a fault needs a moment that no signal can hit, a part is run by `launching.py`, which changes one thing
in that process before the shipped command starts. The shipped code knows of no test.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlmodel import col, select

from services.cli.system import free_port
from tests.faults.parts import PATIENCE_S, Broker, Part, eventually
from tests.receiver import Receiver
from twinning import keys
from twinning.database import Database
from twinning.keys import ApiKeyCreate
from twinning.settings import PREFIX
from twinning.terms import Role
from twinning.workers import Worker

LEASE_S = 2.0
SCAN_S = 0.5
# For those who count duplicates: no machine is so slow that a lease ends while its holder is well.
LONG_LEASE: Mapping[str, str] = {"LEASE_S": "20"}
SHORT: Mapping[str, str] = {
    "LEASE_S": str(LEASE_S),
    "WEBHOOK_TIMEOUT_S": "1",
    "SCAN_INTERVAL_S": str(SCAN_S),
    "RETRY_SCHEDULE_S": "0,0.5,1,2,4,4,4,4",
    "RATE_PER_MINUTE": "0",
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    "WEBHOOK_ALLOW_HTTP": "true",
    "REFRESH_INTERVAL_S": "86400",
}


@dataclass(frozen=True)
class Subscribed:
    """An endpoint that the house sends to: its id, what signs for it, since when, and what it hears."""

    id: str
    secret: str
    since: datetime
    event_types: tuple[str, ...]


@dataclass
class House:
    """A house on a fresh database: its parts, a receiver of all events, and a staff key."""

    database_url: str
    database: Database
    receiver: Receiver
    broker: Broker
    api: Part
    matcher: Part
    dispatcher: Part
    scheduler: Part
    url: str
    client: httpx.Client
    settings: Mapping[str, str]
    subscribed: dict[str, Subscribed] = field(default_factory=dict)
    others: list[Part] = field(default_factory=list)

    @property
    def workers(self) -> tuple[Part, Part]:
        """Those that do what is due."""
        return self.matcher, self.dispatcher

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that can be started."""
        return (self.broker, self.api, *self.workers, self.scheduler, *self.others)

    def end(self) -> None:
        """End whatever still runs."""
        for part in self.parts:
            part.kill()

    def another(self, part: Part) -> Part:
        """Lay out one more of a part, not started yet."""
        name = f"{part.name}-{len(self.others) + 2}"
        self.others.append(Part(name, part.argv, part.log.parent, part.env))
        return self.others[-1]

    def start(self, *parts: Part) -> None:
        """Start parts and wait until each does its work."""
        for part in parts:
            part.start()
        for part in parts:
            self.wait_for(part)

    def wait_for(self, part: Part) -> None:
        """Wait until a part does its work."""
        try:
            eventually(lambda: self.works(part), f"{part.name} works")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{part.log.read_text(errors='replace')[-3000:]}") from None

    def works(self, part: Part) -> bool:
        """Say whether a part does its work: it answers, or has said that it lives."""
        if isinstance(part, Broker):
            return part.is_ready()
        if part is self.api:
            return self.api_answers()
        if part.name.startswith(self.scheduler.name):
            # It tells nobody that it lives, and nobody waits for it.
            return part.runs
        with self.database.snapshot() as session:
            mine = select(Worker.name).where(col(Worker.name).endswith(f":{part.pid}"))
            return session.exec(mine).first() is not None

    def api_answers(self) -> bool:
        """Say whether the front door is open."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **query: Any) -> Any:
        """Read through the front door."""
        answer = self.client.get(f"/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make(self, path: str, wanted: dict[str, Any]) -> Any:
        """Register something through the front door."""
        answer = self.client.post(f"/v1{path}", json=wanted)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def subscribe(self, path: str = "/hooks", *event_types: str) -> Subscribed:
        """Have every event sent to a path of the receiver, or those of some types alone."""
        types = event_types or ("*",)
        made = self.make("/webhook-endpoints", {"url": self.receiver.url(path), "event_types": types})
        self.receiver.secrets.append(made["secret"])
        since = datetime.fromisoformat(made["created_at"])
        self.subscribed[path] = Subscribed(made["id"], made["secret"], since, types)
        return self.subscribed[path]

    def readiness(self) -> tuple[int, str, str]:
        """Ask how the house is: the status of the answer, the house's state and the broker's."""
        answer = self.client.get("/readyz")
        told = answer.json()
        return answer.status_code, told["status"], told["broker"]


@contextmanager
def house(folder: Path, database_url: str, **settings: str) -> Iterator[House]:
    """Lay a house out without starting any part but the receiver, and leave nobody behind at the end.

    `settings` are those of the environment without their prefix; an empty one is not set at all.
    """
    with ExitStack() as stack:
        database = Database(database_url)
        stack.callback(database.close)
        with database.transaction() as session:
            _, key = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Staff"))
        broker = Broker(folder)
        known = {**SHORT, "DATABASE_URL": database_url, "BROKER_URL": broker.url, **settings}
        env = {PREFIX + name: value for name, value in known.items() if value}
        port = free_port()
        client = stack.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {key}"},
                timeout=PATIENCE_S,
                trust_env=False,
            )
        )
        house = House(
            database_url=database_url,
            database=database,
            receiver=stack.enter_context(Receiver()),
            broker=broker,
            api=Part("api", _command("api", "--port", str(port)), folder, env),
            matcher=Part("matcher", _command("worker"), folder, env),
            dispatcher=Part("dispatcher", _command("dispatcher"), folder, env),
            scheduler=Part("scheduler", _command("scheduler"), folder, env),
            url=f"http://127.0.0.1:{port}",
            client=client,
            settings=known,
        )
        stack.callback(house.end)
        yield house


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "services.cli.main", *words]
