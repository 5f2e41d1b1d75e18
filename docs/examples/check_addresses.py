# SPDX-License-Identifier: Apache-2.0
"""Tries a sender of webhooks on address_cases.json: where it would go, and where it must not.

    python check_addresses.py [--codes] [--strict] COMMAND…

COMMAND is started once and asked one question a line on its standard input, in JSON; it answers each with
one line of JSON. This file needs Python and nothing else; the command may be in any language.

    {"id": "U16", "kind": "url", "url": "https://h.example.org@127.0.0.1/", …}
    {"id": "I14", "kind": "address", "address": "168.63.129.16", …}
    {"id": "U45a", "kind": "lookup", "name": "m.example.org", "answers": ["93.184.215.14", "127.0.0.1"], …}

A `url` is what somebody registers, an `address` one that a look-up gave, a `lookup` all that one gave.
Each has `"allow_cidrs": []` and `"allow_http": false` besides: what an operator has opened. The answer
is `{"allowed": true}` or false, with `"code"` (why not) and `"stored"` (how the URL is kept) for those
who want these judged by --codes too.

What lets through anything that is to be refused fails. What refuses more than it must is told, and fails
with --strict only: a sender may well want IP literals, or port 8080, and this table does not.
Exit 0 when all is well, 1 when not, 2 when the command does not answer.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CASES = Path(__file__).with_name("address_cases.json")
KINDS = {
    "urls": "url",
    "opened_urls": "url",
    "addresses": "address",
    "opened_addresses": "address",
    "lookups": "lookup",
}


def questions() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Give each question with the answer that is right."""
    for section, rows in json.loads(CASES.read_text("utf-8")).items():
        for row in rows:
            yield question(row, KINDS[section]), answer(row)
            if section == "addresses":
                yield (
                    literal(row["address"], row["id"]),
                    {"allowed": False, "code": "url-ip-literal-forbidden"},
                )


def question(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """Ask about a row."""
    given = {name: row[name] for name in ("url", "address", "name", "answers") if name in row}
    opened = {"allow_cidrs": row.get("allow_cidrs", []), "allow_http": row.get("allow_http", False)}
    return {"id": row["id"], "kind": kind, **given, **opened}


def literal(address: str, case: str) -> dict[str, Any]:
    """Ask about a URL that names an address itself."""
    host = f"[{address}]" if ":" in address else address
    return question({"id": f"{case} as a URL", "url": f"https://{host}/"}, "url")


def answer(row: dict[str, Any]) -> dict[str, Any]:
    """Give the right answer to a row."""
    if "refused" in row:
        return {"allowed": False, "code": row["refused"]}
    right = {"allowed": row.get("allowed", True)}
    return right | ({"stored": row["stored"]} if "stored" in row else {})


def main() -> int:
    """Ask everything, print what differs, and give the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codes", action="store_true", help="judge `code` and `stored` as well")
    parser.add_argument("--strict", action="store_true", help="refusing more than one must is wrong, too")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    if not asked.command:
        parser.error("name the command to be tried")
    cases = list(questions())
    lines = "".join(json.dumps(question) + "\n" for question, _ in cases)
    try:
        ran = subprocess.run(
            asked.command, input=lines, capture_output=True, text=True, check=True, timeout=120
        )
        given = [json.loads(line) for line in ran.stdout.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        # Why a command failed is what it said itself, and the last of it as a rule.
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
        print(f"the command did not answer: {error}\n{said[-2000:]}".rstrip(), file=sys.stderr)
        return 2
    if len(given) != len(cases):
        print(f"the command gave {len(given)} answers to {len(cases)} questions", file=sys.stderr)
        return 2
    counts = {"LET THROUGH": 0, "refused": 0, "differs": 0}
    for (question, right), answered in zip(cases, given, strict=True):
        verdict = judge(right, answered, codes=asked.codes)
        if verdict:
            counts[verdict] += 1
            print(f"{verdict:12} {question['id']:12} {json.dumps(question)[:160]}")
    print(f"{len(cases)} questions: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return int(bool(counts["LET THROUGH"] or counts["differs"] or (asked.strict and counts["refused"])))


def judge(right: dict[str, Any], given: dict[str, Any], *, codes: bool) -> str:
    """Say what is wrong with an answer; nothing when it is right."""
    if given.get("allowed") is not right["allowed"]:
        return "refused" if right["allowed"] else "LET THROUGH"
    if codes and any(given.get(name) != right[name] for name in ("code", "stored") if name in right):
        return "differs"
    return ""


if __name__ == "__main__":
    sys.exit(main())
