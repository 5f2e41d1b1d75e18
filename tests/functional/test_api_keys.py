# SPDX-License-Identifier: Apache-2.0
"""The rules of keys: their ends, their successors, their rate, their last use, and those who guess them."""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text
from typer.testing import CliRunner

from services.api import gate, last_use
from services.cli.main import app
from tests.factories import Door, door
from tests.servers import Server
from twinning import keys
from twinning.terms import Role

DEADLINE_S = 30.0


def bearer(key: str = "") -> dict[str, str]:
    """Give the header that bears a key, or one that never was."""
    return {"Authorization": f"Bearer {key or keys.PREFIX + secrets.token_urlsafe(32)}"}


def until(look: Callable[[], Any]) -> Any:
    """Look until there is something to see."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline
    return found


@contextmanager
def statements(opened: Door) -> Iterator[list[str]]:
    """Collect what is asked of a door's database."""
    asked: list[str] = []

    def heard(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(opened.database.engine, "before_cursor_execute", heard)
    try:
        yield asked
    finally:
        event.remove(opened.database.engine, "before_cursor_execute", heard)


def listed(opened: Door, key_id: str) -> Any:
    """Find a key in the list."""
    items = opened.client.get("/v1/api-keys?limit=200", headers=opened.staff).json()["items"]
    return next((item for item in items if item["id"] == key_id), None)


def made(opened: Door, **wanted: Any) -> Any:
    """Make a key over HTTP."""
    answer = opened.client.post("/v1/api-keys", json={"name": "One", **wanted}, headers=opened.staff)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_who_guesses_keys_is_shut_out_without_a_look(embedded: Door) -> None:
    """After some wrong keys an address hears 429 and when to come back, and the database is not asked."""
    first = [embedded.client.get("/v1/cities", headers=bearer()) for _ in range(30)]
    with statements(embedded) as asked:
        embedded.client.get("/v1/cities", headers=bearer())
        asked.clear()
        later = [embedded.client.get("/v1/cities", headers=bearer()) for _ in range(20)]

    assert {answer.status_code for answer in first} == {401}
    assert {answer.status_code for answer in later} == {429}
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in later)
    assert later[0].json()["type"].endswith("/problems/too-many-requests")
    assert asked == []


def test_good_keys_pass_where_others_guess(sqlite_url: str) -> None:
    """Neither a key that is in use, nor one that was never used here, nor another address is shut out."""
    with door(sqlite_url, trusted_proxies="127.0.0.0/8") as opened:
        city = opened.city()
        fresh = opened.of_city(city["id"])

        def from_(address: str, key: dict[str, str]) -> int:
            answer = opened.client.get("/v1/cities", headers={**key, "X-Forwarded-For": address})
            return int(answer.status_code)

        guesses = [from_("192.0.2.7", bearer()) for _ in range(40)]

        assert guesses[-1] == 429
        assert from_("192.0.2.7", opened.staff) == 200
        assert from_("192.0.2.7", fresh) == 200
        assert from_("192.0.2.8", bearer()) == 401
        # Of IPv6 the network counts: whoever has one address of it has them all.
        assert [from_(f"2001:db8::{n:x}", bearer()) for n in range(31)][-1] == 429
        assert from_("2001:db8:0:1::1", bearer()) == 401


def test_one_wrong_key_is_looked_up_once(embedded: Door) -> None:
    """A program that goes on with a key that ended hears 401 for long, and costs the database nothing."""
    wrong = bearer()
    embedded.client.get("/v1/cities", headers=wrong)
    with statements(embedded) as asked:
        often = {embedded.client.get("/v1/cities", headers=wrong).status_code for _ in range(250)}
    too_often = [embedded.client.get("/v1/cities", headers=wrong).status_code for _ in range(60)]

    assert often == {401}
    assert asked == []
    assert too_often[-1] == 429


