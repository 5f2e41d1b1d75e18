# SPDX-License-Identifier: Apache-2.0
"""The rules of the demo's page: every pair drawn, every word shown, nothing loaded, nothing injected."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from services.cli.demo_data import Entry
from services.cli.drawing import LETTER, draw, pairs
from services.cli.page import render

HOSTILE = '<script>alert("x")</script>'

CITIES: list[dict[str, Any]] = [
    {"id": "suwon", "name": "Suwon", "country": "KR", "latitude": 37.29, "longitude": 127.01},
    {"id": "limerick", "name": "Limerick", "country": "IE", "latitude": 52.66, "longitude": -8.62},
    {"id": "melton", "name": "Melton", "country": "AU", "latitude": -37.68, "longitude": 144.59},
]


def party(city_id: str, role: str) -> dict[str, Any]:
    """A city as a suggestion names it."""
    city = next(city for city in CITIES if city["id"] == city_id)
    region = "europe" if city_id == "limerick" else "asia"
    return {
        "city_id": city_id,
        "name": city["name"],
        "country": city["country"],
        "region": region,
        "role": role,
    }


def reason(learner: str, teacher: str, **changes: Any) -> dict[str, Any]:
    """A reason with one word of the need's own and one related word."""
    return {
        "need_id": f"need-{learner}",
        "need_title": f"Wish of {learner}",
        "need_city_id": learner,
        "practice_id": f"practice-{teacher}",
        "practice_title": f"Practice of {teacher}",
        "practice_city_id": teacher,
        "score": 64.0,
        "band": "strong",
        "terms": [
            {"term": "literacy", "contribution": 40.1, "related": False},
            {"term": "reading", "contribution": 20.7, "related": True},
        ],
        "other": 3.2,
        "themes": ["cl7"],
        "need_quote": f"{learner} wants to read.",
        "practice_quote": f"{teacher} reads.",
    } | changes


def visit(visitor: str = "suwon", host: str = "limerick", score: float = 64.0) -> dict[str, Any]:
    """A study visit of one city to another."""
    return {
        "id": f"{visitor}-{host}",
        "kind": "study_visit",
        "score": score,
        "band": "strong",
        "cities": [party(host, "host"), party(visitor, "visitor")],
        "directions": [{"learner_city_id": visitor, "score": score}],
        "reasons": [reason(visitor, host)],
    }


def twinning() -> dict[str, Any]:
    """A twinning with a reason in each direction."""
    return {
        "id": "twins",
        "kind": "twinning",
        "score": 71.4,
        "band": "strong",
        "cities": [party("suwon", "partner"), party("limerick", "partner")],
        "directions": [
            {"learner_city_id": "suwon", "score": 74.0},
            {"learner_city_id": "limerick", "score": 69.0},
        ],
        "reasons": [reason("suwon", "limerick"), reason("limerick", "suwon")],
    }


def page(suggestions: list[dict[str, Any]], **changes: Any) -> str:
    """The page of these suggestions, without open needs and events unless given."""
    given: dict[str, Any] = {"cities": CITIES, "needs_unmet": [], "events": [], "generated_for": "a test"}
    return render(suggestions=suggestions, **(given | changes))


class Outline(HTMLParser):
    """Collects a page's element ids, its links and the attributes that could load something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name in {"src", "srcset", "action", "data", "poster", "xlink:href"} or name.startswith("on"):
                self.loads.append(f"{tag} {name}")


def test_each_suggestion_is_drawn_and_written_and_both_link_to_each_other() -> None:
    """Every suggestion has an arc that leads to its text and a text that leads to its arc."""
    outline = Outline(page([visit(), visit("limerick", "melton"), twinning()]))
    for name in ("suwon-limerick", "limerick-melton", "twins"):
        assert {f"s-{name}", f"arc-{name}"} <= set(outline.ids)
        assert {f"#s-{name}", f"#arc-{name}"} <= set(outline.links)


def test_ids_are_unique_and_every_link_stays_on_the_page() -> None:
    """No two elements share an id, and each link leads to one of them."""
    outline = Outline(page([visit(), visit("limerick", "melton"), twinning()]))
    assert len(outline.ids) == len(set(outline.ids))
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)


def test_the_page_loads_nothing() -> None:
    """There is no script, no image, no style sheet and no address of another host in what a browser loads."""
    html = page([visit(), twinning()])
    outline = Outline(html)
    assert not outline.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "image"}
    assert outline.loads == []
    assert not re.search(r"url\(|@import|https?://", html)


@pytest.mark.parametrize(
    "field", ["name", "need_title", "need_quote", "practice_title", "term", "unmet", "for"]
)
def test_hostile_text_is_shown_and_not_run(field: str) -> None:
    """A text that looks like HTML appears as that text wherever it comes from."""
    suggestion = visit()
    cities = [dict(city) for city in CITIES]
    unmet, generated_for = [], "a test"
    if field == "name":
        cities[0]["name"] = suggestion["cities"][1]["name"] = HOSTILE
    elif field == "term":
        suggestion["reasons"][0]["terms"][0]["term"] = HOSTILE
    elif field == "unmet":
        unmet = [{"id": "n", "city_id": "suwon", "title": HOSTILE, "description": HOSTILE}]
    elif field == "for":
        generated_for = HOSTILE
    else:
        suggestion["reasons"][0][field] = HOSTILE
    html = page([suggestion], cities=cities, needs_unmet=unmet, generated_for=generated_for)
    assert "script" not in Outline(html).tags
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in html


def test_each_word_is_shown_with_what_it_adds_and_related_words_apart() -> None:
    """Contributions and the rest are all on the page, and a related word stands in a list of its own."""
    html = page([visit()])
    own, related = html.split("<dt>Words in common</dt>")[1].split("<dt>Related words</dt>")
    assert "<span>literacy</span> <b>40.1</b>" in own
    assert "<span>other words</span> <b>3.2</b>" in own
    assert "reading" not in own
    assert "<span>reading</span> <b>20.7</b>" in related
    assert "Literacy" in related


def test_a_twinning_shows_what_each_side_learns() -> None:
    """A twinning has one part for each direction, each with that learner's need."""
    html = page([twinning()])
    suwon, limerick = html.split("Suwon learns")[1].split("Limerick learns")
    assert "Wish of suwon" in suwon
    assert "Wish of limerick" in limerick
    assert "74.0" in suwon
    assert "69.0" in limerick


