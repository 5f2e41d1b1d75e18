# SPDX-License-Identifier: Apache-2.0
"""The commands around webhooks: `listen` follows the events from behind any firewall and forwards them."""

import json
import os
import re
import signal
import sys
import unicodedata
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.reaching import Data, Key, Url, reach

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from services.cli.client import Refused
    from services.cli.event_stream import Event, EventSource
    from services.cli.forwarding import Forwarded, Forwarder

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Work with webhooks.")

# ECMA-48: control sequences, strings such as a window's title, and two-byte escapes.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
# What reorders the text around it, and so can make a line say what it does not.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029" + "".join(sorted(_REORDERING)) + "]")
_COLOURS = {
    "city": "cyan",
    "practice": "green",
    "need": "yellow",
    "suggestion": "magenta",
    "introduction": "magenta",
    "visit": "magenta",
    "matching_round": "blue",
}

EXAMPLES = """
Follow the events of the house and print one line for each.

It asks and is never called: no open port, no tunnel, no public address. What happens while the connection
is broken comes when it is back, each event once.

\b
Watch what happens from now on, on the machine that runs `twinning up`:
    twinning webhooks listen
Hand everything to the program that you are writing, signed as a webhook is:
    twinning webhooks listen --forward http://localhost:3000/twinning
Only suggestions, from the oldest the house still has (30 days), for a script:
    twinning webhooks listen --types 'suggestion.*' --after oldest --format jsonl
From elsewhere, with a key of your own:
    ASEM_KEY=asem_… twinning webhooks listen --url https://twinning.example.org

Your program verifies with the secret that is printed at the start, as docs/webhooks.md shows, and answers
2xx. What it does not take is tried four times within eight seconds, told, and left; `--after` with the id
printed at the end goes on there. Ctrl-C ends it: 0 when all was taken, else 1.
"""


class ListenFormat(StrEnum):
    """How events are printed."""

    LINE = "line"
    JSONL = "jsonl"


@app.callback()
def _group() -> None:
    """Work with webhooks."""


@app.command(help=EXAMPLES)
def listen(
    forward: Annotated[
        str | None, typer.Option(help="Post each event, signed, to this address.", metavar="URL")
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(help="Event types: names, `suggestion.*`, commas between; may be repeated."),
    ] = None,
    after: Annotated[
        str, typer.Option(help="Begin after the event with this id, with `latest`, or with the `oldest`.")
    ] = "latest",
    secret: Annotated[
        str | None,
        typer.Option(help="The secret that signs (whsec_…); without it a new one, printed at the start."),
    ] = None,
    format_: Annotated[
        ListenFormat, typer.Option("--format", help="A line for people, or JSON Lines for programs.")
    ] = ListenFormat.LINE,
    url: Url = None,
    key: Key = None,
    data: Data = None,
) -> None:
    """Follow the events, print them, and forward them; see `EXAMPLES`."""
    from rich.console import Console

    from services.cli.client import Refused
    from services.cli.event_stream import EventSource
    from services.cli.forwarding import Forwarder, NoAddress
    from twinning.signing import SecretMalformed, new_secret

    if secret is not None and forward is None:
        raise typer.BadParameter("--secret signs what --forward sends; give both or neither")
    client = reach(url, key, data)
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    forwarder = None
    if forward is not None:
        signing_secret = secret or new_secret()
        try:
            forwarder = Forwarder(forward, signing_secret)
        except (NoAddress, SecretMalformed) as error:
            raise typer.BadParameter(str(error)) from None
        if secret is None:
            notes.print(f"forwarding to {plain(forward)}, signed with {signing_secret}", markup=False)
    source = EventSource(
        client, types or (), after, lambda note: notes.print(plain(note), style="dim", markup=False)
    )
    try:
        raise typer.Exit(Listener(source, forwarder, format_, notes).run())
    except Refused as refused:
        if refused.status != 422:
            raise
        raise typer.BadParameter(_by_option(refused)) from None


def _by_option(refused: "Refused") -> str:
    """Say what is wrong with the options, by the names that they have here."""
    told = (f"--{where.removeprefix('/query/')}: {reason}" for where, reason in refused.flaws)
    return "; ".join(told) or str(refused)


