# SPDX-License-Identifier: Apache-2.0
"""Write the one page that the demo ends with: the map of the suggested pairs and the words that matched.

The page is a single HTML document without scripts that loads nothing, so that it can be mailed, printed and
opened years later. Everything in it comes from the answers of the HTTP interface, as plain dictionaries.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.cli.demo_data import Entry, load
from services.cli.drawing import draw
from twinning.reference import COUNTRIES, THEMES

KINDS = {"twinning": "Twinning", "study_visit": "Study visit", "seminar": "Seminar"}
REGIONS = {"asia": "Asia", "europe": "Europe"}


def render(
    cities: Sequence[Mapping[str, Any]],
    suggestions: Iterable[Mapping[str, Any]],
    needs_unmet: Iterable[Mapping[str, Any]],
    events: Iterable[Mapping[str, Any]],
    generated_for: str,
    *,
    entries: Mapping[str, Entry] | None = None,
) -> str:
    """The page as HTML, from objects in the shapes of the HTTP interface.

    ``events`` are the webhooks that arrived and were verified; ``generated_for`` stands over the title.
    ``entries`` names, by the id of a listing, the demo's entry that it was made from: its source and whether
    it is an illustration. A listing that is not named there bears no label.
    """
    known = entries or {}
    ordered = sorted(suggestions, key=lambda suggestion: -suggestion["score"])
    names = {city["id"]: city["name"] for city in cities}
    drawing = draw(cities, ordered)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            generated_for=generated_for,
            cities=cities,
            map=drawing,
            mapped={arc.anchor for arc in drawing.arcs},
            suggestions=[_suggestion(suggestion, known) for suggestion in ordered],
            kinds=_kinds(ordered),
            needs=[_need(need, names, known) for need in needs_unmet],
            events=sorted(Counter(event["type"] for event in events).items()),
            focus_areas=load().focus_areas,
            themes=THEMES,
        )
    )


@cache
def _environment() -> Environment:
    """The templates beside this module; every value is escaped, and a missing one is an error."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _kinds(suggestions: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Each kind that occurs, its label and how often, twinnings first."""
    counts = Counter(suggestion["kind"] for suggestion in suggestions)
    return [(kind, label, counts[kind]) for kind, label in KINDS.items() if counts[kind]]


def _suggestion(suggestion: Mapping[str, Any], entries: Mapping[str, Entry]) -> dict[str, Any]:
    """One suggestion as the template shows it: heading, cities, and each direction with its reasons."""
    names = {city["city_id"]: city["name"] for city in suggestion["cities"]}
    return {
        "id": suggestion["id"],
        "kind": suggestion["kind"],
        "label": KINDS[suggestion["kind"]],
        "heading": _heading(suggestion),
        "score": suggestion["score"],
        "band": suggestion["band"],
        "cities": [_city(city) for city in suggestion["cities"]],
        "directions": [
            {
                "learner": names[direction["learner_city_id"]],
                "score": direction["score"],
                "reasons": [
                    _reason(reason, names, entries)
                    for reason in sorted(suggestion["reasons"], key=lambda reason: -reason["score"])
                    if reason["need_city_id"] == direction["learner_city_id"]
                ],
            }
            for direction in suggestion["directions"]
        ],
    }


def _heading(suggestion: Mapping[str, Any]) -> str:
    """Who does what with whom, in a few words."""
    by_role = {city["role"]: city["name"] for city in suggestion["cities"]}
    if suggestion["kind"] == "study_visit":
        return f"{by_role['visitor']} visits {by_role['host']}"
    *others, last = [city["name"] for city in suggestion["cities"]]
    return f"{', '.join(others)} and {last}"


def _city(city: Mapping[str, Any]) -> dict[str, str]:
    """A city of a suggestion with the names of its country and region."""
    country = COUNTRIES.get(city["country"])
    return {
        "name": city["name"],
        "country": country.name if country else city["country"],
        "region": REGIONS[city["region"]],
        "role": city["role"],
    }


def _reason(
    reason: Mapping[str, Any], names: Mapping[str, str], entries: Mapping[str, Entry]
) -> dict[str, Any]:
    """One need with the practice that answers it, and their words, each with a weight from 0 to 1."""
    heaviest = max((term["contribution"] for term in reason["terms"]), default=0) or 1
    words = [dict(term, weight=round(term["contribution"] / heaviest, 2)) for term in reason["terms"]]
    return {
        "score": reason["score"],
        "band": reason["band"],
        "sides": [
            _side(side, reason, names, entries) for side in (("need", "looks for"), ("practice", "can show"))
        ],
        "words": [word for word in words if not word["related"]],
        "related": [word for word in words if word["related"]],
        "other": reason["other"],
        "themes": [THEMES[theme] for theme in reason["themes"] if theme in THEMES],
    }


def _side(
    side: tuple[str, str],
    reason: Mapping[str, Any],
    names: Mapping[str, str],
    entries: Mapping[str, Entry],
) -> dict[str, Any]:
    """The need's or the practice's half of a reason: whose it is, its title, its quote, its source."""
    kind, verb = side
    return {
        "kind": kind,
        "city": names.get(reason[f"{kind}_city_id"], ""),
        "verb": verb,
        "title": reason[f"{kind}_title"],
        "quote": reason[f"{kind}_quote"],
        "entry": entries.get(reason[f"{kind}_id"]),
    }


def _need(need: Mapping[str, Any], names: Mapping[str, str], entries: Mapping[str, Entry]) -> dict[str, Any]:
    """A need that nothing answers, with its city's name."""
    return {
        "title": need["title"],
        "text": need["description"].removeprefix(f"{need['title']}.").strip(),
        "city": names.get(need["city_id"], ""),
        "entry": entries.get(need["id"]),
    }
