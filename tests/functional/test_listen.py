# SPDX-License-Identifier: Apache-2.0
"""`twinning webhooks listen` as a developer runs it: follows, prints, forwards, and survives what breaks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import IO, Any

import httpx
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from tests.receiver import Manner, Receiver
from tests.streams import SOON_S, Street, free_port, street
from twinning import keys
from twinning.settings import PREFIX
from twinning.signing import new_secret

ROOT = Path(__file__).resolve().parent.parent.parent


class Listening:
    """A running `listen` and what it says, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out, self.notes = self._reader(process.stdout), self._reader(process.stderr)

    @staticmethod
    def _reader(stream: IO[str] | None) -> "Queue[str]":
        assert stream is not None
        lines: Queue[str] = Queue()
        threading.Thread(target=lambda: [lines.put(each) for each in stream], daemon=True).start()
        return lines

    def events(self, count: int) -> list[dict[str, Any]]:
        """The next so many events, as JSON Lines."""
        return [json.loads(self.out.get(timeout=SOON_S)) for _ in range(count)]

    def note(self, holding: str) -> str:
        """The next note that holds some words."""
        while holding not in (told := self.notes.get(timeout=SOON_S)):
            pass
        return told

    def end(self) -> int:
        """Press Ctrl-C and give the exit code.

        Python drops an interrupt that falls into a finaliser, so whoever sees nothing happen presses again.
        """
        for _ in range(3):
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(SOON_S / 3)
        raise AssertionError("Ctrl-C does not end it")


@contextmanager
def listening(place: Street, *words: str, **env: str) -> Iterator[Listening]:
    """Run `listen` against a front door, JSON Lines on its output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    argv = [sys.executable, "-m", "services.cli.main", "webhooks", "listen", "--url", place.url, *words]
    with subprocess.Popen(
        [*argv, "--format", "jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**clean, "ASEM_KEY": place.key, "PYTHONPATH": str(ROOT), **env},
    ) as process:  # fmt: skip
        try:
            yield Listening(process)
        finally:
            process.kill()


def register(place: Street, *names: str) -> None:
    """Register cities as staff."""
    for name in names:
        httpx.post(f"{place.url}/v1/cities", json={"name": name, "country": "IE"}, headers=place.staff)


def names(events: list[dict[str, Any]]) -> list[str]:
    """The names of the cities that events are about."""
    return [event["data"]["name"] for event in events]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A local program that takes what is forwarded."""
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def shared_street(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path) -> Iterator[Street]:
    """A served front door for the tests that change nothing."""
    path = shutil.copy(sqlite_file, tmp_path_factory.mktemp("door") / "twinning.db")
    with street(f"sqlite:///{path}") as served:
        yield served


def test_it_follows_from_now_on_through_a_restart(sqlite_url: str) -> None:
    """Old events stay away; what happens while the house is down comes, once, when it is back."""
    port = free_port()
    with street(sqlite_url, port) as place:
        register(place, "Before")
        with listening(place) as listener:
            listener.note("listening to")
            register(place, "Cork")
            first = listener.events(1)
            place.stop()
            listener.note("again in")
            with street(sqlite_url, port, place.key) as again:
                register(again, "Limerick", "Dublin")
                rest = listener.events(2)
                listener.note("listening again")
                code = listener.end()
            said = listener.note("go on with --after")

    assert names(first + rest) == ["Cork", "Limerick", "Dublin"]
    assert (code, rest[-1]["id"] in said) == (0, True)
    assert set(first[0]) == {"id", "type", "timestamp", "data"}


def test_it_begins_where_it_is_told(sqlite_url: str) -> None:
    """With `oldest` or an id come the events after it, of the wanted types alone."""
    with street(sqlite_url) as place:
        register(place, "Cork", "Limerick", "Dublin")
        with listening(place, "--after", "oldest", "--types", "city.*") as listener:
            every = listener.events(3)
        with listening(place, "--after", every[0]["id"]) as listener:
            later = listener.events(2)

    assert every[1:] == later


