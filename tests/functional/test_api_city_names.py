# SPDX-License-Identifier: Apache-2.0
"""The rules of names and places at the front door: a city is registered once, however it is spelled."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.factories import Door


def _post(door: Door, name: str, country: str, query: str = "", **fields: Any) -> Any:
    wanted = {"name": name, "country": country, **fields}
    return door.client.post(f"/v1/cities{query}", json=wanted, headers=door.staff)


@pytest.mark.parametrize(
    ("first", "second", "country"),
    [
        ("Okayama", "Okoyama", "JP"),
        ("Ho Chi Minh City", "Saigon", "VN"),
        ("Bombay", "Mumbai", "IN"),
        ("Köln", "Cologne", "DE"),
        ("Nowhere in the table", "nowhere-in-the-TABLE", "IE"),
    ],
)
def test_a_city_under_another_spelling_is_refused(front: Door, first: str, second: str, country: str) -> None:
    """The second is a conflict that points to the first, leaves nothing behind, and goes by force."""
    there = _post(front, first, country).json()
    refused = _post(front, second, country)
    told = refused.json()
    events = front.events()
    forced = _post(front, second, country, "?force=true")

    assert (refused.status_code, told["type"].rpartition("/")[2]) == (409, "city-exists")
    assert told["existing"] == {"id": there["id"], "name": first, "location": f"/v1/cities/{there['id']}"}
    assert front.client.get(told["existing"]["location"], headers=front.staff).json()["name"] == first
    assert events == ["city.registered"]
    assert forced.status_code == 201


def test_a_name_belongs_to_its_country_and_to_who_is_there(front: Door) -> None:
    """The same name in another country is another city, and a city that has left frees its name."""
    first = _post(front, "Okayama", "JP").json()
    elsewhere = _post(front, "Okayama", "KR")
    front.client.delete(f"/v1/cities/{first['id']}", headers=front.staff)
    again = _post(front, "Okoyama", "JP")

    assert (elsewhere.status_code, again.status_code) == (201, 201)


def test_a_new_name_is_held_against_the_others(front: Door) -> None:
    """A city may mend its own name and not take another's, unless forced; nothing changes when refused."""
    okayama, other = _post(front, "Okoyama", "JP").json(), _post(front, "Kurashiki", "JP").json()
    paths = [f"/v1/cities/{city['id']}" for city in (okayama, other)]
    mended = front.client.patch(paths[0], json={"name": "Okayama"}, headers=front.staff)
    taken = front.client.patch(paths[1], json={"name": "OKAYAMA"}, headers=front.staff)
    kept = front.client.get(paths[1], headers=front.staff)
    forced = front.client.patch(f"{paths[1]}?force=true", json={"name": "OKAYAMA"}, headers=front.staff)
    old_name = _post(front, "Kurashiki", "JP")

    statuses = [answer.status_code for answer in (mended, taken, forced, old_name)]
    assert statuses == [200, 409, 200, 201]
    assert taken.json()["existing"]["id"] == okayama["id"]
    assert (kept.json()["name"], kept.headers["etag"]) == ("Kurashiki", '"1"')


def test_cities_of_one_name_are_told_apart_by_where_they_lie(front: Door) -> None:
    """Two of one name that lie apart are both registered, and a third that says nothing is refused."""
    both = [
        _post(front, "Suzhou", "CN", latitude=latitude, longitude=longitude)
        for latitude, longitude in ((31.3, 120.6), (33.6, 117.0))
    ]

    assert [answer.status_code for answer in both] == [201, 201]
    assert _post(front, "Suzhou", "CN").status_code == 409


def test_where_a_city_lies_is_filled_in(front: Door) -> None:
    """It is filled in when absent, never when either number was given, and later with a better name."""
    known = _post(front, "Bombay", "IN").json()
    given = _post(front, "Okayama", "JP", latitude=34.7).json()
    unknown = _post(front, "Okoyama", "KR").json()
    path = f"/v1/cities/{unknown['id']}"
    named = front.client.patch(path, json={"name": "Suwon"}, headers=front.staff).json()
    same = front.client.patch(path, json={"latitude": None, "longitude": None}, headers=front.staff)

    assert (round(known["latitude"]), round(known["longitude"])) == (19, 73)
    assert (given["latitude"], given["longitude"]) == (34.7, None)
    assert (unknown["latitude"], unknown["longitude"]) == (None, None)
    assert (round(named["latitude"]), round(named["longitude"])) == (37, 127)
    assert same.headers["etag"] == '"2"'
    assert front.events().count("city.updated") == 1


def test_of_two_who_register_one_city_one_wins(front: Door) -> None:
    """Of many that register one city at once, in its spellings, one does; the rest are pointed to it."""
    names = ["Okayama", "Okoyama", "OKAYAMA"] * 4
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: _post(front, name, "JP"), names))
    won = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    pointed = {answer.json()["existing"]["id"] for answer in answers if answer.status_code == 409}

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
    assert pointed == set(won)
    assert front.events() == ["city.registered"]


def test_force_is_the_only_word(shared: Door) -> None:
    """Another query parameter, or a value that is neither yes nor no, is refused by name."""
    for query, pointer in (("?forced=true", "/query/forced"), ("?force=perhaps", "/query/force")):
        answer = _post(shared, "Cork", "IE", query)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
