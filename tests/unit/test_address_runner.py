# SPDX-License-Identifier: Apache-2.0
"""The runner that others try their senders with: right rules pass, and wrong ones hear where they fail."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_addresses import CASES, EXAMPLES

RUNNER = EXAMPLES / "check_addresses.py"
OURS = [sys.executable, str(EXAMPLES / "our_addresses.py")]
# What many a sender does: it trusts the standard library, and takes a URL as it comes.
NAIVE = """
import ipaddress, json, sys
for line in sys.stdin:
    asked = json.loads(line)
    found = asked.get("answers") or [asked.get("address", "1.1.1.1")]
    try:
        print(json.dumps({"allowed": all(ipaddress.ip_address(one).is_global for one in found)}))
    except ValueError:
        print(json.dumps({"allowed": False}))
"""
SILENT = "import sys; sys.stdin.read()"
REFUSES_ALL = "import sys; [print('{\"allowed\": false}') for _ in sys.stdin]"


def run(*command: str) -> tuple[int, list[str], str]:
    """The exit code, the lines and the complaint of the runner."""
    ran = subprocess.run([sys.executable, str(RUNNER), *command], capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stdout.splitlines(), ran.stderr


def test_our_rules_pass_in_every_row() -> None:
    """Our own rules give every verdict, code and stored spelling of the table, through the runner too."""
    code, lines, _ = run("--codes", "--strict", *OURS)

    assert (code, len(lines)) == (0, 1)
    rows = sum(map(len, CASES.values())) + len(CASES["addresses"])
    assert lines[0] == f"{rows} questions: 0 LET THROUGH, 0 refused, 0 differs"


def test_what_lets_through_fails_by_name() -> None:
    """A checker built on `is_global` fails, and its holes are named."""
    code, lines, _ = run(sys.executable, "-c", NAIVE)
    holes = {line[13:25].strip() for line in lines if line.startswith("LET THROUGH")}

    assert code == 1
    # Newer versions of Python know more: these holes they all have.
    assert {"I14", "I29", "U33"} <= holes
    assert "I1" not in holes


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_refusing_more_is_told_and_no_danger(strict: tuple[str, ...], code: int) -> None:
    """A checker that refuses everything lets nothing through; that it refuses too much fails on request."""
    ended, lines, _ = run(*strict, sys.executable, "-c", REFUSES_ALL)

    assert ended == code
    assert any(line.startswith("refused") for line in lines)


def test_a_silent_command_is_no_pass() -> None:
    """A command that answers nothing is a failure of its own kind."""
    code, _, complaint = run(sys.executable, "-c", SILENT)

    assert code == 2
    assert "0 answers" in complaint


def test_a_command_that_fails_is_heard() -> None:
    """What a command said before it failed is told: its exit code alone helps nobody."""
    code, _, complaint = run(sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit('no rules here')")

    assert code == 2
    assert complaint.startswith("the command did not answer: ")
    assert complaint.splitlines()[-1] == "no rules here"


def test_the_runner_needs_nothing_of_ours(tmp_path: Path) -> None:
    """The two files work alone, for those who take no more than them."""
    for name in ("check_addresses.py", "address_cases.json"):
        (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
    argv = [sys.executable, "-I", str(tmp_path / "check_addresses.py"), sys.executable, "-c", REFUSES_ALL]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)

    assert ran.returncode == 0
