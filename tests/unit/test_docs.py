# SPDX-License-Identifier: Apache-2.0
"""The documents are held to the code: what they name exists, what they show fits, what they print runs."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from jsonschema import Draft202012Validator
from sqlmodel import SQLModel

from services.api.problems import PROBLEMS
from services.cli.main import app
from services.dispatcher.client import ErrorClass
from services.dispatcher.delivery import NOT_ECHOED
from twinning import (
    audit,
    catalogue,
    idempotency,
    imports,
    outbox,
    previews,
    replays,
    rounds,
    tallies,
    workers,
)
from twinning.events import EVENTS, EventType, schema
from twinning.settings import RETRY_SCHEDULE_S, Settings

# Importing these defines every table.
TABLES = (audit, catalogue, idempotency, imports, outbox, previews, replays, rounds, tallies, workers)
ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`|^    (\S.*)$", re.MULTILINE)
SECONDS = {"s": 1, "min": 60, "h": 3600}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [text for kind, text in BLOCK.findall(page(name)) if kind == language]


def code(text: str) -> str:
    """All that a page shows as code: in fences, between backticks, or indented."""
    fenced = [body for _, body in BLOCK.findall(text)]
    return "\n".join([*fenced, *(one or other for one, other in CODE.findall(BLOCK.sub("", text)))])


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """A link to a file of this repository finds it, and one to a heading finds the heading."""
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text)):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = path.parent / name if name else path
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_commands_exist(path: Path) -> None:
    """Every `./run X` and `twinning X` that a page shows is a command."""
    shown = code(path.read_text(encoding="utf-8"))
    doors = set(re.findall(r"^ {4}([a-z][a-z |]*)\)$", page("run"), re.MULTILINE))
    runs = {word for door in doors for word in door.split(" | ")}
    command: Any = typer.main.get_command(app)

    assert set(re.findall(r"\./run ([a-z]+)", shown)) <= runs
    assert set(re.findall(r"(?:^|[\s/])twinning ([a-z]+)", shown)) <= set(command.commands)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_settings_exist(path: Path) -> None:
    """Every `TWINNING_…` that a page shows in full is a setting, or one of the compose file's."""
    named = set(re.findall(r"TWINNING_([A-Z_]*[A-Z])", path.read_text(encoding="utf-8")))

    assert {name.lower() for name in named} <= {*Settings.model_fields, "listen"}


def test_every_setting_is_in_the_operators_table() -> None:
    """The table of docs/operations.md has a row for each setting, and none for anything else."""
    table = page("docs/operations.md").partition("\n## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[A-Z].*?) \|", table, re.MULTILINE)
    names = {name.lower() for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}

    assert names == set(Settings.model_fields)


def test_the_front_page_begins_with_what_to_do() -> None:
    """Thirty lines say what it is, how to see it, how to test it, and show one webhook."""
    first = "\n".join(page("README.md").splitlines()[:30])

    assert "./run demo" in first
    assert "./run test" in first
    assert "webhook-signature: v1," in first
    assert "apt-get install git python3-venv" in first


def test_the_order_of_the_modules_is_shown_as_it_is_held() -> None:
    """The page on architecture has the layers of `twinning` as the borders' check has them, top first."""
    contracts = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    [layers] = [one["layers"] for one in contracts if one.get("containers") == ["twinning"]]
    shown = page("docs/architecture.md").partition("\ntwinning:")[2].partition("```")[0]

    assert [" ".join(layer.split()) for layer in shown.split("→")] == layers


def test_every_table_is_described() -> None:
    """The page on architecture has each table with the tables that it points to, and no other."""
    text = page("docs/architecture.md").partition("## Tables")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*?\|([^|]*)\| `(\w+)` \|$", text, re.MULTILINE)
    keys = {
        name: {key.column.table.name for key in table.foreign_keys}
        for name, table in SQLModel.metadata.tables.items()
    }

    assert {name: set(re.findall(r"`(\w+)`", others)) for name, others, _ in rows} == keys


def test_pictures_are_small() -> None:
    """A picture weighs less than 400 kB, so that a clone stays quick."""
    pictures = [path for path in (ROOT / "docs" / "images").iterdir() if path.is_file()]

    assert pictures
    assert all(path.stat().st_size < 400_000 for path in pictures)


def test_every_event_type_is_described() -> None:
    """The table of event types has each type that is sent, in the words of its class, and no other."""
    rows = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.*) \|$", page("docs/webhooks.md"), re.MULTILINE))

    assert rows == {str(kind): event.__doc__ for kind, event in EVENTS.items()}


def test_every_event_type_has_an_example_that_fits() -> None:
    """The page shows one body of each type, and each fits the published schema."""
    shown = [json.loads(text) for text in blocks("docs/webhooks.md", "json")]

    assert [body["type"] for body in shown] == [str(kind) for kind in EVENTS]
    for body in shown:
        assert not list(Draft202012Validator(schema(EVENTS[EventType(body["type"])])).iter_errors(body))


def test_the_table_of_retries_is_the_schedule() -> None:
    """The waits and their sums on the page are those of the default setting."""
    rows = re.findall(r"^\| (\d+) \| (\d+) (s|min|h) \| (.*) \|$", page("docs/webhooks.md"), re.MULTILINE)
    waits = [int(number) * SECONDS[unit] for _, number, unit, _ in rows]
    sums = [sum(int(n) * SECONDS[unit] for n, unit in re.findall(r"(\d+) (s|min|h)", row[3])) for row in rows]

    assert waits == list(RETRY_SCHEDULE_S)
    # The five seconds of the second attempt are not worth a mention beside minutes and hours.
    assert all(0 <= sum(waits[: place + 1]) - told <= 5 for place, told in enumerate(sums))


def test_every_kind_of_failure_is_explained() -> None:
    """The page tells the meaning of each error that a log of attempts can hold."""
    told = re.findall(
        r"^\| `([a-z]+_[a-z_]+|timeout|interrupted)` \|", page("docs/webhooks.md"), re.MULTILINE
    )

    assert sorted(told) == sorted({*get_args(ErrorClass), NOT_ECHOED, "interrupted", "stale_lease"})


def test_the_shown_receiver_is_the_one_that_is_tested() -> None:
    """The Python receiver of the page is the file beside it, which the functional tests attack."""
    (shown,) = blocks("docs/webhooks.md", "python")

    assert shown == page("docs/examples/receiver.py")


def test_every_problem_is_explained() -> None:
    """The table of problems has each `type` that an answer may bear, and no other."""
    table = page("docs/api.md").partition("## What went wrong")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[a-z].*?) \| \d{3} \|", table, re.MULTILINE)

    assert sorted(name for row in rows for name in re.findall(r"`([a-z-]+)`", row)) == sorted(PROBLEMS)
