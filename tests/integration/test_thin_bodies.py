# SPDX-License-Identifier: Apache-2.0
"""Bodies that are too long for a webhook: sent thin, the same each time, and whole in the feed."""

import json

import pytest

from tests.factories import Door, door
from tests.hooks import courier, settings_for, subscribe
from tests.receiver import Manner, Receiver
from twinning.outbox import LONGEST_BODY, thinned

# A character of three bytes in UTF-8: five texts of a practice hold so much of it that the request is just
# within what is taken, and the event, which says more, is over what is sent.
LONG = "읽" * 17_430


def test_a_long_body_is_sent_thin_and_read_whole(database_url: str) -> None:
    """An event over 256 KiB goes out as its id and address, signed and frozen; there it is whole."""
    with door(database_url) as front, Receiver() as receiver:
        row = subscribe(front.database, receiver.url("/a"), event_types=["practice.*"])
        receiver.secrets = [row.secrets[0]["secret"]]
        receiver.behave("/a", Manner(statuses=(500, 200)))
        texts = ("description", "challenge", "outcomes", "lessons", "transfer_conditions")
        made = _practice(front, dict.fromkeys(texts, LONG))
        with courier(front.database, settings_for(front.database.url)):
            got = receiver.wait_for(2)
        sent = json.loads(got[0].body)
        whole = front.client.get(sent["data"]["url"], headers=front.staff)
        items = front.client.get("/v1/events?types=practice.*", headers=front.staff).json()["items"]

    assert sent["type"] == "practice.registered"
    assert sent["data"] == {"id": made, "url": f"/v1/events/{got[0].webhook_id}"}
    assert set(sent) == {"type", "timestamp", "data"}
    assert got[0].body == got[1].body
    assert all(one.verified_by for one in got)
    assert whole.json()["data"]["lessons"] == LONG
    assert items == [whole.json()]


def _practice(front: Door, texts: dict[str, str]) -> str:
    return str(front.practice(front.city()["id"], **texts)["id"])


@pytest.mark.parametrize(("more", "is_thin"), [(0, False), (1, True)])
def test_the_limit_counts_bytes(more: int, *, is_thin: bool) -> None:
    """A body of just 256 KiB is sent whole, one byte more makes it thin."""
    head, tail = '{"type":"city.updated","timestamp":"t","data":{"id":"x","name":"', '"}}'
    room = LONGEST_BODY - len(head) - len(tail)
    body = head + "é" * (room // 2) + "e" * (room % 2 + more) + tail

    assert len(body.encode()) == LONGEST_BODY + more
    thin = thinned("an-event", body)
    assert (thin is not None) == is_thin
    if thin is not None:
        assert json.loads(thin) == {
            "type": "city.updated",
            "timestamp": "t",
            "data": {"id": "x", "url": "/v1/events/an-event"},
        }
