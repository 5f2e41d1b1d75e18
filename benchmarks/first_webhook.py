# SPDX-License-Identifier: Apache-2.0
"""How long after a practice's 201 the verified webhook of its new suggestion arrives, on `twinning up`.

    ./run bench first_webhook

Everything is real: HTTP, SQLite, the embedded broker, matcher and dispatcher as processes of their own,
and a receiver that verifies each signature. The demo's catalogue is loaded first; then, time after time,
a city of one region registers a need and a city of the other a practice that answers it. The two cities
have nothing else to offer, so that each time their suggestion is a new one.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from services.cli.client import Client
from services.cli.demo_data import load
from services.cli.receiver import Receiver, receiver
from services.cli.throwaway import LOCAL_RECEIVERS, throwaway_system

TIMES = 60
MOST_S = 20.0
MUST_MS = 500.0
SUBJECTS = ("beekeeping", "sign language", "repair cafés", "night schools", "reading aloud", "street theatre")


def main() -> int:
    """Measure, print, and fail when the median is not what it must be."""
    settings = {**LOCAL_RECEIVERS, "RATE_PER_MINUTE": "0"}
    with (
        tempfile.TemporaryDirectory(prefix="twinning-bench-") as folder,
        receiver() as inbox,
        throwaway_system(Path(folder), settings) as system,
    ):
        client = Client(system.url, system.key)
        endpoint = {"url": inbox.url, "event_types": ["suggestion.created"]}
        inbox.secret = client.post("/webhook-endpoints", endpoint)["secret"]
        cities = fill(client)
        took = sorted(once(client, inbox, cities, turn) for turn in range(TIMES))
    median = statistics.median(took)
    print(f"from 201 to the verified webhook of the new suggestion, {TIMES} times, milliseconds:")
    p95 = took[int(0.95 * TIMES)]
    print(f"  fastest {took[0]:.0f}   median {median:.0f}   p95 {p95:.0f}   slowest {took[-1]:.0f}")
    print(f"  must: median under {MUST_MS:.0f}: {'yes' if median < MUST_MS else 'NO'}")
    return 0 if median < MUST_MS else 1


def fill(client: Client) -> dict[str, str]:
    """Register the demo's catalogue and the two cities of the measurement; gives the ids of all."""
    demo = load()
    ids = {entry.ref: client.post("/cities", entry.body)["id"] for entry in demo.cities}
    for ref, country in (("visitor", "KR"), ("host", "IE")):
        ids[ref] = client.post("/cities", {"name": f"Benchmark {ref}", "country": country})["id"]
    for entry in (*demo.practices, *demo.needs):
        client.post(f"/cities/{ids[str(entry.city_ref)]}/{entry.kind}s", entry.body)
    return ids


def once(client: Client, inbox: Receiver, cities: dict[str, str], turn: int) -> float:
    """Register a need and then a practice that answers it; gives milliseconds from the 201 to the webhook."""
    subject = f"{SUBJECTS[turn % len(SUBJECTS)]} in district {turn}"
    wanted = f"How can we begin with {subject}? We look for teachers, rooms and volunteers for {subject}."
    need = client.post(f"/cities/{cities['visitor']}/needs", {"title": subject, "description": wanted})
    wait_until_matched(client, need["id"])
    shown = f"Volunteers and teachers run {subject} in rooms of the library; {subject} is open to all."
    practice = client.post(f"/cities/{cities['host']}/practices", {"title": subject, "description": shown})
    begun = time.perf_counter()
    with inbox.changed:
        arrived = inbox.changed.wait_for(lambda: tells_of(inbox, practice["id"]), MOST_S)
    if not arrived:
        sys.exit(f"no webhook told of {subject!r} within {MOST_S:g} s")
    took = (time.perf_counter() - begun) * 1000
    # The next pair of the two cities is new again only when this one has gone.
    client.delete(f"/practices/{practice['id']}")
    client.delete(f"/needs/{need['id']}")
    return took


def wait_until_matched(client: Client, need_id: str) -> None:
    """Wait until the matcher has seen a need, so that only the practice's own way is timed."""
    deadline = time.monotonic() + MOST_S
    while client.get(f"/needs/{need_id}")["unmet"] is None:
        if time.monotonic() > deadline:
            sys.exit("a need was not matched in time")
        time.sleep(0.01)


def tells_of(inbox: Receiver, practice_id: str) -> bool:
    """Say whether a verified webhook named this practice."""
    return any(
        why["practice_id"] == practice_id
        for event in inbox.events.values()
        for why in event["data"]["reasons"]
    )


if __name__ == "__main__":
    sys.exit(main())
