# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest on both databases: sealed under the operator's key, readable again, refused without it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from tests.factories import Door, door
from tests.hooks import courier, ping, reload, settings_for, subscribe
from tests.receiver import Receiver
from twinning import endpoints, keyring
from twinning.database import Database, now
from twinning.errors import WrongSetting
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
    """`twinning migrate` seals what was stored before there was a key."""
    plain = Database(sqlite_url)
    row = subscribe(plain, "http://127.0.0.1:9/")
    env = {**os.environ, "TWINNING_DATABASE_URL": sqlite_url, "TWINNING_SECRETS_KEY": KEY}
    command = [sys.executable, "-m", "services.cli.main", "migrate"]
    subprocess.run(command, env=env, check=True, timeout=60)

    assert reload(plain, row).key_id == Vault(KEY).key_id
    assert row.secrets[0]["secret"] not in stored(plain)
    plain.close()
