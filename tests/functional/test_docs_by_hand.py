# SPDX-License-Identifier: Apache-2.0
"""What the documents tell a reader to type is typed: the front page's story, and the ways to verify."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from services.cli.client import Client
from services.cli.throwaway import throwaway_system
from twinning import examples, signing

ROOT = Path(__file__).resolve().parent.parent.parent
BODY = json.dumps(examples.event("suggestion.created"), ensure_ascii=False).encode()


def block(name: str, language: str, holds: str) -> str:
    """The one fenced block of a page in this language that holds some words."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (one,) = [each for each in found if holds in each]
    return one


def need(*programs: str) -> None:
    """Skip where a program of the reader's is missing; nothing else of the suite needs it."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} was not found")


def cut(figure: float) -> str:
    """Write a figure as the shortened event does: two digits of many."""
    return re.sub(r"(?<=\.\d\d)\d+", "…", f"{figure!r}")


def test_the_front_pages_story_ends_as_it_says(tmp_path: Path) -> None:
    """Pasted into a shell, the story registers, waits and prints what stands below it."""
    need("sh", "curl", "python3")
    story = block("README.md", "sh", "data/staff.key")
    with throwaway_system(tmp_path, {}) as system:
        told = subprocess.run(
            ["sh", "-eu", "-c", story.replace("http://127.0.0.1:8000", system.url)],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        (found,) = Client(system.url, system.key).get("/suggestions")["items"]

    ids, end = told.stdout.splitlines()[:2], told.stdout.splitlines()[2:]
    assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for each in ids)
    # To the figures: the same words come to the same scores on every machine.
    assert "\n".join(end) == block("README.md", "text", "wants:").strip()
    shown = block("README.md", "http", "suggestion.created")
    first = found["reasons"][0]["terms"][0]
    assert f'"score":{cut(found["score"])}' in shown
    assert f'"terms":[{{"term":"{first["term"]}","contribution":{cut(first["contribution"])}}}' in shown


def test_the_shown_command_line_finds_the_signature(tmp_path: Path) -> None:
    """The three lines with openssl print what stands behind `v1,`."""
    need("sh", "openssl", "base64", "od")
    secret = signing.new_secret()
    (tmp_path / "body.json").write_bytes(BODY)
    told = subprocess.run(
        ["sh", "-eu", "-c", block("docs/webhooks.md", "sh", "openssl dgst")],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"SECRET": secret, "ID": "an-event", "TIMESTAMP": "1795383790"},
    )  # fmt: skip

    assert f"v1,{told.stdout.strip()}" == signing.sign("an-event", 1_795_383_790, BODY, [secret])


def test_the_shown_javascript_verifies(tmp_path: Path) -> None:
    """The function for Node takes what we sign, with one right signature among several, and nothing else."""
    need("node")
    secret = signing.new_secret()
    moment = int(time.time())
    good = signing.headers("an-event", moment, BODY, [signing.new_secret(), secret])
    cases = [
        (good, True),
        (good | {"webhook-id": "another"}, False),
        (good | {"webhook-signature": "v1,no"}, False),
        (good | {"webhook-timestamp": "soon"}, False),
        (signing.headers("an-event", moment - 600, BODY, [secret]), False),
    ]
    given = json.dumps([headers for headers, _ in cases])
    script = (
        block("docs/webhooks.md", "js", "function verify")
        + "const [secret, cases, body] = process.argv.slice(1);"
        + "console.log(JSON.stringify(JSON.parse(cases).map((each) => verify(secret, each, body))));"
    )
    told = subprocess.run(
        ["node", "-e", script, secret, given, BODY.decode()],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert json.loads(told.stdout) == [right for _, right in cases]
