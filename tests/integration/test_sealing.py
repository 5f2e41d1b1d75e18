# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest on both databases: sealed under the operator's key, readable again, refused without it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.factories import Door, door
from tests.hooks import courier, ping, reload, settings_for, subscribe
from tests.receiver import Receiver
from twinning import endpoints, idempotency, keyring
from twinning.database import Database, now
from twinning.errors import WrongSetting
from twinning.idempotency import KeptAnswer
from twinning.vault import Vault

KEY = "a key of the operator's, of some length"
OTHER = "another key of the operator's, as long"
HOOK = {"url": "https://hooks.limerick.ie/x", "headers": {"Authorization": "Basic dHVsaXA="}}


@pytest.fixture
def front(database_url: str) -> Iterator[Door]:
    """A front door that seals."""
    with door(database_url, secrets_key=KEY) as opened:
        yield opened


def stored(database: Database) -> str:
    """All that the tables hold of endpoints and kept answers, as text."""
    with database.snapshot() as session:
        rows = [
            *session.execute(text("SELECT secrets, headers FROM webhook_endpoint")),
            *session.execute(text("SELECT body FROM kept_answer")),
        ]
    return " ".join(str(bytes(one) if isinstance(one, memoryview) else one) for row in rows for one in row)


def make(front: Door, **headers: str) -> dict[str, Any]:
    answer = front.client.post("/v1/webhook-endpoints", json=HOOK, headers={**front.staff, **headers})
    made: dict[str, Any] = answer.json()
    return made


def test_no_secret_is_stored_as_it_is(front: Door) -> None:
    """With a key neither secrets nor headers nor kept answers stand readable in the database."""
    once = make(front, **{"Idempotency-Key": "k"})
    again = make(front, **{"Idempotency-Key": "k"})
    rotated = front.client.post(
        f"/v1/webhook-endpoints/{once['id']}/rotate-secret", json={}, headers=front.staff
    ).json()
    found = stored(front.database)
    with front.database.snapshot() as session:
        row = endpoints.get(session, once["id"])
        live, headers = keyring.live_secrets(session, row, now()), keyring.headers_of(session, row)

    assert once == again
    assert (live, headers) == ((rotated["secret"], once["secret"]), HOOK["headers"])
    assert row.key_id == Vault(KEY).key_id
    keys = [secret.removeprefix("whsec_") for secret in live]
    assert not [secret for secret in (*keys, "whsec_", "dHVsaXA") if secret in found]


def test_without_a_key_they_are_stored_plainly(database_url: str) -> None:
    """Without the setting the row says that nothing sealed it; so the test above can fail."""
    with door(database_url) as front:
        made = make(front)

        assert made["secret"] in stored(front.database)


def test_the_first_start_with_a_key_seals_what_is_plain(database: Database) -> None:
    """Rows of before are sealed once, and still open."""
    rows = [subscribe(database, f"http://127.0.0.1:9/{n}", headers={"X-A": "tulip"}) for n in range(3)]
    sealing = Database(database.url, vault=Vault(KEY))
    done = (keyring.seal_all(sealing), keyring.seal_all(sealing))
    with sealing.snapshot() as session:
        opened = [keyring.newest(session, endpoints.get(session, row.id)) for row in rows]
    sealing.close()

    assert done == (3, 0)
    assert opened == [row.secrets[0]["secret"] for row in rows]
    assert "tulip" not in stored(database)


def test_what_was_sealed_is_delivered(database: Database) -> None:
    """A dispatcher with the key signs with the sealed secret and sends the sealed headers."""
    sealing = Database(database.url, vault=Vault(KEY))
    with Receiver() as receiver:
        row = subscribe(sealing, receiver.url("/a"), headers={"X-Token": "tulip"})
        receiver.secrets = [row.secrets[0]["secret"]]
        keyring.seal_all(sealing)
        with courier(sealing, settings_for(database.url)):
            ping(sealing, [row])
            [got] = receiver.wait_for(1)
    sealing.close()
    assert got.verified_by == tuple(receiver.secrets)
    assert got.headers["x-token"] == "tulip"
    assert reload(database, row).key_id == Vault(KEY).key_id