def test_suggestions_come_best_first() -> None:
    """The order on the page is by score, whatever order they are given in."""
    ids = Outline(page([visit(score=40), twinning(), visit("limerick", "melton", score=90)])).ids
    assert [name for name in ids if name.startswith("s-")] == [
        "s-limerick-melton",
        "s-twins",
        "s-suwon-limerick",
    ]


def entry(*, source: str, illustration: bool) -> Entry:
    """A demo entry behind the need of Suwon."""
    return Entry("need", "need-suwon", "suwon", {}, source, illustration)


def test_an_illustration_is_labelled_and_a_quoted_text_has_its_source() -> None:
    """A listing of ours bears the label; somebody else's words bear their source."""
    ours = page(
        [visit()], entries={"need-suwon": entry(source="Written for this demonstration", illustration=True)}
    )
    theirs = page([visit()], entries={"need-suwon": entry(source="A summary, 2023", illustration=False)})
    article = slice(ours.index("<article"), ours.index("</article>"))
    assert ">Illustration<" in ours[article]
    assert ">Illustration<" not in theirs[theirs.index("<article") : theirs.index("</article>")]
    assert '<p class="source">A summary, 2023</p>' in theirs


def test_open_needs_events_and_focus_areas_are_listed() -> None:
    """A need that nothing answers, each type of event with its count, and the mapping are on the page."""
    need = {"id": "n", "city_id": "melton", "title": "Funding", "description": "Funding."}
    html = page([], needs_unmet=[need], events=[{"type": "city.registered"}] * 3)
    assert "Nothing is suggested" in html
    assert '<p class="title">Funding</p></li>' in html
    assert "<code>city.registered</code> <b>3</b>" in html
    assert "Community learning centres (Kominkan)" in html
    assert "kept as a need" in html


def test_a_city_without_coordinates_is_left_off_the_map_only() -> None:
    """A pair that cannot be drawn is still written, without a link to an arc that is not there."""
    cities = [dict(CITIES[0], latitude=None, longitude=None), *CITIES[1:]]
    outline = Outline(page([visit()], cities=cities))
    assert "s-suwon-limerick" in outline.ids
    assert "arc-suwon-limerick" not in outline.ids
    assert "#arc-suwon-limerick" not in outline.links


def test_arcs_of_one_pair_do_not_cover_each_other() -> None:
    """Two suggestions between the same cities are two different lines."""
    drawing = draw(CITIES, [visit(), visit("limerick", "suwon"), twinning()])
    assert len({arc.path for arc in drawing.arcs}) == 3


def test_a_seminar_joins_its_host_with_every_other_city() -> None:
    """A seminar of three cities is drawn as two lines from its host."""
    parties = [party("suwon", "participant"), party("limerick", "host"), party("melton", "participant")]
    seminar = {"id": "s", "kind": "seminar", "score": 50.0, "cities": parties}
    assert pairs(seminar) == [("limerick", "suwon"), ("limerick", "melton")]
    assert [arc.anchor for arc in draw(CITIES, [seminar]).arcs] == ["arc-s", "arc-s-2"]


def test_names_of_near_cities_do_not_cover_each_other() -> None:
    """Neighbouring cities' names are put where each can be read."""
    near = [dict(CITIES[1], id=str(number), latitude=52 + number / 4) for number in range(5)]
    boxes = []
    for dot in draw(near, []).dots:
        width = len(dot.name) * LETTER
        left = dot.label_x - {"start": 0, "middle": width / 2, "end": width}[dot.anchor]
        boxes.append((left, left + width, dot.label_y))
    for number, (left, right, line) in enumerate(boxes):
        for other_left, other_right, other_line in boxes[number + 1 :]:
            assert right <= other_left or other_right <= left or abs(line - other_line) > 7


def test_everything_drawn_lies_in_the_view() -> None:
    """The part of the map that is shown holds every dot."""
    drawing = draw(CITIES, [visit(), visit("limerick", "melton")])
    left, top, width, height = map(int, drawing.view.split())
    for dot in drawing.dots:
        assert left < dot.x < left + width
        assert top < dot.y < top + height
