# SPDX-License-Identifier: Apache-2.0
"""The rules of the demo's catalogue: real words as they were written, the rest labelled."""

import csv
from importlib.resources import files

import pytest

from services.cli.demo_data import Demo, Entry, load
from twinning.reference import COUNTRIES, THEMES, asia_and_europe, region_of

CITY_FIELDS = {"name", "country", "languages", "latitude", "longitude", "summary", "networks"}
LISTING_FIELDS = {"title", "description", "themes", "target_groups"}


@pytest.fixture
def demo() -> Demo:
    return load()


def listings(demo: Demo) -> list[Entry]:
    """Every listing that the demo registers, the late one too."""
    return [*demo.practices, *demo.needs, demo.late_practice]


def source_rows() -> list[dict[str, str]]:
    """The shipped table of the seventeen learning cities."""
    table = files("twinning") / "data" / "learning_cities_17.csv"
    return list(csv.DictReader(table.read_text("utf-8").splitlines()))


def test_all_seventeen_cities_are_there(demo: Demo) -> None:
    """Each city of the source table is in the demo under its own name and country."""
    ours = {(city.fields["name"], city.fields["country"]) for city in demo.cities}
    assert {(row["city"], row["iso2"]) for row in source_rows()} <= ours


def test_each_city_is_a_partners_and_lies_inside_the_map(demo: Demo) -> None:
    """A demo city belongs to an ASEM partner and is drawn well inside the frame of the map."""
    drawn = asia_and_europe()
    for city in demo.cities:
        assert city.fields["country"] in COUNTRIES
        x, y = drawn.place(city.fields["latitude"], city.fields["longitude"])
        assert 20 < x < drawn.width - 20, city.ref
        assert 20 < y < drawn.height - 20, city.ref


def test_entries_hold_what_the_api_accepts_and_nothing_else(demo: Demo) -> None:
    """Source and label stay beside the fields, which are fields of the HTTP objects only."""
    assert all(CITY_FIELDS - {"networks"} <= set(city.fields) <= CITY_FIELDS for city in demo.cities)
    for listing in listings(demo):
        assert {"title", "description"} <= set(listing.fields) <= LISTING_FIELDS
        assert listing.body == listing.fields | {"external_ref": listing.ref}


def test_every_ref_is_one_of_a_kind_and_every_listing_has_a_city(demo: Demo) -> None:
    """No two entries share a reference, and each listing's city is in the demo."""
    refs = [entry.ref for entry in [*demo.cities, *listings(demo)]]
    assert len(refs) == len(set(refs))
    assert {listing.city_ref for listing in listings(demo)} == {city.ref for city in demo.cities}


def test_every_theme_exists(demo: Demo) -> None:
    """Listings and the mapping carry ids of the shipped taxonomy only."""
    used = {theme for listing in listings(demo) for theme in listing.fields["themes"]}
    used |= {area.theme for area in demo.focus_areas if area.theme}
    assert used <= set(THEMES)


def test_every_entry_names_its_source_and_our_words_are_labelled(demo: Demo) -> None:
    """Each entry has a source, and each one written for the demo is labelled as illustration."""
    for entry in [*demo.cities, *listings(demo)]:
        assert entry.source
        assert entry.illustration or entry.quoted
        assert entry.illustration or "by us" not in entry.source


def test_the_three_cases_are_in_the_summarys_own_words(demo: Demo) -> None:
    """The workshop's three cases are practices of their cities and are not labelled as illustration."""
    cases = {entry.city_ref: entry for entry in demo.practices if "case study" in entry.source}
    assert set(cases) == {"cork", "balanga", "ayutthaya"}
    assert "formed in late 1950s/ early 1960s" in cases["cork"].fields["description"]
    assert "The slogan 'One Balanga'" in cases["balanga"].fields["description"]
    assert "bring people skills for jobs" in cases["ayutthaya"].fields["description"]
    assert not any(case.illustration for case in cases.values())


@pytest.mark.parametrize(("question", "answers"), [("Q1", 13), ("Q2", 12), ("Q3", 12)])
def test_each_answer_of_the_workshop_is_kept(demo: Demo, question: str, answers: int) -> None:
    """Every answer to the three questions stands, as one sentence, in some listing's description."""
    texts = [e.fields["description"] for e in listings(demo) if f"answers to {question}" in e.source]
    sentences = [part for text in texts for part in text.replace("?", ".").split(". ")]
    assert len(sentences) == answers


def test_each_focus_area_is_mapped_or_kept_as_a_need(demo: Demo) -> None:
    """Each focus area has one row with a reason; one without a theme is a need, word for word."""
    expected = [(row["city"], row[f"focus{i}"]) for row in source_rows() for i in range(1, 5)]
    assert [(area.city, area.words) for area in demo.focus_areas] == expected
    assert all(area.why for area in demo.focus_areas)
    kept = [(need.city_ref, need.fields["title"]) for need in demo.needs if "focus area" in need.source]
    assert kept == [(area.city_ref, area.words) for area in demo.focus_areas if area.theme is None]


def test_the_late_practice_comes_from_one_region_and_is_new(demo: Demo) -> None:
    """The practice registered at the end is a European city's and is not among the first ones."""
    city = next(city for city in demo.cities if city.ref == demo.late_practice.city_ref)
    assert region_of(city.fields["country"]) == "europe"
    assert demo.late_practice.kind == "practice"
    assert demo.late_practice not in demo.practices
