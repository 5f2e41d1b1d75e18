# SPDX-License-Identifier: Apache-2.0
"""The demo as a visitor runs it: what it says, what it saves, what it leaves, and that it can fail."""

import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from services.cli import demo
from services.cli.client import Client
from services.cli.demo import Show
from services.cli.demo_data import load
from services.cli.receiver import receiver
from services.cli.throwaway import LOCAL_RECEIVERS, throwaway_system
from twinning.settings import PREFIX
from twinning.signing import new_secret

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("demo")]

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Shown:
    """What a run of the demo said and left behind."""

    code: int
    words: str
    folder: Path
    temporary: Path

    @property
    def page(self) -> str:
        """The page that it saved."""
        return (self.folder / "build" / "demo.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """One run of the demo in an empty folder, with an empty folder for what is temporary."""
    folder = tmp_path_factory.mktemp("demo")
    # A short path, because a socket lies below it.
    temporary = Path(tmp_path_factory.mktemp("t"))
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(
        [sys.executable, "-m", "services.cli.main", "demo"],
        cwd=folder,
        env={**env, "TMPDIR": str(temporary), "COLUMNS": "160", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Shown(done.returncode, done.stdout + done.stderr, folder, temporary)


def test_every_webhook_is_verified_and_the_demo_ends_well(shown: Shown) -> None:
    """It exits with 0, and says how many webhooks arrived and that all of them verified."""
    assert shown.code == 0, shown.words
    told = re.search(r"All (\d+) webhooks arrived and verified", shown.words)
    data = load()
    # Each city, practice and need is an event; suggestions and two rounds come on top.
    least = len(data.cities) + len(data.practices) + len(data.needs) + 1 + 2
    assert told is not None
    assert int(told[1]) > least
    assert "✗" not in shown.words


def test_it_tells_of_the_rounds_and_of_the_late_practice(shown: Shown) -> None:
    """A visitor reads of study visits, of twinnings, and of what one more practice brought."""
    assert "Study visits" in shown.words
    assert "Twinnings" in shown.words
    assert load().late_practice.fields["title"] in shown.words
    assert re.search(r"\d+ ms later the webhooks of [1-9]\d* suggestions have arrived", shown.words)


def test_the_page_names_the_cities_and_the_words_that_matched(shown: Shown) -> None:
    """The saved page shows every city on its map, and for each suggestion the words that speak for it."""
    for city in load().cities:
        assert city.fields["name"] in shown.page
    # A line of words in the terminal reads "words  literacy +12  library +8".
    matched = set(re.findall(r"words\s+(\w+) \+\d+", shown.words))
    assert matched
    assert all(word in shown.page for word in matched)


def test_what_is_made_up_is_called_an_illustration(shown: Shown) -> None:
    """Terminal and page say which listings are ours, and the counts are those of the shipped data."""
    data = load()
    listings = [*data.practices, *data.needs]
    quoted = sum(entry.quoted for entry in listings)
    said = f"{quoted} listings quote their sources, {len(listings) - quoted} are illustration"
    assert said in " ".join(shown.words.split())
    assert "illustration" in shown.page
    assert data.late_practice.illustration
    assert re.search(rf"{re.escape(data.late_practice.fields['title'])}\s+illustration", shown.words)


def test_it_leaves_nothing_but_the_page(shown: Shown) -> None:
    """No file but build/demo.html stays, nothing temporary, and no process that worked there."""
    left = sorted(path.relative_to(shown.folder) for path in shown.folder.rglob("*") if path.is_file())
    assert left == [Path("build/demo.html")]
    assert list(shown.temporary.iterdir()) == []
    if sys.platform == "linux":
        assert _working_in(shown.temporary, shown.folder) == []


def test_a_wrong_secret_fails_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the receiver cannot verify what comes, the demo says so for each webhook and does not end well."""
    monkeypatch.chdir(tmp_path)
    # What does not verify never arrives; the demo need not wait half a minute to be sure.
    monkeypatch.setattr(demo, "ARRIVE_S", 10.0)
    said = io.StringIO()
    with receiver() as inbox, throwaway_system(tmp_path, LOCAL_RECEIVERS) as system:
        show = Deaf(Console(file=said, width=200), Client(system.url, system.key), inbox, load())
        assert show.play() is False
    assert "did not verify" in said.getvalue()
    assert "arrived and verified" not in said.getvalue()


class Deaf(Show):
    """A show whose receiver was given another secret than the endpoint's."""

    def _subscribe(self) -> None:
        super()._subscribe()
        self._inbox.secret = new_secret()


def _working_in(*folders: Path) -> list[str]:
    """Find processes whose command or environment names one of the folders."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if any(os.fsencode(folder) in told for folder in folders):
            found.append(told.decode(errors="replace"))
    return found
