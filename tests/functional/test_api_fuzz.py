# SPDX-License-Identifier: Apache-2.0
"""The whole API document, asked everything that it allows and much that it does not, of a running system.

Schemathesis draws the requests; ``./run fuzz`` draws twenty times as many of them.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from services.cli.throwaway import LOCAL_RECEIVERS, RunningSystem, throwaway_system

pytestmark = [
    pytest.mark.slow,
    pytest.mark.hypothesis,
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("fuzz"),
]

# The usual profile of hypothesis draws a hundred examples of a test, that of `./run fuzz` two thousand.
SHARE = settings.default.max_examples / 100  # type: ignore[union-attr]
# The stream never ends.
ENDING = ("--exclude-path", "/v1/events/stream")
# What is made and lives on; all else would be asked at random, and seldom about anything that is there.
LIVES = r"^/v1/(cities|practices|needs|matching-rounds|webhook-endpoints|api-keys)(/[{]|$)"
HOOKS = Path(__file__).parent / "fuzz_hooks.py"
FUZZ = (
    # The document cannot say all that makes a request wrong: a day that is over, a name that is taken.
    *("--exclude-checks", "positive_data_acceptance"),
    *("--request-timeout", "30", "--continue-on-failure", "--no-color", "--warnings", "off"),
)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    """A fresh system as `twinning up` runs it, with real workers, so that a seed draws the same each time."""
    folder = tmp_path / "up"
    folder.mkdir()
    with throwaway_system(folder, {**LOCAL_RECEIVERS, "RATE_PER_MINUTE": "0"}) as running:
        yield running


def fuzz(system: RunningSystem, folder: Path, *options: str, most: int, **env: str) -> str:
    """Let Schemathesis ask what it likes; gives its report, which must be free of failures."""
    program = [sys.executable, "-m", "schemathesis.cli", "run", f"{system.url}/openapi.json"]
    bearer = ("-H", f"Authorization: Bearer {system.key}", "--max-examples", str(max(1, round(most * SHARE))))
    # Drawn alike each time, so that a failure stays until it is mended; more examples find more.
    seed = ("--seed", "1")
    env = {**os.environ, **env}
    asked = subprocess.run(
        [*program, *bearer, *seed, *FUZZ, *options], capture_output=True, text=True, cwd=folder, env=env
    )

    assert asked.returncode == 0, asked.stdout[-8000:] + asked.stderr[-2000:]
    return asked.stdout


def log_of(system: RunningSystem) -> str:
    """Give what the system's processes have written."""
    return Path(system.log).read_text(encoding="utf-8")


def test_no_request_fails_or_is_answered_beside_the_document(system: RunningSystem, tmp_path: Path) -> None:
    """Whatever is asked of an operation, right or wrong, the answer is no 500 and is as the document says."""
    report = fuzz(system, tmp_path, "--phases", "examples,coverage,fuzzing", *ENDING, most=15)

    assert "a request failed" not in log_of(system)
    tested, selected = re.findall(r"(?:Tested|Selected): (\d+)", report)[::-1]
    assert int(tested) == int(selected)


def test_no_sequence_of_requests_fails(system: RunningSystem, tmp_path: Path) -> None:
    """What one request made may be read, changed, put to use and taken away by others, in any order."""
    report = fuzz(
        system,
        tmp_path,
        *("--phases", "stateful", "--mode", "positive", "--include-path-regex", LIVES),
        most=200,
        SCHEMATHESIS_HOOKS=str(HOOKS),
    )

    assert "a request failed" not in log_of(system)
    found = re.search(r"API Links: +(\d+) covered", report)
    assert found is not None
    assert int(found[1]) >= 5
