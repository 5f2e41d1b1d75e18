# SPDX-License-Identifier: Apache-2.0
"""The receiver that the documents hand out, run as they say, against a sender who means ill."""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.hooks import courier, eventually, ping, settings_for, subscribe
from tests.streams import SOON_S, free_port
from twinning import examples, signing
from twinning.database import Database

KIT = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"
BODY = json.dumps(examples.event("suggestion.created"), ensure_ascii=False).encode()


@dataclass
class Kit:
    """The running receiver, the secrets it knows, and what it has worked on."""

    url: str
    secrets: tuple[str, ...]
    handled: "Queue[str]"

    def send(self, body: bytes, headers: dict[str, str]) -> int:
        """Post something; gives the status of the answer."""
        return httpx.post(self.url, content=body, headers=headers, trust_env=False).status_code

    def signed(self, event_id: str, at: float = 0.0, body: bytes = BODY, secret: str = "") -> dict[str, str]:
        """The headers of a genuine webhook that is `at` seconds old."""
        return signing.headers(event_id, int(time.time() - at), body, [secret or self.secrets[0]])


@contextmanager
def receiving(folder: Path, *secrets: str) -> Iterator[Kit]:
    """Run the receiver as its first lines say."""
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", "receiver:app", "--port", str(port), "--log-level", "warning"]
    env = {**os.environ, "WEBHOOK_SECRETS": " ".join(secrets), "INBOX": str(folder / "inbox.db")}
    with subprocess.Popen(argv, cwd=KIT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        handled: Queue[str] = Queue()
        lines = process.stdout
        Thread(target=lambda: [handled.put(line.strip()) for line in lines], daemon=True).start()
        kit = Kit(f"http://127.0.0.1:{port}/twinning", secrets, handled)
        deadline = time.monotonic() + SOON_S
        while True:
            try:
                assert kit.send(b"", {}) == 401
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the receiver did not start"
                assert process.poll() is None, "the receiver ended"
                time.sleep(0.05)
        try:
            yield kit
        finally:
            process.kill()


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """One receiver for all tests that end with a refusal."""
    with receiving(tmp_path_factory.mktemp("kit"), signing.new_secret()) as running:
        yield running


def right(kit: Kit) -> str:
    """The signature that would be right for the event `an-event` now."""
    return kit.signed("an-event")["webhook-signature"]


# What a hostile sender makes of the headers of a genuine webhook; None leaves one out.
FORGED: dict[str, dict[str, Any]] = {
    "no headers": dict.fromkeys(["webhook-id", "webhook-timestamp", "webhook-signature"]),
    "no id": {"webhook-id": None},
    "no timestamp": {"webhook-timestamp": None},
    "no signature": {"webhook-signature": None},
    "empty signature": {"webhook-signature": ""},
    "names alone": {"webhook-signature": "v1 v1  v1"},
    "bad base64": {"webhook-signature": "v1,!!!not base64!!!"},
    "letters beyond ASCII": {"webhook-signature": "v1,ÿÿÿÿ".encode("latin-1")},
    "another id": {"webhook-id": "another-event"},
    "the id moved into the time": {"webhook-id": "an", "webhook-timestamp": "event.1"},
    "no number": {"webhook-timestamp": "soon"},
    "not a number": {"webhook-timestamp": "nan"},
    "without end": {"webhook-timestamp": "1e400"},
    "negative": {"webhook-timestamp": "-1"},
    "huge": {"webhook-timestamp": "9" * 300},
}
# The same, made from what would be right.
SPOILT: dict[str, Callable[[Kit], dict[str, Any]]] = {
    "cut base64": lambda kit: {"webhook-signature": right(kit)[:-3]},
    "missing comma": lambda kit: {"webhook-signature": right(kit).replace(",", "")},
    "two commas": lambda kit: {"webhook-signature": right(kit) + ",x"},
    "another version": lambda kit: {"webhook-signature": right(kit).replace("v1", "v2")},
    "unknown key": lambda kit: kit.signed("an-event", secret=signing.new_secret()),
    "old": lambda kit: kit.signed("an-event", at=600),
    "from the future": lambda kit: kit.signed("an-event", at=-600),
}


@pytest.mark.parametrize("name", [*FORGED, *SPOILT])
def test_no_forged_header_gets_through(kit: Kit, name: str) -> None:
    """Whatever is wrong with id, time or signature, the answer is 401 and never an error of the receiver."""
    forged = FORGED[name] if name in FORGED else SPOILT[name](kit)
    changed = {**kit.signed("an-event"), **forged}
    headers = {key: value for key, value in changed.items() if value is not None}

    assert kit.send(BODY, headers) == 401


@pytest.mark.parametrize(
    "body", [BODY + b" ", BODY[:-1], b"", b"{}", b"\xff\xfe", BODY.replace(b"Suwon", b"Seoul")]
)
def test_no_other_body_gets_through(kit: Kit, body: bytes) -> None:
    """A body that differs in a single byte from what was signed is refused."""
    assert kit.send(body, kit.signed("an-event")) == 401


@pytest.mark.parametrize("body", [b"\xff\xfe", b"no json"])
def test_what_is_signed_and_no_event_is_refused(kit: Kit, body: bytes) -> None:
    """Even one who has the secret cannot make the receiver fail with what is no JSON."""
    moment = str(int(time.time()))
    digest = hmac.digest(
        signing.key_of(kit.secrets[0]), b"x." + moment.encode() + b"." + body, hashlib.sha256
    )
    signature = "v1," + base64.b64encode(digest).decode()
    headers = {"webhook-id": "x", "webhook-timestamp": moment, "webhook-signature": signature}

    assert kit.send(body, headers) == 401


def test_what_is_too_long_is_not_kept_in_memory(kit: Kit) -> None:
    """A body of more than a megabyte is refused as too long before it is looked at."""
    assert kit.send(b"x" * (2 * 1024 * 1024), kit.signed("an-event")) == 413


def done(folder: Path) -> int:
    """How many events the receiver has noted as worked on."""
    with closing(sqlite3.connect(folder / "inbox.db")) as inbox:
        return int(inbox.execute("SELECT count(*) FROM event WHERE done").fetchone()[0])


def test_an_event_counts_once_also_after_a_crash(tmp_path: Path) -> None:
    """However often it comes, now or after a restart, the answer is 204 and the work is done once."""
    secret = signing.new_secret()
    with receiving(tmp_path, secret) as kit:
        answers = [kit.send(BODY, kit.signed("one")) for _ in range(3)]
        answers.append(kit.send(BODY, kit.signed("two")))
        handled = [kit.handled.get(timeout=SOON_S) for _ in range(2)]
        # What is killed before it is noted as done is done again.
        eventually(lambda: done(tmp_path) == 2)
    with receiving(tmp_path, secret) as kit:
        answers.append(kit.send(BODY, kit.signed("one")))
        answers.append(kit.send(BODY, kit.signed("three")))
        handled.append(kit.handled.get(timeout=SOON_S))
        assert kit.handled.empty()

    assert answers == [204] * 6
    assert handled == ["suggestion.created"] * 3


def test_a_rotation_loses_nothing(tmp_path: Path) -> None:
    """While two secrets live each alone and both together are right; one that has ended is not."""
    old, new, other = (signing.new_secret() for _ in range(3))
    with receiving(tmp_path, new, old) as kit:
        moment = int(time.time())
        answers = [
            kit.send(BODY, signing.headers(f"event-{number}", moment, BODY, secrets))
            for number, secrets in enumerate([[old], [new], [new, old], [other, new], [other]])
        ]

    assert answers == [204, 204, 204, 204, 401]


def test_it_takes_what_our_dispatcher_sends(sqlite_url: str, tmp_path: Path) -> None:
    """The real sender and the handed-out receiver understand each other."""
    database = Database(sqlite_url)
    secret = signing.new_secret()
    with receiving(tmp_path, secret) as kit:
        entry = {"secret": secret, "ends_at": None}
        row = subscribe(database, kit.url, event_types=["*"], secrets=[entry])
        with courier(database, settings_for(sqlite_url)):
            ping(database, [row], 3)
            handled = [kit.handled.get(timeout=SOON_S) for _ in range(3)]
    database.close()

    assert handled == ["webhook_endpoint.ping"] * 3
