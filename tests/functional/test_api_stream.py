# SPDX-License-Identifier: Apache-2.0
"""The rules of the stream: the feed's events as they happen, resumed where a reader was cut off."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.api import following
from tests.streams import SOON_S, Block, Street, blocks, events, reading, street
from twinning import keys
from twinning.keys import ApiKeyCreate
from twinning.terms import Role


@pytest.fixture
def place(database_url: str) -> Iterator[Street]:
    """A served front door, once on each kind of database."""
    with street(database_url) as served:
        yield served


def register(place: Street, *names: str, country: str = "IE") -> None:
    """Register cities as staff."""
    for name in names:
        answer = httpx.post(
            f"{place.url}/v1/cities", json={"name": name, "country": country}, headers=place.staff
        )
        assert answer.status_code == 201, answer.text


def feed(place: Street, query: str = "") -> list[dict[str, Any]]:
    """What the feed gives to those who poll."""
    answer = httpx.get(f"{place.url}/v1/events?{query}", headers=place.staff)
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_a_stream_gives_what_the_feed_gives(place: Street) -> None:
    """From the oldest on, before and after the stream was opened, with the same ids and JSON."""
    register(place, "Cork", "Limerick")
    with reading(place) as read:
        before = events(read, 2)
        register(place, "Dublin")
        after = events(read, 1)

    seen = [json.loads(event["data"]) for event in before + after]
    assert seen == feed(place)
    assert [event["id"] for event in before + after] == [event["id"] for event in seen]
    assert [event["event"] for event in before + after] == ["city.registered"] * 3


@pytest.mark.parametrize("by", ["header", "query"])
def test_a_reader_goes_on_where_it_was_cut_off(place: Street, by: str) -> None:
    """With the last id in the header or the query come those after it, each once; the header goes first."""
    register(place, "Cork", "Limerick", "Dublin", "Galway")
    first, second, third, fourth = (event["id"] for event in feed(place))
    how = (
        reading(place, f"after={second}")
        if by == "query"
        else reading(place, f"after={first}", **{"Last-Event-ID": second})
    )
    with how as read:
        seen = [event["id"] for event in events(read, 2)]

    assert seen == [third, fourth]


def test_a_stream_of_what_is_to_come_says_where_it_begins(place: Street) -> None:
    """After `latest` only new events come, and the last old id goes ahead of them."""
    register(place, "Cork")
    (old,) = feed(place)
    with reading(place, "after=latest") as read:
        opening = [next(read), next(read)]
        register(place, "Limerick")
        (new,) = events(read, 1)

    assert opening[0].fields["retry"].isdigit()
    assert opening[1] == Block({"id": old["id"]}, ())
    assert json.loads(new["data"])["data"]["name"] == "Limerick"


def test_a_stream_keeps_to_its_types_and_to_what_the_key_may_see(place: Street) -> None:
    """Neither in what is read at the start nor in what comes later is anything of another kind or country."""
    with place.database.transaction() as session:
        wanted = ApiKeyCreate(role=Role.COORDINATOR, name="Korea", countries=["KR"])
        _, key = keys.create(session, wanted)
    register(place, "Cork")
    register(place, "Suwon", country="KR")
    bearer = {"Authorization": f"Bearer {key}"}
    with reading(place, **bearer) as seen, reading(place, "types=need.*,city.updated") as typed:
        names = [json.loads(event["data"])["data"]["name"] for event in events(seen, 1)]
        register(place, "Limerick")
        register(place, "Osan", country="KR")
        city = httpx.get(f"{place.url}/v1/cities", headers=place.staff).json()["items"][0]
        httpx.patch(f"{place.url}/v1/cities/{city['id']}", json={"summary": "New"}, headers=place.staff)
        names += [json.loads(event["data"])["data"]["name"] for event in events(seen, 1)]
        (updated,) = events(typed, 1)

    assert names == ["Suwon", "Osan"]
    assert updated["event"] == "city.updated"


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_stream_ends_with_its_key(place: Street, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a key is revoked or expires its open stream ends, and nothing that happens then goes out."""
    with place.database.transaction() as session:
        row, key = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Another"))
    with reading(place, Authorization=f"Bearer {key}") as read:
        assert next(read).fields["retry"].isdigit()
        register(place, "Cork")
        events(read, 1)
        with place.database.transaction() as session:
            again = keys.get(session, row.id)
            if how == "revoked":
                keys.revoke(session, again)
            else:
                again.expires_at = again.created_at
                session.add(again)
        register(place, "Limerick")
        rest = list(read)

    assert [block.comments for block in rest] == [("this key has ended",)]


@pytest.mark.parametrize("wrong", ["after=yesterday", "types=city.born", "wait=5"])
def test_a_wrong_wish_is_refused_before_the_stream_begins(place: Street, wrong: str) -> None:
    """What the feed refuses the stream refuses, too, as a problem; and without a key there is none."""
    answer = httpx.get(f"{place.url}/v1/events/stream?{wrong}", headers=place.staff)
    nobody = httpx.get(f"{place.url}/v1/events/stream")

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert nobody.status_code == 401


def test_a_quiet_stream_has_a_heartbeat(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing happens a comment comes again and again, so that nobody on the way hangs up."""
    assert following.HEARTBEAT_S == 15
    monkeypatch.setattr(following, "HEARTBEAT_S", 0.05)
    with street(sqlite_url) as place, reading(place) as read:
        next(read)
        beats = [next(read) for _ in range(3)]

    assert beats == [Block({}, ("still here",))] * 3


def test_a_slow_reader_misses_nothing(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is further behind than what stays in memory reads on in the database, each event once."""
    monkeypatch.setattr(following, "RECENT", 3)
    monkeypatch.setattr(following, "PAGE", 2)
    names = [f"City {number}" for number in range(30)]
    with street(sqlite_url) as place, reading(place) as read:
        next(read)
        register(place, *names)
        seen = [json.loads(event["data"])["data"]["name"] for event in events(read, 30)]

    assert seen == names


def test_streams_end_when_the_server_stops(sqlite_url: str) -> None:
    """Told to stop, the server ends its streams in order and is gone well within five seconds."""
    with street(sqlite_url) as place, reading(place) as read:
        next(read)
        took = place.stop()
        rest = list(read)

    assert rest == []
    assert took < 2


def test_one_stream_too_many_is_refused(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its room a process refuses streams with 503 and names the feed instead."""
    monkeypatch.setattr(following, "MOST_STREAMS", 1)
    with street(sqlite_url) as place, reading(place) as read:
        next(read)
        refused = httpx.get(f"{place.url}/v1/events/stream", headers=place.staff)

    assert (refused.status_code, "/v1/events" in refused.json()["detail"]) == (503, True)


def test_many_idle_streams_cost_no_thread_and_no_connection(sqlite_url: str) -> None:
    """With fifty streams open a write is served at once, and each of them hears of it."""
    with httpx.Client(trust_env=False, timeout=SOON_S) as client, street(sqlite_url) as place:
        open_streams = [
            client.stream("GET", f"{place.url}/v1/events/stream", headers=place.staff) for _ in range(50)
        ]
        readers = [blocks(each.__enter__().iter_lines()) for each in open_streams]
        for read in readers:
            next(read)
        begun = time.monotonic()
        register(place, "Cork")
        took = time.monotonic() - begun
        heard = [events(read, 1)[0]["event"] for read in readers]
        for each in open_streams:
            each.__exit__(None, None, None)

    assert heard == ["city.registered"] * 50
    assert took < 2
