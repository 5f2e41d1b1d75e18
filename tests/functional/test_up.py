# SPDX-License-Identifier: Apache-2.0
"""`twinning up` from outside: started, stopped, killed, started again, and refused what is wrong."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.cli.system import free_port
from twinning import match_examples
from twinning.settings import PREFIX

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

PATIENCE_S = 60.0
STOP_S = 5.0
WELCOMED = "Ctrl-C stops everything."


class System:
    """A running `twinning up`; its words are in `log`."""

    def __init__(self, folder: Path, name: str = "log") -> None:
        self.data = folder / "data"
        self.log = folder / name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                _up("--port", str(self.port), "--data", str(self.data)),
                env=_env({}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def words(self) -> str:
        """Give all that it has said."""
        return self.log.read_text(errors="replace")

    def until(self, true: Callable[[], object], what: str) -> None:
        """Wait until something is true while it runs."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, f"not yet: {what}\n{self.words()}"
            time.sleep(0.02)

    def ready(self) -> "System":
        """Wait until it has said that it is ready, to the last line of its welcome."""
        self.until(lambda: WELCOMED in self.words() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.words()
        return self

    @property
    def key(self) -> str:
        """The staff key that it keeps."""
        return (self.data / "staff.key").read_text().strip()

    def api(self, method: str, path: str, **others: Any) -> httpx.Response:
        """Ask the API as staff."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(method, f"{self.url}/v1{path}", headers=headers, trust_env=False, **others)

    def family(self) -> dict[int, str]:
        """List the processes that come from it, with their commands."""
        parents = {
            int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()
        }
        found, rest = {}, [self.process.pid]
        while rest:
            one = rest.pop()
            mine = [pid for pid, parent in parents.items() if parent == one]
            found |= {pid: _command(pid) for pid in mine}
            rest += mine
        return found

    def stop(self) -> float:
        """Send SIGTERM; gives the seconds until the end."""
        begun = time.monotonic()
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        return time.monotonic() - begun


def _up(*words: str) -> list[str]:
    return [sys.executable, "-m", "services.cli.main", "up", *words]


def _env(settings: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**inherited, **{PREFIX + name: value for name, value in settings.items()}}


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return -1


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., System]]:
    """Start systems in one data folder, and leave none behind."""
    started: list[System] = []

    def up(name: str = "log") -> System:
        started.append(System(tmp_path, name))
        return started[-1]

    yield up
    for system in started:
        if system.process.poll() is None:
            system.stop()


def test_it_is_ready_stops_in_time_and_keeps_what_it_was_told(up: Callable[..., System]) -> None:
    """A first start makes a key for this user alone; SIGTERM leaves nobody; a second start has the data."""
    first = up().ready()
    assert stat.S_IMODE((first.data / "staff.key").stat().st_mode) == 0o600
    assert first.key in first.words()
    assert httpx.get(f"{first.url}/readyz", trust_env=False).json()["status"] == "ok"
    city = first.api("POST", "/cities", json={"name": "Suwon", "country": "KR"}).json()["id"]

    family = first.family()
    # The broker, the API, the matcher, the dispatcher, the scheduler and the guardian.
    assert len(family) >= 6
    assert first.stop() < STOP_S
    assert first.process.returncode == 0
    assert not any(map(_alive, family)), family

    second = up("again").ready()
    assert second.key == first.key
    assert second.key not in second.words()
    assert "shown this once" not in second.words()
    assert second.api("GET", f"/cities/{city}").json()["name"] == "Suwon"


def test_a_killed_parent_leaves_nobody_and_its_folder_is_free(up: Callable[..., System]) -> None:
    """After kill -9 of the parent every process ends by itself, and the next start has the folder."""
    first = up().ready()
    family = first.family()
    first.process.kill()
    first.process.wait()
    first.until(lambda: not any(map(_alive, family)), "all have ended")
    assert up("again").ready().api("GET", "/cities").status_code == 200


@pytest.mark.parametrize("part", ["worker", "dispatcher", "api", "valkey-server"])
def test_a_killed_part_is_started_again_and_the_work_goes_on(up: Callable[..., System], part: str) -> None:
    """Whichever part is killed, a preview asked for afterwards is answered by a worker."""
    system = up().ready()
    [(pid, _)] = [(pid, words) for pid, words in system.family().items() if f"{part} " in words]
    os.kill(pid, signal.SIGKILL)
    system.until(lambda: "ended by SIGKILL; again in" in system.words(), "its end is noticed")

    def answered() -> bool:
        try:
            return (
                system.api("POST", "/matches/preview", json=match_examples.PREVIEW_REQUEST).status_code == 200
            )
        except httpx.TransportError:
            return False

    system.until(answered, "a preview is answered")
    system.until(
        lambda: httpx.get(f"{system.url}/readyz", trust_env=False).json()["status"] == "ok",
        "all is well again",
    )
    again = [new for new, words in system.family().items() if f"{part} " in words]
    assert len(again) == 1
    assert again != [pid]


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    """Whoever starts it on a port in use reads which port, what to do, and no trace; exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, words = _refused({}, "--port", str(port), "--data", str(tmp_path / "data"))
    assert code == 1
    assert words.startswith(f"twinning: port {port} cannot be used")
    assert "--port" in words


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PER_CITY": "many"}, "TWINNING_PER_CITY"),
        ({"DATABASE_URL": "mysql://root:secret@db/twinning"}, "TWINNING_DATABASE_URL"),
        ({"BROKER_URL": "amqp://guest"}, "TWINNING_BROKER_URL"),
        ({"RETRY_SCHEDULE_S": "0,soon"}, "TWINNING_RETRY_SCHEDULE_S"),
        ({"WEBHOOK_ALLOW_CIDRS": "10.0.0.0/99"}, "TWINNING_WEBHOOK_ALLOW_CIDRS"),
        ({"PER_CTIY": "3"}, "TWINNING_PER_CTIY: there is no such setting"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_stops_the_start_by_name(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    """One line names the setting, shows no password, and the exit code is 2; nothing has been made."""
    code, words = _refused(settings, "--port", "0", "--data", str(tmp_path / "data"))
    assert code == 2
    assert words.startswith(f"twinning: {said}")
    assert "secret" not in words
    assert not (tmp_path / "data").exists()


def test_two_systems_do_not_share_a_folder(up: Callable[..., System]) -> None:
    """The second is refused at once, and told which folder and which process."""
    first = up().ready()
    code, words = _refused({}, "--port", "0", "--data", str(first.data))
    assert code == 2
    assert f"{first.data} is in use by process {first.process.pid}" in words
    assert httpx.get(f"{first.url}/healthz", trust_env=False).status_code == 200


def _refused(settings: Mapping[str, str], *words: str) -> tuple[int, str]:
    """Start with something wrong; gives the exit code and the one line that was said."""
    done = subprocess.run(
        _up(*words), env=_env(settings), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    said = (done.stdout + done.stderr).strip()
    assert len(said.splitlines()) == 1, said
    return done.returncode, said
