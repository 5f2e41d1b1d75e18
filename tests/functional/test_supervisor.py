# SPDX-License-Identifier: Apache-2.0
"""The supervisor from outside: a real parent with real children, stopped, killed and broken on purpose."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

PATIENCE_S = 20.0
STOP_S = 5.0

# Runs the children that a test wrote down, in the data folder that it names.
PARENT = """
import os, sys
from pathlib import Path
from services.cli.children import Child
from services.cli.folder import locked_folder
from services.cli.servers import embedded_broker
from services.cli.supervisor import Supervisor
from twinning.errors import TwinningError

data = Path(sys.argv[1])
python = sys.executable
try:
    with locked_folder(data) as lock, embedded_broker(data) as broker:
        children = {children}
        sys.exit(Supervisor(children, held=[lock]).run(lambda: print("ready", flush=True)))
except TwinningError as error:
    sys.exit(f"refused: {{error}}")
"""

# Says its pid and that of a child of its own, and lives until it is told to stop.
FAMILY = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import signal, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print("pid", os.getpid(), flush=True)
print("pid", grandchild.pid, flush=True)
time.sleep(600)
"""


SLOW = "print(6 * 7, flush=True); import time; time.sleep(60)"


class Parent:
    """A running supervisor; its words are in `log`."""

    def __init__(self, folder: Path, children: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.log = folder / "log"
        program = PARENT.format(children=children)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, folder / "data"], stdout=output, stderr=output
            )

    def words(self) -> str:
        """Give everything that it and its children have said."""
        return self.log.read_text()

    def says(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until a pattern has come up so often."""
        found: list[str] = []

        def enough() -> bool:
            found[:] = re.findall(pattern, self.words())
            return len(found) >= times

        eventually(enough, self.words)
        return found

    def pids(self, times: int) -> list[int]:
        """Wait until so many processes have told their number."""
        return [int(pid) for pid in self.says(r"pid (\d+)\n", times)]

    def stop(self, number: signal.Signals) -> float:
        """Send a signal, and give the seconds until the end."""
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        return time.monotonic() - begun

    def descendants(self) -> list[int]:
        """List the processes that come from this one."""
        found, rest = [], [self.process.pid]
        parents = {int(p.name): parent_of(p) for p in Path("/proc").iterdir() if p.name.isdigit()}
        while rest:
            one = rest.pop()
            mine = [pid for pid, parent in parents.items() if parent == one]
            found += mine
            rest += mine
        return found


def parent_of(process: Path) -> int:
    """Give the number of a process's parent, -1 when it has just gone."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return -1


def alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(true: Callable[[], bool], words: Callable[[], str] = str) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, words()
        time.sleep(0.02)


@pytest.fixture
def start(short_folder: Path) -> Iterator[Callable[..., Parent]]:
    """Start supervisors, and leave none behind."""
    started: list[Parent] = []

    def start(children: str, folder: str = "one") -> Parent:
        started.append(Parent(short_folder / folder, children))
        return started[-1]

    yield start
    for parent in started:
        parent.process.kill()
        parent.process.wait()


def family(name: str, *words: str) -> str:
    """Write down a child that has a child of its own."""
    return f"Child({name!r}, [python, '-c', {FAMILY!r}, *{words!r}], ready=lambda: True)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_in_time_and_leaves_nobody(
    start: Callable[..., Parent], number: signal.Signals
) -> None:
    """SIGTERM and Ctrl-C end the parent with 0 and every child and grandchild within five seconds."""
    parent = start(f"[{family('one')}, {family('two')}]")
    pids = parent.pids(4)
    parent.says("ready")
    assert parent.stop(number) < STOP_S
    assert parent.process.returncode == 0
    eventually(lambda: not any(map(alive, pids)))


def test_a_child_that_does_not_listen_is_killed_in_time(start: Callable[..., Parent]) -> None:
    """A child that ignores SIGTERM costs its own time and not more than five seconds in all."""
    parent = start(f"[{family('one')}, {family('deaf', 'deaf')}]")
    pids = parent.pids(4)
    parent.says("ready")
    assert parent.stop(signal.SIGTERM) < STOP_S
    assert parent.process.returncode == 0
    assert "deaf did not stop in time and was killed" in parent.words()
    assert not any(map(alive, pids[:1]))
    eventually(lambda: not any(map(alive, pids)))


def test_a_killed_parent_leaves_nobody(start: Callable[..., Parent]) -> None:
    """After kill -9 children end, deaf ones too, and with them grandchildren, who were told nothing."""
    parent = start(f"[{family('one')}, {family('deaf', 'deaf')}]")
    pids = parent.pids(4)
    parent.says("ready")
    everybody = parent.descendants()
    assert set(pids) < set(everybody)
    parent.stop(signal.SIGKILL)
    eventually(lambda: not any(map(alive, everybody)))