def test_it_forwards_as_a_webhook_does(sqlite_url: str, receiver: Receiver) -> None:
    """Each event is posted once with the headers of Standard Webhooks, which other people's code verifies."""
    secret = new_secret()
    receiver.secrets.append(secret)
    with street(sqlite_url) as place:
        register(place, "Suwon", "Łódź")
        with listening(
            place, "--after", "oldest", "--forward", receiver.url("/x"), "--secret", secret
        ) as listener:
            told = listener.events(2)
            code = listener.end()

    got = receiver.got()
    assert [one.webhook_id for one in got] == [event["id"] for event in told]
    assert all(one.verified_by == (secret,) for one in got)
    assert [json.loads(one.body)["data"]["name"] for one in got] == ["Suwon", "Łódź"]
    assert [set(json.loads(one.body)) for one in got] == [{"type", "timestamp", "data"}] * 2
    assert [event["forwarded"]["status"] for event in told] == [200, 200]
    assert code == 0


def test_it_prints_the_secret_that_it_made(sqlite_url: str, receiver: Receiver) -> None:
    """Without a secret it makes one and says so at the start, beside the output and not in it."""
    with street(sqlite_url) as place:
        register(place, "Cork")
        with listening(place, "--after", "oldest", "--forward", receiver.url("/x")) as listener:
            secret = listener.note("signed with").split()[-1]
            receiver.secrets.append(secret)
            listener.events(1)

    assert secret.startswith("whsec_")
    assert receiver.got()


def test_what_is_not_taken_is_tried_again_and_told(sqlite_url: str, receiver: Receiver) -> None:
    """A program that fails twice gets the event a third time; one that always fails is told of and left."""
    receiver.behave("/shaky", Manner(statuses=(500, 302, 204)))
    receiver.behave("/broken", Manner(statuses=(500,)))
    with street(sqlite_url) as place:
        register(place, "Cork")
        with listening(place, "--after", "oldest", "--forward", receiver.url("/shaky")) as listener:
            (shaky,) = listener.events(1)
            assert listener.end() == 0
        with listening(place, "--after", "oldest", "--forward", receiver.url("/broken")) as listener:
            (broken,) = listener.events(1)
            code = listener.end()
            said = listener.note("not taken")

    assert (shaky["forwarded"]["status"], shaky["forwarded"]["attempts"]) == (204, 3)
    assert (broken["forwarded"]["status"], broken["forwarded"]["attempts"]) == (500, 4)
    assert code == 1
    assert "1 not taken" in said


def test_it_ends_with_its_key(sqlite_url: str) -> None:
    """When the key is revoked the command ends by itself and says why."""
    with street(sqlite_url) as place, listening(place) as listener:
        listener.note("listening to")
        with place.database.transaction() as session:
            keys.revoke(session, keys.live(session)[0])
        code = listener.process.wait(SOON_S)
        said = listener.note("401")

    assert (code, "revoked" in said) == (1, True)


@pytest.mark.parametrize(
    ("words", "holding"),
    [
        (("--after", "yesterday"), "--after: "),
        (("--types", "city.born"), "--types: "),
        (("--forward", "localhost:3000"), "no address"),
        (("--secret", "whsec_x"), "--forward"),
        (("--forward", "http://localhost/", "--secret", "hunter2"), "secret"),
        (("--url", "nowhere"), "--url"),
    ],
)
def test_bad_arguments_are_named(
    shared_street: Street, words: tuple[str, ...], holding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for wrongly ends with 2 and a line that names it."""
    monkeypatch.setenv("ASEM_KEY", shared_street.key)
    ended = CliRunner().invoke(app, ["webhooks", "listen", "--url", shared_street.url, *words])

    assert ended.exit_code == 2, ended.output
    told = " ".join(ended.output.split())
    assert told.count(holding) == 1
    assert "/query/" not in told


def test_no_key_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key in the option, the environment or the data folder it says where one may stand."""
    monkeypatch.delenv("ASEM_KEY", raising=False)
    ended = CliRunner().invoke(app, ["webhooks", "listen", "--data", str(tmp_path)])

    assert ended.exit_code == 2
    assert "ASEM_KEY" in ended.output
