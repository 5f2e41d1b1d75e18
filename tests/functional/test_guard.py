# SPDX-License-Identifier: Apache-2.0
"""The table of addresses at every door: creation, change, callback, ping, delivery, retry and replay."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from services.dispatcher.errands import Errands
from tests.factories import Door, door
from tests.hooks import attempts, courier, deliveries, eventually, settings_for, subscribe
from tests.unit.test_addresses import CASES
from twinning import endpoints, replays, switching
from twinning.database import now
from twinning.endpoints import Attempt
from twinning.replays import ReplayRequest
from twinning.terms import DeliveryState, ReplayOnly

URL = "https://hooks.limerick.ie/x"
# A ping waits for its answer, so one row in so many is pinged.
PINGED = 8
# JSON can spell these, and the body is refused before anything looks at its fields.
NOT_A_URL = {"": "empty", "https://h.example.org\x00.evil.test/": "NUL"}
LITERALS = [
    {"id": row["id"], "url": f"https://{host}/", "refused": "url-ip-literal-forbidden"}
    for row in CASES["addresses"]
    for host in [f"[{row['address']}]" if ":" in row["address"] else row["address"]]
]
# Each address as the one answer to a name of its own, and the look-ups of the table.
ANSWERS = {f"a{row['id'].lower()}.example.org": [row["address"]] for row in CASES["addresses"]}
INSIDE = {f"a{row['id'].lower()}.example.org" for row in CASES["addresses"] if not row["allowed"]}
for number, row in enumerate(CASES["lookups"]):
    ANSWERS[f"l{number}.example.org"] = row["answers"]
    if row.get("refused") == "address-not-public":
        INSIDE.add(f"l{number}.example.org")


async def names(host: str, _port: int) -> list[str]:
    """A resolver that knows the names of the table; any other is public."""
    return ANSWERS.get(host, ["93.184.215.14"])


async def broken(*_: object) -> list[str]:
    """A resolver that answers nothing."""
    raise OSError


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path) -> Iterator[Door]:
    """A front door that looks names up in the table."""
    path = shutil.copy(sqlite_file, tmp_path_factory.mktemp("door") / "twinning.db")
    with door(f"sqlite:///{path}", names=names) as opened:
        yield opened


@pytest.fixture(scope="module")
def hook(guarded: Door) -> str:
    """The path of an endpoint that is to be changed."""
    wanted = {"url": URL, "event_types": ["city.*"]}
    made = guarded.client.post("/v1/webhook-endpoints", json=wanted, headers=guarded.staff)
    return str(made.headers["location"])


def ask(front: Door, hook: str, url: str) -> dict[str, Any]:
    """Name a URL at each place of the API that takes one."""
    asked = {"kind": "study_visit", "callback_url": url}
    return {
        "/url": front.client.post("/v1/webhook-endpoints", json={"url": url}, headers=front.staff),
        " /url": front.client.patch(hook, json={"url": url}, headers=front.staff),
        "/callback_url": front.client.post("/v1/matching-rounds", json=asked, headers=front.staff),
    }


@pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in [*CASES["urls"], *LITERALS]])
def test_a_url_meets_the_same_rule_wherever_it_is_named(
    guarded: Door, hook: str, row: dict[str, Any]
) -> None:
    """A URL is refused with its code and field, or stored in its one spelling, at creation and change."""
    answers = ask(guarded, hook, row["url"])
    for pointer, answer in answers.items():
        if "refused" in row:
            told = answer.json()
            assert answer.status_code == 422
            assert [flaw["pointer"] for flaw in told["errors"]] == [pointer.strip()]
            if row["url"] not in NOT_A_URL:
                assert told["type"].endswith(f"/{row['refused']}")
        else:
            stored = answer.json().get("url") or answer.json()["callback_url"]
            assert (answer.status_code < 300, stored) == (True, row["stored"])
    if "refused" not in row:
        guarded.client.delete(answers["/url"].headers["location"], headers=guarded.staff)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_name_that_leads_inside_is_refused_at_once(guarded: Door, hook: str, name: str) -> None:
    """A name is looked up where it is registered or changed; no address is told, and none is no harm."""
    answers = ask(guarded, hook, f"https://{name}/in")
    for pointer, answer in answers.items():
        if name in INSIDE:
            told = answer.json()
            assert (answer.status_code, [flaw["pointer"] for flaw in told["errors"]]) == (
                422,
                [pointer.strip()],
            )
            assert told["type"].endswith("/address-not-public")
            said = told["detail"] + told["errors"][0]["detail"]
            assert not [address for address in ANSWERS[name] if address and address in said]
        else:
            assert answer.status_code < 300
    if name not in INSIDE:
        guarded.client.delete(answers["/url"].headers["location"], headers=guarded.staff)


def test_a_resolver_that_is_down_refuses_nobody(sqlite_url: str) -> None:
    """Without an answer the endpoint is taken: DNS may come later, and each delivery looks again."""
    with door(sqlite_url, names=broken) as front:
        answer = front.client.post("/v1/webhook-endpoints", json={"url": URL}, headers=front.staff)

    assert answer.status_code == 201


def test_nobody_without_a_key_has_names_looked_up(sqlite_url: str) -> None:
    """Whoever has no key learns nothing from our resolver, and who has one makes it ask once for a while."""
    asked = []

    async def noting(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["10.0.0.1"]

    with door(sqlite_url, names=noting) as front:
        without = front.client.post("/v1/webhook-endpoints", json={"url": URL})
        unasked = list(asked)
        twice = [
            front.client.post("/v1/webhook-endpoints", json={"url": URL}, headers=front.staff).status_code
            for _ in range(2)
        ]

    assert (without.status_code, unasked) == (401, [])
    assert (twice, asked) == ([422, 422], ["hooks.limerick.ie"])


def planted() -> Iterator[tuple[str, str]]:
    """Every URL that is to be refused, as it might stand in a database, with the class of its attempts."""
    for row in [*CASES["urls"], *LITERALS]:
        if "refused" in row and row["url"] not in NOT_A_URL:
            yield row["url"], "url_not_allowed"
    for row in CASES["opened_urls"]:
        if "refused" in row and not row["allow_http"]:
            yield row["url"], "url_not_allowed"
    for name in sorted(INSIDE):
        yield f"https://{name}/in", "address_not_public"
    yield "https://l0.example.org/in", "dns_error"


def test_what_slipped_into_the_database_is_never_called(sqlite_url: str) -> None:
    """Ping, delivery, retry and replay meet the same guard: each fails, and no socket is made."""
    expected = {}
    with door(sqlite_url) as front:
        city = front.city()
        for url, error in planted():
            row = subscribe(front.database, url)
            expected[row.id] = error
        front.practice(city["id"])
        settings = settings_for(
            sqlite_url, retry_schedule_s="0", webhook_allow_cidrs="", webhook_allow_http=False
        )

        def ended(count: int) -> bool:
            with front.database.snapshot() as session:
                tries = session.exec(select(Attempt).where(Attempt.duration_ms != None)).all()  # noqa: E711
            return len(tries) == count * len(expected)

        with courier(front.database, settings, resolve=names):
            eventually(lambda: ended(1), 60)
            with front.database.transaction() as session:
                every = [row.id for row in deliveries(front.database)]
                switching.send_again(session, every, DeliveryState.PENDING)
            eventually(lambda: ended(2), 60)
            with front.database.transaction() as session:
                span = ReplayRequest(since=now() - timedelta(hours=1), only=ReplayOnly.FAILED)
                for endpoint_id in expected:
                    replays.ask(session, endpoints.get(session, endpoint_id), span)
            errands = Errands(front.database, settings, "errands")
            while errands.take():
                pass
            eventually(lambda: ended(3), 60)
            pinged = {
                endpoint_id: front.client.post(
                    f"/v1/webhook-endpoints/{endpoint_id}/ping", headers=front.staff
                )
                for endpoint_id in list(expected)[::PINGED]
            }
        log = {
            row.endpoint_id: attempts(front.database, row.id)
            for row in deliveries(front.database)
            if row.id in set(every)
        }

    for endpoint_id, error in expected.items():
        assert [attempt.error for attempt in log[endpoint_id]] == [error] * 3
        assert [attempt.address for attempt in log[endpoint_id]] == [None] * 3
    for endpoint_id, answer in pinged.items():
        [attempt] = answer.json()["attempts"]
        assert (attempt["error"], attempt["status"]) == (expected[endpoint_id], None)
