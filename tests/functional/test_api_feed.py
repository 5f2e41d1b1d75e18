# SPDX-License-Identifier: Apache-2.0
"""The rules of the feed: how far back it goes, what is a place in it, and that it betrays nobody's events."""

from datetime import timedelta

from sqlalchemy import update
from sqlmodel import col

from tests.factories import Door
from twinning.database import new_id, now
from twinning.outbox import StoredEvent


def ids(front: Door, query: str = "", bearer: dict[str, str] | None = None) -> list[str]:
    """The ids of what the feed gives."""
    answer = front.client.get(f"/v1/events?{query}", headers=bearer or front.staff)
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in answer.json()["items"]]


def age(front: Door, event_id: str, days: float) -> None:
    """Make an event as old as that."""
    moment = now() - timedelta(days=days)
    with front.database.transaction() as session:
        session.execute(update(StoredEvent).where(col(StoredEvent.id) == event_id).values(timestamp=moment))


def refusal(front: Door, after: str, bearer: dict[str, str] | None = None) -> tuple[str, str]:
    """What the feed says to a place that it refuses."""
    answer = front.client.get(f"/v1/events?after={after}", headers=bearer or front.staff)
    told = answer.json()
    assert (answer.status_code, told["errors"][0]["pointer"]) == (422, "/query/after")
    return told["type"].rsplit("/", 1)[1], told["detail"]


def test_the_feed_goes_back_thirty_days(front: Door) -> None:
    """Without a place the feed begins with its oldest event; what is older than thirty days is out of it."""
    for name in ("Cork", "Limerick", "Dublin"):
        front.city(name)
    first, second, third = ids(front)

    age(front, first, 30.01)
    age(front, second, 29.9)
    assert ids(front) == [second, third]
    assert ids(front, f"after={second}") == [third]


def test_a_place_that_is_too_old_is_refused_with_where_to_begin(front: Door) -> None:
    """An event that fell out of the feed is no place in it, and the refusal names the oldest that is left."""
    front.city("Cork")
    front.city("Limerick")
    old, oldest = ids(front)
    age(front, old, 31)

    code, detail = refusal(front, old)
    assert code == "not-in-the-feed"
    assert oldest in detail
    assert "30 days" in detail

    age(front, oldest, 31)
    assert "empty" in refusal(front, old)[1]


def test_a_place_in_somebody_elses_feed_betrays_nothing(front: Door) -> None:
    """The id of an event that a key may not see is refused in the words for an id that never was."""
    suwon, limerick = front.city("Suwon", "KR"), front.city("Limerick", "IE")
    theirs, mine = ids(front)
    bearer = front.of_city(limerick["id"])

    hidden, unknown = refusal(front, theirs, bearer), refusal(front, new_id(), bearer)
    assert hidden == unknown
    assert theirs not in hidden[1]
    assert mine in hidden[1]
    assert ids(front, f"after={theirs}", front.of_city(suwon["id"])) == []


def test_what_is_no_id_is_refused_as_a_place(embedded: Door) -> None:
    """A word, a number and a cursor of a list are no places in the feed."""
    assert [refusal(embedded, after)[0] for after in ("yesterday", "1", "WyJhIl0")] == ["not-in-the-feed"] * 3


def test_latest_is_the_present_end(front: Door) -> None:
    """After `latest` comes only what has not happened yet."""
    front.city("Cork")

    assert ids(front, "after=latest") == []