def test_a_killed_parent_of_real_servers_leaves_nobody(start: Callable[..., Parent], tmp_path: Path) -> None:
    """The broker, a Celery worker with forked children and a uvicorn with two workers all end."""
    (tmp_path / "front.py").write_text(
        textwrap.dedent("""
        import celery

        worker = celery.Celery("front")

        async def page(scope, receive, send):
            assert scope["type"] == "http"
        """)
    )
    folder = str(tmp_path)
    parent = start(
        f"""[
        Child("broker", broker.argv, ready=broker.ready),
        Child("worker", [python, "-m", "celery", "--workdir", {folder!r}, "-b", broker.url,
                         "-A", "front:worker", "worker", "-l", "info", "-P", "prefork", "-c", "2"]),
        Child("api", [python, "-m", "uvicorn", "--app-dir", {folder!r}, "--workers", "2", "--port", "0",
                      "--lifespan", "off", "front:page"]),
        ]"""
    )
    parent.says("Started server process", 2)
    parent.says("celery@.* ready")
    parent.says("ready\n")
    everybody = parent.descendants()
    # The broker, three of Celery, three of uvicorn with its resource tracker, the guardian.
    assert len(everybody) >= 8
    parent.stop(signal.SIGKILL)
    eventually(lambda: not any(map(alive, everybody)))


def test_what_dies_is_started_again(start: Callable[..., Parent]) -> None:
    """A child killed by somebody lives again soon, and the log says so; its own child is gone."""
    parent = start(f"[{family('one')}, {family('two')}]")
    parent.says("ready")
    first, grandchild = [int(pid) for pid in parent.says(r"one \| pid (\d+)\n", 2)]
    os.kill(first, signal.SIGKILL)
    parent.says(r"one ended by SIGKILL; again in 0.2 s")
    again = [int(pid) for pid in parent.says(r"one \| pid (\d+)\n", 4)]
    eventually(lambda: not alive(grandchild))
    assert alive(again[2])


def test_a_child_that_keeps_dying_is_started_less_and_less_often(start: Callable[..., Parent]) -> None:
    """The pause between two starts grows, so that a broken child does not eat the machine."""
    parent = start("[Child('short', [python, '-c', 'import time; time.sleep(1)'], ready=lambda: True)]")
    pauses = parent.says(r"short ended with exit code 0; again in ([\d.]+) s", 4)
    assert [float(pause) for pause in pauses[:4]] == [0.2, 0.5, 1.0, 2.0]


def test_another_guardian_comes_when_one_is_killed(start: Callable[..., Parent]) -> None:
    """The promise to leave nobody behind holds although somebody killed the one who keeps it."""
    parent = start(f"[{family('one')}]")
    parent.says("ready")
    pids = parent.pids(2)
    (guardian,) = [pid for pid in parent.descendants() if b"guardian.py" in _command(pid)]
    os.kill(guardian, signal.SIGKILL)
    parent.says("the guardian ended; another watches")
    everybody = parent.descendants()
    parent.stop(signal.SIGKILL)
    eventually(lambda: not any(map(alive, [*pids, *everybody])))


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize(
    ("child", "words"),
    [
        ("Child('broken', [python, '-c', 'print(6*7); raise SystemExit(3)'])", "exit code 3.*\n    42"),
        ("Child('broken', ['/no/such/program'])", "before it was ready.*\n.*/no/such/program"),
        (
            f"Child('broken', [python, '-c', {SLOW!r}], ready=lambda: False, start_s=1)",
            "was not ready.*\n    42",
        ),
    ],
    ids=["ends", "missing", "never ready"],
)
def test_a_child_that_cannot_start_ends_all_with_its_name_and_last_words(
    start: Callable[..., Parent], child: str, words: str
) -> None:
    """Nobody searches a log for the reason: the end names the child and repeats what it said."""
    parent = start(f"[{family('one')}, {child}]")
    assert parent.process.wait(PATIENCE_S) == 1
    assert re.search(f"twinning: broken .*{words}", parent.words())
    assert "ready\n" not in parent.words()
    assert not any(alive(int(pid)) for pid in re.findall(r"pid (\d+)", parent.words()))


def test_children_start_side_by_side_and_the_first_stops_last(start: Callable[..., Parent]) -> None:
    """All begin at once, and the first, which others need, goes last."""
    program = (
        "import signal, sys, time\n"
        "def leave(*_):\n    print('left', flush=True)\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave)\nprint('came', flush=True)\ntime.sleep(60)\n"
    )
    one, two = (f"Child({name!r}, [python, '-c', {program!r}])" for name in ("one", "two"))
    parent = start(f"[{one}, {two}]")
    parent.says("ready\n")
    parent.stop(signal.SIGTERM)
    spoken = re.findall(r"(one|two) \| (came|left)", parent.words())
    assert sorted(spoken[:2]) == [("one", "came"), ("two", "came")]
    assert spoken[2:] == [("two", "left"), ("one", "left")]


def test_one_data_folder_has_one_supervisor(start: Callable[..., Parent]) -> None:
    """A second one is refused at once and told by whom; after a kill -9 the next one simply waits."""
    first = start(f"[{family('one')}, {family('deaf', 'deaf')}]")
    first.says("ready")
    second = subprocess.run(
        [sys.executable, "-c", PARENT.format(children="[]"), first.folder / "data"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert second.returncode == 1
    assert f"in use by process {first.process.pid};" in second.stderr
    left = first.descendants()
    first.stop(signal.SIGKILL)
    third = start(f"[{family('one')}]")
    third.says("ready")
    assert not any(map(alive, left))
