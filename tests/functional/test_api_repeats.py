# SPDX-License-Identifier: Apache-2.0
"""The rules of what is said of a new listing: another of the city says the same; it is about this."""

from typing import Any

import pytest
from sqlmodel import select

from services.matcher.matching import Matcher
from tests.company import WRITERS, together
from tests.factories import Door, need, practice
from twinning import repeats
from twinning.listings import Listing, marks_of
from twinning.reference import THEMES
from twinning.repeats import ListingMark

TEXT = (
    "Volunteers lead weekly reading circles for adults who read little. Libraries open late, and each circle "
    "chooses its own books. A coordinator of the library trains the volunteers and visits each circle twice."
)
SLIGHTLY = TEXT.replace("weekly", "monthly").replace("twice", "often")
OTHER = "Rain gardens at schools teach pupils about floods; parents dig with them on Saturdays in the spring."


def _post(door: Door, city: str, kind: str, wanted: dict[str, Any]) -> Any:
    return door.client.post(f"/v1/cities/{city}/{kind}", json=wanted, headers=door.staff)


@pytest.mark.parametrize(("kind", "make"), [("practices", practice), ("needs", need)])
def test_nearly_the_same_is_warned_of(front: Door, kind: str, make: Any) -> None:
    """The answer names the first; the second is registered all the same, and reading it shows no warning."""
    city = front.city()["id"]
    first = _post(front, city, kind, make(title="Reading circles", description=TEXT))
    again = _post(front, city, kind, make(title="Circles for reading", description=SLIGHTLY))
    told = again.json().pop("warnings")
    read = front.client.get(again.headers["location"], headers=front.staff)

    assert "warnings" not in first.json()
    assert again.status_code == 201
    assert [(each["code"], each["listing"]) for each in told] == [
        ("nearly-the-same", {"id": first.json()["id"], "title": "Reading circles"})
    ]
    assert "warnings" not in read.json()


def test_those_who_come_together_are_told_of_each_other(front: Door) -> None:
    """Of writes that share a transaction, not written yet, each but the first is told of another."""
    city = front.city()["id"]
    answers = together(
        front,
        lambda number: _post(front, city, "practices", practice(title=f"Circles {number}", description=TEXT)),
    )
    warnings = [answer.json().get("warnings", []) for answer in answers]

    assert {answer.status_code for answer in answers} == {201}
    assert sorted(map(len, warnings)) == sorted(
        [*range(repeats.MOST), *[repeats.MOST] * (WRITERS - repeats.MOST)]
    )


def test_what_is_rewritten_in_company_bears_its_last_words(front: Door) -> None:
    """Of those who rewrite one listing in one transaction the last one's words are marked, and no others."""
    city = front.city()["id"]
    path = f"/v1/cities/{city}/practices/own"

    def put(number: int) -> Any:
        # No two words of one are another's.
        wanted = practice(description=" ".join(f"{number}x{place}" for place in range(60)))
        return front.client.put(path, json=wanted, headers=front.staff)

    put(WRITERS)
    answers = together(front, put)

    assert {answer.status_code for answer in answers} == {200}
    with front.database.snapshot() as session:
        [listing] = session.exec(select(Listing)).all()
        assert {*session.exec(select(ListingMark.mark))} == {*marks_of(listing)}


def test_what_was_marked_by_other_rules_can_be_rewritten(front: Door) -> None:
    """A mark that is there, though the former words do not tell of it, stands in nobody's way."""
    city = front.city()["id"]
    mine = front.practice(city, title="Circles", description=TEXT)["id"]
    with front.database.transaction() as session:
        listing = session.get_one(Listing, mine)
        later = listing.model_copy(update={"description": OTHER})
        session.add(ListingMark(mark=marks_of(later)[0], listing_id=mine))
    path = f"/v1/practices/{mine}"
    answer = front.client.patch(path, json={"description": OTHER}, headers=front.staff)

    assert answer.status_code == 200, answer.text
    with front.database.snapshot() as session:
        assert {*session.exec(select(ListingMark.mark))} == {*marks_of(session.get_one(Listing, mine))}


def test_other_words_other_cities_and_the_other_kind_are_no_repeat(front: Door) -> None:
    """Nothing is said of another text, of another city's, of a need that says what a practice does."""
    city, other = front.city()["id"], front.city("Suwon", "KR")["id"]
    _post(front, city, "practices", practice(title="Reading circles", description=TEXT))
    answers = [
        _post(front, city, "practices", practice(title="Rain gardens", description=OTHER)),
        _post(front, other, "practices", practice(title="Reading circles", description=TEXT)),
        _post(front, city, "needs", need(title="Reading circles", description=TEXT)),
    ]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert all("warnings" not in answer.json() for answer in answers)


def test_put_warns_of_new_words_alone(front: Door) -> None:
    """A reference that gets another's words is warned of once, not each night; what has gone is no repeat."""
    city = front.city()["id"]
    first = _post(front, city, "practices", practice(title="Reading circles", description=TEXT)).json()

    def put(**fields: Any) -> Any:
        path = f"/v1/cities/{city}/practices/own"
        return front.client.put(path, json=practice(**fields), headers=front.staff).json()

    as_new = put(title="Reading circles", description=TEXT)
    again = put(title="Reading circles", description=TEXT)
    away = put(title="Rain gardens", description=OTHER)
    back = put(title="Reading circles", description=TEXT)
    front.client.delete(f"/v1/practices/{first['id']}", headers=front.staff)
    put(title="Rain gardens", description=OTHER)
    alone = put(title="Reading circles", description=TEXT)

    warned = ["warnings" in answer for answer in (as_new, again, away, back, alone)]
    assert warned == [True, False, False, True, False]


def test_no_practice_of_the_demo_repeats_another(shared: Door) -> None:
    """What eighteen cities wrote in full is never taken for a repeat, were it all of one city."""
    from services.cli.demo_data import load

    entries = load().practices
    texts = [f"{entry.fields['title']}\n{entry.fields['description']}" for entry in entries]

    assert not any(
        repeats.is_repeat(text, other) for place, text in enumerate(texts) for other in texts[:place]
    )


def test_themes_are_suggested_also_for_a_draft(front: Door) -> None:
    """A worker that has looked suggests themes from the text alone, no event and no new version."""
    city = front.city()["id"]
    wanted = practice(title="Reading circles", description=TEXT, themes=[], state="draft")
    made = _post(front, city, "practices", wanted)
    told = front.events()
    Matcher(front.database, front.settings, "m1").take()
    seen = front.client.get(made.headers["location"], headers=front.staff)
    best = seen.json()["suggested_themes"][0]

    assert made.json()["suggested_themes"] is None
    assert best["label"] == THEMES[best["theme"]].label
    assert 0 < best["score"] <= 1
    assert (seen.headers["etag"], front.events()) == ('"1"', told)


def test_no_themes_are_suggested_in_a_language_that_has_none(front: Door) -> None:
    """The words of the themes are English, so a text in another language gets an empty list."""
    city = front.city("Suwon", "KR")["id"]
    wanted = need(title="독서 모임", description="작은도서관에서 어른들이 함께 책을 읽습니다.")
    made = _post(front, city, "needs", wanted)
    Matcher(front.database, front.settings, "m1").take()

    assert front.client.get(made.headers["location"], headers=front.staff).json()["suggested_themes"] == []