@pytest.mark.parametrize("vault", [None, Vault(OTHER)])
def test_the_wrong_key_is_refused(database: Database, vault: Vault | None) -> None:
    """Neither without the key nor with another one does a process start, or read a secret."""
    row = subscribe(database, "http://127.0.0.1:9/")
    sealing = Database(database.url, vault=Vault(KEY))
    keyring.seal_all(sealing)
    keyring.must_open(sealing)
    sealing.close()
    wrong = Database(database.url, vault=vault)
    with pytest.raises(WrongSetting, match="TWINNING_SECRETS_KEY"):
        keyring.must_open(wrong)
    with wrong.snapshot() as session, pytest.raises(WrongSetting):
        keyring.newest(session, endpoints.get(session, row.id))
    wrong.close()


def test_a_new_key_takes_over(database: Database) -> None:
    """With the old key beside the new one both open, what is sealed moves over, and the old key can go."""
    old, both, new = (Database(database.url, vault=Vault(*keys)) for keys in ((KEY,), (OTHER, KEY), (OTHER,)))
    row = subscribe(old, "http://127.0.0.1:9/", headers={"X-A": "tulip"})
    keyring.seal_all(old)
    answer = KeptAnswer(caller=row.owner_id, key="k", request_hash="", status=201, headers={}, body=b"")
    with old.transaction() as session:
        idempotency.put_body(session, answer, b"whsec_x")
        session.add(answer)
    with pytest.raises(WrongSetting, match="TWINNING_SECRETS_KEY"):
        keyring.must_open(new)
    keyring.must_open(both)
    done = (keyring.seal_all(both), keyring.seal_all(both))
    keyring.must_open(new)
    with new.snapshot() as session:
        found = endpoints.get(session, row.id)
        kept = idempotency.find(session, row.owner_id, "k")
        assert kept is not None
        opened = (keyring.newest(session, found), keyring.headers_of(session, found))
        body = idempotency.body_of(session, kept)
    with pytest.raises(WrongSetting):
        keyring.must_open(old)
    for each in (old, both, new):
        each.close()

    assert done == (2, 0)
    assert (opened, body) == ((row.secrets[0]["secret"], {"X-A": "tulip"}), b"whsec_x")


def test_deliveries_go_on_while_a_key_is_changed(database: Database) -> None:
    """A dispatcher that has both keys signs for rows under either."""
    old, both = (Database(database.url, vault=Vault(*keys)) for keys in ((KEY,), (OTHER, KEY)))
    with Receiver() as receiver:
        before = subscribe(old, receiver.url("/before"))
        keyring.seal_all(old)
        after = subscribe(both, receiver.url("/after"))
        receiver.secrets = [row.secrets[0]["secret"] for row in (before, after)]
        with both.transaction() as session:
            keyring.rotate(session, endpoints.get(session, after.id, hold=True), timedelta(hours=1))
        with courier(both, settings_for(database.url)):
            ping(both, [before, after])
            got = receiver.wait_for(2)
    for each in (old, both):
        each.close()

    assert sorted(request.verified_by[0] for request in got) == sorted(receiver.secrets)


@pytest.mark.parametrize("command", ["api", "dispatcher", "migrate"])
def test_a_part_ends_with_one_line(sqlite_url: str, command: str) -> None:
    """With a wrong key each part ends with status 2 and one line that names the setting."""
    sealing = Database(sqlite_url, vault=Vault(KEY))
    subscribe(sealing, "http://127.0.0.1:9/")
    keyring.seal_all(sealing)
    sealing.close()
    env = {
        **os.environ,
        "TWINNING_DATABASE_URL": sqlite_url,
        "TWINNING_BROKER_URL": "redis://127.0.0.1:1/0",
        "TWINNING_SECRETS_KEY": OTHER,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "services.cli.main", command],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 2
    [line] = ended.stderr.strip().splitlines()
    assert line.startswith("twinning: TWINNING_SECRETS_KEY: ")


def test_migrating_with_a_key_seals(sqlite_url: str) -> None:
    """`twinning migrate` seals what was stored before there was a key, and again when the key changes."""
    plain = Database(sqlite_url)
    row = subscribe(plain, "http://127.0.0.1:9/")
    sealed_under = []
    for key, old in ((KEY, ""), (OTHER, KEY), (OTHER, "")):
        env = {**os.environ, "TWINNING_DATABASE_URL": sqlite_url}
        env |= {"TWINNING_SECRETS_KEY": key, "TWINNING_SECRETS_KEY_OLD": old}
        command = [sys.executable, "-m", "services.cli.main", "migrate"]
        subprocess.run(command, env=env, check=True, timeout=60)
        sealed_under.append(reload(plain, row).key_id)

    assert sealed_under == [Vault(KEY).key_id, Vault(OTHER).key_id, Vault(OTHER).key_id]
    assert row.secrets[0]["secret"] not in stored(plain)
    plain.close()