def test_a_key_that_has_ended_is_looked_up_once_more(embedded: Door) -> None:
    """A key that was good here and is revoked hears 401 at once, and from then on without a look."""
    key = made(embedded, role="staff")
    before = embedded.client.get("/v1/cities", headers=bearer(key["key"])).status_code
    embedded.client.delete(f"/v1/api-keys/{key['id']}", headers=embedded.staff)
    ended = embedded.client.get("/v1/cities", headers=bearer(key["key"])).status_code
    with statements(embedded) as asked:
        later = embedded.client.get("/v1/cities", headers=bearer(key["key"])).status_code

    assert (before, ended, later) == (200, 401, 401)
    assert asked == []


def test_what_is_remembered_of_strangers_is_bounded(embedded: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wrong keys and addresses come, only the last of them are remembered."""
    for bound in ("MOST_WRONG", "MOST_ADDRESSES"):
        monkeypatch.setattr(gate, bound, 10)
    guard = embedded.client.app.state.house.gate  # type: ignore[attr-defined]
    for number in range(50):
        guard._count(f"key {number}", f"address {number}")

    assert len(guard._wrong) == len(guard._records) == 10


def test_a_forged_address_is_not_believed(embedded: Door) -> None:
    """Without a trusted proxy X-Forwarded-For says nothing about where a request came from."""
    statuses = [
        embedded.client.get("/v1/cities", headers={**bearer(), "X-Forwarded-For": f"192.0.2.{n}"}).status_code
        for n in range(40)
    ]

    assert statuses[-1] == 429


def test_a_key_has_its_rate_and_no_other_pays(sqlite_url: str, broker: Server) -> None:
    """Over its rate a key hears 429 with `Retry-After`; another goes on; each answer tells what is left."""
    with door(sqlite_url, rate_per_minute=5, broker_url=broker.url) as opened:
        busy, calm = bearer(made(opened, role="staff")["key"]), bearer(made(opened, role="staff")["key"])
        answers = [opened.client.get("/v1/cities", headers=busy) for _ in range(7)]
        written = opened.client.post("/v1/cities", json={"name": "Cork", "country": "IE"}, headers=busy)
        other = opened.client.get("/v1/nowhere/x", headers=calm)

        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert written.status_code == 429
        assert 1 <= int(written.headers["retry-after"]) <= 60
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:5]] == [
            f"r={left}" for left in (4, 3, 2, 1, 0)
        ]
        assert answers[0].headers["ratelimit-policy"] == '"key";q=5;w=60'
        assert other.status_code == 404
        assert opened.events() == []
        assert opened.client.get("/healthz", headers=busy).status_code == 200


def test_a_problem_tells_the_rate_too(sqlite_url: str) -> None:
    """What is left of the rate stands beside a refusal as beside any other answer."""
    with door(sqlite_url, rate_per_minute=50) as opened:
        refused = opened.client.post("/v1/cities", json={}, headers=opened.staff)

    assert (refused.status_code, refused.headers["ratelimit"].split(";")[1]) == (422, "r=49")


def test_the_rate_is_one_for_all_processes(database_url: str, broker: Server) -> None:
    """Two front doors on one database and broker let through one rate between them."""
    settings = {"rate_per_minute": 20, "broker_url": broker.url}
    with door(database_url, **settings) as one, door(database_url, **settings) as other:
        key = one.key(Role.STAFF)
        doors = [one, other] * 20
        statuses = [each.client.get("/v1/cities", headers=key).status_code for each in doors]

    assert statuses.count(200) == 20
    assert statuses.count(429) == 20


def test_a_hung_broker_holds_up_no_request(sqlite_url: str, private_broker: Server) -> None:
    """With a broker that never answers requests are let in at once, and the rate is still kept."""
    assert private_broker.pid is not None
    os.kill(private_broker.pid, signal.SIGSTOP)
    with door(sqlite_url, rate_per_minute=40, broker_url=private_broker.url) as opened:
        begun = time.perf_counter()
        statuses = [opened.client.get("/v1/cities", headers=opened.staff).status_code for _ in range(45)]
        took = time.perf_counter() - begun

    assert (statuses.count(200), statuses.count(429)) == (40, 5)
    # Half a second each time would be more than twenty.
    assert took < 5.0


def test_the_last_use_is_shown_to_the_minute(front: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key shows when it was used last; it is written soon, and then not again within the minute."""
    monkeypatch.setattr(last_use, "TOGETHER_S", 0.01)
    key = made(front, role="staff")
    assert key["last_used_at"] is None
    front.client.get("/v1/cities", headers=bearer(key["key"]))
    moment = until(lambda: listed(front, key["id"])["last_used_at"])
    with statements(front) as asked:
        front.client.get("/v1/cities", headers=bearer(key["key"]))
        assert listed(front, key["id"])["last_used_at"] == moment
    assert not [statement for statement in asked if "UPDATE api_key" in statement]


def test_a_last_use_that_cannot_be_written_fails_nobody(front: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are answered although the database refuses to note the use of their key."""
    monkeypatch.setattr(last_use, "TOGETHER_S", 0.0)
    key = front.key(Role.STAFF)
    refuse = {
        "sqlite": "CREATE TRIGGER refuse BEFORE UPDATE ON api_key BEGIN SELECT RAISE(ABORT, 'no'); END",
        "postgresql": "ALTER TABLE api_key ADD CONSTRAINT refuse CHECK (last_used_at IS NULL)",
    }
    with front.database.transaction() as session:
        session.execute(text(refuse[front.database.engine.dialect.name]))
    answer = front.client.get("/v1/reference/countries", headers=key)
    waiting = front.client.app.state.house.gate._last_use  # type: ignore[attr-defined]
    until(lambda: not waiting._waiting)

    assert answer.status_code == 200
    assert front.client.get("/v1/cities", headers=key).status_code == 200


def test_a_successor_takes_over_what_was_its_predecessors(front: Door) -> None:
    """A key that replaces another owns its endpoints, rounds and events; both are good for a while."""
    city = front.city()
    before = made(front, role="city", city_id=city["id"])
    hook = front.client.post(
        "/v1/webhook-endpoints",
        json={"url": "https://hooks.limerick.ie/x", "event_types": ["matching_round.*"]},
        headers=bearer(before["key"]),
    ).json()
    asked = front.client.post(
        "/v1/matching-rounds", json={"kind": "study_visit"}, headers=bearer(before["key"])
    ).json()
    front.client.post(f"/v1/matching-rounds/{asked['id']}/cancel", headers=bearer(before["key"]))
    after = made(front, role="city", city_id=city["id"], replaces=before["id"])
    both = [
        front.client.get("/v1/cities", headers=bearer(each["key"])).status_code for each in (before, after)
    ]
    revoked = front.client.delete(f"/v1/api-keys/{before['id']}", headers=front.staff)
    new = bearer(after["key"])

    assert both == [200, 200]
    assert revoked.status_code == 204
    assert front.client.get("/v1/cities", headers=bearer(before["key"])).status_code == 401
    assert front.client.get(f"/v1/webhook-endpoints/{hook['id']}", headers=new).status_code == 200
    assert front.client.get(f"/v1/matching-rounds/{asked['id']}", headers=new).status_code == 200
    feed = front.client.get("/v1/events?types=matching_round.cancelled", headers=new).json()["items"]
    assert [item["data"]["id"] for item in feed] == [asked["id"]]
    # What happens from now on still goes to the endpoint.
    again = front.client.post("/v1/matching-rounds", json={"kind": "study_visit"}, headers=new).json()
    front.client.post(f"/v1/matching-rounds/{again['id']}/cancel", headers=new)
    log = front.client.get(f"/v1/webhook-endpoints/{hook['id']}/deliveries", headers=new).json()["items"]
    assert len(log) == 2


def test_a_successor_gets_no_more_than_its_predecessor_had(front: Door) -> None:
    """A key of another role or scope, or of one that is not there, replaces none, and none is made."""
    city, other = front.city(), front.city("Suwon", "KR")
    before = made(front, role="city", city_id=city["id"])
    count = len(front.client.get("/v1/api-keys", headers=front.staff).json()["items"])
    for wanted in (
        {"role": "city", "city_id": other["id"], "replaces": before["id"]},
        {"role": "staff", "replaces": before["id"]},
        {"role": "city", "city_id": city["id"], "replaces": "nobody"},
    ):
        answer = front.client.post("/v1/api-keys", json={"name": "x", **wanted}, headers=front.staff)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/replaces")

    assert len(front.client.get("/v1/api-keys", headers=front.staff).json()["items"]) == count


def test_a_key_is_revoked_only_as_it_was_seen(front: Door) -> None:
    """DELETE of a key honours `If-Match` with the tag that its making gave."""
    answer = front.client.post("/v1/api-keys", json={"role": "staff", "name": "x"}, headers=front.staff)
    path, tag = f"/v1/api-keys/{answer.json()['id']}", answer.headers["etag"]

    def delete(match: str) -> int:
        return int(front.client.delete(path, headers={**front.staff, "If-Match": match}).status_code)

    assert [delete('"stale"'), delete(tag)] == [412, 204]


def test_keys_by_hand_where_the_database_is(front: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command makes a key that opens, lists it with its last use, hands over, revokes, and is audited."""
    monkeypatch.setenv("TWINNING_DATABASE_URL", front.settings.database_url.replace("+psycopg", ""))
    monkeypatch.setenv("COLUMNS", "300")
    run = CliRunner().invoke

    first = run(app, ["keys", "create", "--role", "staff", "--name", "By hand"]).stdout.strip()
    used = front.client.get("/v1/api-keys", headers=bearer(first)).json()["items"]
    key_id = next(item["id"] for item in used if item["name"] == "By hand")
    until(lambda: listed(front, key_id)["last_used_at"])
    shown = run(app, ["keys", "list"]).stdout
    second = run(
        app, ["keys", "create", "--role", "staff", "--name", "Next", "--replaces", key_id]
    ).stdout.strip()
    ended, again = (run(app, ["keys", "revoke", key_id]) for _ in range(2))
    entries = front.client.get("/v1/audit?action=api_key.*", headers=front.staff).json()["items"]

    row = next(line for line in shown.splitlines() if key_id in line)
    assert row.split()[-2].startswith("20")
    assert first not in shown
    # A key ends once: whoever revokes it again is told, and the audit log has it once.
    assert (ended.exit_code, again.exit_code) == (0, 1)
    assert [front.client.get("/v1/cities", headers=bearer(key)).status_code for key in (first, second)] == [
        401,
        200,
    ]
    assert [(entry["action"], entry["key_name"]) for entry in entries] == [
        ("api_key.revoked", "command line"),
        ("api_key.made", "command line"),
        ("api_key.made", "command line"),
    ]


def test_a_key_by_hand_is_for_a_city_that_is_there(front: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command makes no key for a city that never was or was taken out, as HTTP makes none."""
    monkeypatch.setenv("TWINNING_DATABASE_URL", front.settings.database_url.replace("+psycopg", ""))
    here, gone = front.city(), front.city("Suwon", "KR")
    front.client.delete(f"/v1/cities/{gone['id']}", headers=front.staff)
    words = ["keys", "create", "--role", "city", "--name", "By hand, for a city", "--city-id"]
    made, *refused = (CliRunner().invoke(app, [*words, city]) for city in (here["id"], gone["id"], "abc"))

    assert made.exit_code == 0
    assert [each.exit_code for each in refused] == [2, 2]
    assert all("--city-id: there is no city" in each.stderr for each in refused)
    items = front.client.get("/v1/api-keys?limit=200", headers=front.staff).json()["items"]
    assert [key["city_id"] for key in items if key["name"] == "By hand, for a city"] == [here["id"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--role", "coordinator", "--country", "US"], "--country: 'US' is not"),
        (["--role", "city"], "--city-id: A city's key needs city_id"),
        (["--role", "city", "--city-id", "a b"], "--city-id: "),
        (["--role", "staff", "--expires-at", "2027-01-31"], "--expires-at: "),
        (["--role", "staff", "--expires-at", "soon"], "--expires-at: "),
    ],
)
def test_what_is_wrong_with_a_key_by_hand_is_told_by_its_option(words: list[str], told: str) -> None:
    """A key that cannot be is refused in a line that names the option, before the database is opened."""
    refused = CliRunner().invoke(app, ["keys", "create", "--name", "By hand", *words])

    assert refused.exit_code == 2
    assert told in refused.stderr
