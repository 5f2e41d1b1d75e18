# SPDX-License-Identifier: Apache-2.0
"""What a reader sees of the demo's page in a real browser: it fits, it links, it loads nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from services.cli.demo_data import Entry, load
from services.cli.page import render
from twinning.reference import region_of

pytestmark = pytest.mark.browser


def suggested(need: Entry, practice: Entry) -> dict[str, Any]:
    """A study visit between the cities of two of the demo's listings."""
    cities = {city.ref: city.fields for city in load().cities}
    parties = [
        {"city_id": entry.city_ref, "name": cities[str(entry.city_ref)]["name"], "role": role,
         "country": cities[str(entry.city_ref)]["country"],
         "region": region_of(cities[str(entry.city_ref)]["country"])}
        for entry, role in ((practice, "host"), (need, "visitor"))
    ]  # fmt: skip
    terms = [{"term": f"uncommonly-long-word-{i}", "contribution": 4.0, "related": i > 7} for i in range(10)]
    reason = {
        "need_id": need.ref, "need_title": need.fields["title"], "need_city_id": need.city_ref,
        "practice_id": practice.ref, "practice_title": practice.fields["title"],
        "practice_city_id": practice.city_ref, "score": 50.0, "band": "strong", "other": 10.0, "terms": terms,
        "themes": ["cl7"],
        "need_quote": need.fields["description"], "practice_quote": practice.fields["description"],
    }  # fmt: skip
    direction = {"learner_city_id": need.city_ref, "score": 50.0}
    return {
        "id": f"{need.ref}--{practice.ref}", "kind": "study_visit", "score": 50.0, "band": "strong",
        "cities": parties, "directions": [direction], "reasons": [reason],
    }  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the demo's own cities and texts, as a file."""
    demo = load()
    asian = [need for need in demo.needs if need.city_ref in {"suwon", "okayama", "balanga"}]
    european = [
        practice for practice in demo.practices if practice.city_ref in {"bristol", "limerick", "pecs"}
    ]
    suggestions = [suggested(need, practice) for need in asian for practice in european]
    cities = [{"id": city.ref} | city.fields for city in demo.cities]
    unmet = [{"id": need.ref, "city_id": need.city_ref} | need.fields for need in demo.needs]
    entries = {entry.ref: entry for entry in (*demo.practices, *demo.needs)}
    html = render(cities, suggestions, unmet, [{"type": "city.registered"}], "a test", entries=entries)
    file: Path = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(html, encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page that does not animate."""
    opened = browser.new_page(reduced_motion="reduce")
    yield opened
    opened.close()


@pytest.mark.parametrize("width", [360, 768, 1400])
def test_the_page_fits_its_window(page: Page, address: str, width: int) -> None:
    """Nothing but the map and the table scrolls sideways, on a phone as on a desk."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_only_the_file_itself_is_loaded(page: Page, address: str) -> None:
    """The browser asks for the page and for nothing else, and its console stays empty."""
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(address)
    assert asked == [address]
    assert said == []


def test_an_arc_and_its_suggestion_lead_to_each_other(page: Page, address: str) -> None:
    """With the keyboard alone one gets from an arc to its text, and from the text back to a thicker arc."""
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(address)
    arc = page.locator("#map a.arc").first
    name = str(arc.get_attribute("href")).removeprefix("#s-")
    line = page.locator(f"[id='arc-{name}'] .line")
    thin = line.evaluate("line => getComputedStyle(line).strokeWidth")
    arc.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("name => document.querySelector(':target')?.id === 's-' + name", arg=name)
    page.locator(f"[id='s-{name}'] .back").click()
    page.wait_for_function("name => document.querySelector(':target')?.id === 'arc-' + name", arg=name)
    page.evaluate("document.activeElement.blur()")
    assert float(line.evaluate("line => parseFloat(getComputedStyle(line).strokeWidth)")) > float(
        thin.rstrip("px")
    )


def test_names_on_the_map_can_all_be_read(page: Page, address: str) -> None:
    """No city's name covers another's."""
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(address)
    boxes = page.eval_on_selector_all(
        "#map text",
        "all => all.map(text => { const b = text.getBBox(); return [b.x, b.y, b.width, b.height] })",
    )
    assert len(boxes) == len(load().cities)
    for number, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[number + 1 :]:
            across = min(x + width, other_x + other_width) - max(x, other_x)
            down = min(y + height, other_y + other_height) - max(y, other_y)
            assert across <= 1 or down <= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper(page: Page, address: str, scheme: Any) -> None:
    """In either colour scheme the ink and the softer ink keep a contrast of 4.5 to 1 (WCAG 2.2, AA)."""
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    for selector in ("body", ".lead", ".kind", ".score span", "blockquote", "footer"):
        ink = luminance(page.eval_on_selector(selector, "element => getComputedStyle(element).color"))
        light, dark = max(ink, paper), min(ink, paper)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, selector


def luminance(colour: str) -> float:
    """The relative luminance of a computed ``rgb()`` colour, as WCAG 2.2 defines it."""
    channels = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
