# SPDX-License-Identifier: Apache-2.0
"""The demo: real learning cities, two matching rounds, one more practice, and every webhook verified.

It drives the shipped system from outside, by HTTP, as a city's own program would.
"""

import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.progress import track
from rich.table import Table
from rich.text import Text

from services.cli.client import Client
from services.cli.demo_data import Demo, Entry, load
from services.cli.page import render
from services.cli.receiver import Receiver, receiver
from services.cli.throwaway import LOCAL_RECEIVERS, throwaway_system
from twinning.errors import Unready
from twinning.reference import THEMES

PAGE: Final = Path("build") / "demo.html"
PARTS: Final = "SQLite, an embedded Valkey, API, matcher, dispatcher, scheduler"
ARRIVE_S: Final = 30.0
STOP: Final = {signal.SIGINT, signal.SIGTERM}
SHOWN: Final = 6
BANDS: Final = {"strong": "bold green", "possible": "yellow", "weak": "dim"}


def run(*, keep: bool) -> int:
    """Run the demo; 0 only when all that was expected arrived and verified."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="twinning-demo-") as folder, receiver() as inbox:
        console.print("[bold]ASEM Twinning[/]: partners for learning cities, and the reasons why\n")
        begun = time.monotonic()
        # Asked to end, the demo takes its system and its folder along.
        signal.signal(signal.SIGTERM, _end)
        with ExitStack() as stack:
            with console.status("starting database, broker, API, matcher, dispatcher and scheduler …"):
                system = stack.enter_context(throwaway_system(Path(folder), LOCAL_RECEIVERS))
            _done(console, f"The system is up after {time.monotonic() - begun:.1f} s: {PARTS}")
            good = Show(console, Client(system.url, system.key), inbox, load()).play()
            if keep:
                signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
                console.print(f"\nStill running at [bold]{system.url}[/]; Ctrl-C stops it.")
                console.print(f"The staff key is {system.key}")
                signal.sigwait(STOP)
    return 0 if good else 1


class Show:
    """The demo's steps, in order; each tells what it did."""

    def __init__(self, console: Console, client: Client, inbox: Receiver, demo: Demo) -> None:
        self._console = console
        self._client = client
        self._inbox = inbox
        self._demo = demo
        self._cities: dict[str, str] = {}
        self._entries: dict[str, Entry] = {}

    def play(self) -> bool:
        """Go through all steps; gives whether every expected webhook arrived and verified."""
        self._subscribe()
        self._load()
        visits = self._round(
            "study_visit", "Study visits (one way: a host's practice answers a visitor's need)"
        )
        twins = self._round("twinning", "Twinnings (two ways: each city answers a need of the other)")
        late = self._register_one_more()
        good = self._check_webhooks() and bool(visits and twins and late)
        self._save_page(late + twins + visits)
        return good

    def _subscribe(self) -> None:
        """Have everything sent to the local receiver."""
        endpoint = self._client.post("/webhook-endpoints", {"url": self._inbox.url, "event_types": ["*"]})
        self._inbox.secret = endpoint["secret"]
        _done(self._console, f"A receiver listens at {self._inbox.url} for every event")

    def _load(self) -> None:
        """Register the cities, then what they can show and what they want to learn."""
        demo = self._demo
        entries = [*demo.cities, *demo.practices, *demo.needs]
        for entry in track(entries, "registering", console=self._console, transient=True):
            self._register(entry)
        quoted = sum(entry.quoted for entry in entries[len(demo.cities) :])
        listed = len(demo.practices) + len(demo.needs)
        _done(
            self._console,
            f"{len(demo.cities)} learning cities, {len(demo.practices)} practices and "
            f"{len(demo.needs)} needs are registered; {quoted} listings quote their sources, "
            f"{listed - quoted} are [italic]illustration[/]",
        )
        mapped = sum(area.theme is not None for area in demo.focus_areas)
        _done(
            self._console,
            f"{mapped} of {len(demo.focus_areas)} focus areas of three words are mapped to a "
            "theme of the taxonomy, the rest stay short needs (the page shows the mapping)",
        )

    def _register(self, entry: Entry) -> dict[str, Any]:
        if entry.kind == "city":
            made: dict[str, Any] = self._client.post("/cities", entry.body)
            self._cities[entry.ref] = made["id"]
        else:
            city = self._cities[str(entry.city_ref)]
            made = self._client.post(f"/cities/{city}/{entry.kind}s", entry.body)
            self._entries[made["id"]] = entry
        return made

    def _round(self, kind: str, title: str) -> list[dict[str, Any]]:
        """Run a matching round and show its best suggestions with their reasons."""
        begun = time.monotonic()
        asked = self._client.post("/matching-rounds", {"kind": kind})
        path = f"/matching-rounds/{asked['id']}"
        with self._console.status(f"a {kind.replace('_', ' ')} round is running …"):
            while (state := self._client.get(path))["state"] in {"queued", "running"}:
                if time.monotonic() - begun > ARRIVE_S:
                    raise Unready(f"the round is still {state['state']} after {ARRIVE_S:g} s")
                time.sleep(0.05)
        if state["state"] != "completed":
            raise Unready(f"the round {state['state']}: {state['error']}")
        found = self._client.every(f"{path}/suggestions")
        summary = state["summary"]
        self._console.print()
        _done(self._console, f"[bold]{title}[/]")
        self._console.print(
            f"    {len(found)} suggestions for {summary['cities']} cities; "
            f"{summary['unmet_needs']} needs that nothing answers are said to be unmet\n"
        )
        self._console.print(self._table(found[:SHOWN]))
        return found

    def _table(self, suggestions: list[dict[str, Any]]) -> Table:
        """Lay out suggestions, each with its best reason."""
        table = Table(box=None, padding=(0, 2, 1, 2), header_style="dim")
        table.add_column("score", justify="right")
        table.add_column("cities", max_width=30)
        table.add_column("why", ratio=1)
        for suggestion in suggestions:
            table.add_row(
                Text(f"{suggestion['score']:.0f}\n{suggestion['band']}", style=BANDS[suggestion["band"]]),
                _who(suggestion),
                self._why(suggestion["reasons"][0]),
            )
        return table

    def _why(self, reason: dict[str, Any]) -> Text:
        """Put a reason into words: the need, the practice, the words that matched, a sentence of each."""
        text = Text()
        for verb, side in (("wants", "need"), ("shows", "practice")):
            text.append(f"{verb} ", style="dim")
            text.append(reason[f"{side}_title"], style="bold")
            entry = self._entries.get(reason[f"{side}_id"])
            if entry is not None and entry.illustration:
                text.append("  illustration", style="italic dim")
            text.append("\n")
        own = [term for term in reason["terms"] if not term["related"]][:4]
        text.append("words  ", style="dim")
        text.append("  ".join(f"{term['term']} +{term['contribution']:.0f}" for term in own), style="cyan")
        if related := [term["term"] for term in reason["terms"] if term["related"]][:3]:
            text.append(f"   related: {', '.join(related)}", style="dim")
        if reason["themes"]:
            labels = ", ".join(THEMES[theme].label for theme in reason["themes"][:2])
            text.append(f"\nboth about  {labels}", style="dim")
        return text

    def _register_one_more(self) -> list[dict[str, Any]]:
        """Register one more practice and wait for the suggestions that follow from it."""
        entry = self._demo.late_practice
        begun = time.monotonic()
        practice = self._register(entry)
        found = self._wait_for_suggestions_of(practice["id"])
        took = (time.monotonic() - begun) * 1000
        self._console.print()
        if not found:
            _failed(self._console, f"No suggestion followed from “{entry.fields['title']}”")
            return []
        city = self._client.get(f"/cities/{practice['city_id']}")["name"]
        _done(self._console, f"[bold]{city} registers one more practice:[/] {entry.fields['title']}")
        self._console.print(
            f"    {took:.0f} ms later the webhooks of {len(found)} suggestions have arrived\n"
        )
        self._console.print(self._table(found))
        return found

    def _wait_for_suggestions_of(self, practice_id: str) -> list[dict[str, Any]]:
        """Wait for the webhooks of suggestions that rest on a practice; best first."""
        inbox = self._inbox

        def found() -> list[dict[str, Any]]:
            told = [event["data"] for event in inbox.events.values() if event["type"] == "suggestion.created"]
            new = [each for each in told if any(why["practice_id"] == practice_id for why in each["reasons"])]
            return sorted(new, key=lambda each: -each["score"])

        with inbox.changed:
            inbox.changed.wait_for(lambda: bool(found()) or bool(inbox.refused), ARRIVE_S)
        # They were made in one transaction: with one of them here, the feed has all.
        inbox.wait_for({event["id"] for event in self._feed()}, ARRIVE_S)
        return found()

    def _check_webhooks(self) -> bool:
        """Compare what has arrived and verified with the feed of all events."""
        expected = {event["id"]: event["type"] for event in self._feed()}
        missing = self._inbox.wait_for(set(expected), ARRIVE_S)
        verified = len(self._inbox.events)
        self._console.print()
        for refused in self._inbox.refused:
            _failed(self._console, f"did not verify: {refused}")
        for event_id in sorted(missing):
            _failed(self._console, f"never arrived: {expected[event_id]} {event_id}")
        if missing or self._inbox.refused:
            return False
        _done(
            self._console,
            f"[bold]All {verified} webhooks arrived and verified[/] with the independent "
            "standardwebhooks library",
        )
        return True

    def _feed(self) -> list[dict[str, Any]]:
        """Read every event from the feed, which shows the same ids as the webhooks."""
        events: list[dict[str, Any]] = []
        while True:
            after = f"&after={events[-1]['id']}" if events else ""
            page: list[dict[str, Any]] = self._client.get(f"/events?limit=200&wait=0{after}")["items"]
            if not page:
                return events
            events += page

    def _save_page(self, suggestions: list[dict[str, Any]]) -> None:
        """Save the map and the suggestions as one page."""
        cities = self._client.every("/cities")
        unmet = self._client.every("/needs?unmet=true")
        once = {suggestion["id"]: suggestion for suggestion in suggestions}
        html = render(
            cities,
            list(once.values()),
            unmet,
            list(self._inbox.events.values()),
            "A demonstration on real learning cities",
            entries=self._entries,
        )
        path = PAGE.absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
        self._console.print()
        self._console.print(
            Panel.fit(f"The map and every suggestion: [bold cyan]{path.as_uri()}[/]", border_style="green"),
            soft_wrap=True,
        )


def _end(*_: object) -> None:
    raise SystemExit(1)


def _who(suggestion: dict[str, Any]) -> Text:
    """Name the cities and what each does."""
    text = Text()
    for city in suggestion["cities"]:
        text.append(f"{city['name']}", style="bold")
        text.append(f" {city['country']} {city['role']}\n", style="dim")
    return text


def _done(console: Console, what: str) -> None:
    console.print(f"[green]✓[/] {what}")


def _failed(console: Console, what: str) -> None:
    console.print(f"[bold red]✗[/] {what}")