class Listener:
    """Prints and forwards what a source gives, and counts it, until Ctrl-C or SIGTERM."""

    def __init__(
        self, source: "EventSource", forwarder: "Forwarder | None", format_: ListenFormat, notes: "Console"
    ) -> None:
        from rich.console import Console

        self._source = source
        self._forwarder = forwarder
        self._print = _print_json if format_ is ListenFormat.JSONL else _liner(Console(soft_wrap=True))
        self._notes = notes
        self._heard = self._left = 0
        # The place before the first event that the program did not take.
        self._before_left: str | None = None
        self._midway = self._ended = False

    def run(self) -> int:
        """Listen until told to stop; gives the exit code."""
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._interrupt)
        try:
            for event in self._source:
                outcome = None if self._forwarder is None else self._forwarder.forward(event)
                self._heard += 1
                if outcome is not None and not outcome.taken:
                    self._left += 1
                    self._before_left = self._before_left or self._source.after
                self._midway = True
                self._print(event, outcome)
                self._source.passed(event)
                self._midway = False
                if self._ended:
                    break
            self._say_goodbye()
        except KeyboardInterrupt:
            self._say_goodbye()
        except BrokenPipeError:
            # Whoever read the lines has had enough; the interpreter's last flush must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1 if self._left else 0

    def _interrupt(self, _number: int, _frame: object) -> None:
        """End at once, or when the event that is being written has been, lest it is told of as not heard.

        Whoever does not read what is written asks a second time.
        """
        if not self._midway or self._ended:
            raise KeyboardInterrupt
        self._ended = True

    def _say_goodbye(self) -> None:
        left = f", {self._left} not taken" if self._left else ""
        after = self._before_left or self._source.after
        on = f"; go on with --after {plain(after)}" if after and after != "latest" else ""
        self._notes.print(f"{self._heard} events{left}{on}", style="dim", markup=False)


def plain(text: str) -> str:
    """Take out of a text what a terminal would obey, and what would reorder a line."""
    kept = _ESCAPES.sub("", text)
    return "".join(
        " " if character in "\t\n\r\u2028\u2029" else character
        for character in kept
        if character in "\t\n\r\u2028\u2029"
        or (character not in _REORDERING and unicodedata.category(character) not in {"Cc", "Cs"})
    )


def gist(data: dict[str, Any]) -> str:
    """Say in a few words what an event is about."""
    names = " + ".join(city["name"] for city in data.get("cities", ()) if isinstance(city, dict))
    first = names or data.get("name") or data.get("title") or data.get("message") or data.get("kind") or ""
    score = f"{data['score']:.1f}" if isinstance(data.get("score"), float) else ""
    rest: Sequence[Any] = (
        data.get("country"),
        score,
        data.get("band"),
        data.get("status") or data.get("state"),
    )
    return "  ".join([plain(str(first)), *(plain(str(each)) for each in rest if each)])


def _print_json(event: "Event", outcome: "Forwarded | None") -> None:
    """Print an event as the feed gives it, and what became of it, safe on a terminal, too."""
    row = {"id": event.id, "type": event.type, "timestamp": event.timestamp, "data": event.data}
    if outcome is not None:
        from services.cli.forwarding import shown

        row["forwarded"] = shown(outcome)
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    print(_UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", text), flush=True)


def _liner(console: "Console") -> Callable[["Event", "Forwarded | None"], None]:
    """Make what prints an event as one line, in colour on a terminal."""

    def print_line(event: "Event", outcome: "Forwarded | None") -> None:
        with console.capture() as written:
            console.print(line(event, outcome))
        print(written.get(), end="", flush=True)

    return print_line


def line(event: "Event", outcome: "Forwarded | None") -> "Text":
    """Write an event as one line: when, what, about whom, its id, and what the program answered."""
    from rich.text import Text

    colour = _COLOURS.get(event.type.split(".", 1)[0], "white")
    parts = [
        (plain(event.timestamp[11:19]), "dim"),
        (f"  {plain(event.type):<24}", colour),
        (f"  {gist(event.data)}", ""),
        (f"  {plain(event.id)}", "dim"),
    ]
    if outcome is not None:
        answer = str(outcome.status) if outcome.status else plain(outcome.error or "no answer")
        tries = f" after {outcome.attempts} attempts" if outcome.attempts > 1 else f" ({outcome.ms:g} ms)"
        parts.append((f"  → {answer}{tries}", "green" if outcome.taken else "bold red"))
    return Text.assemble(*parts)
