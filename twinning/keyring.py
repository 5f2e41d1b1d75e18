# SPDX-License-Identifier: Apache-2.0
"""An endpoint's secrets and headers: several secrets live while they rotate, and all sealed at rest.

A row is sealed as a whole under one key, whose id it bears, or stored plainly where the operator has set
none. What was stored plainly is sealed when it is next written, or at once by `seal_all`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from twinning.database import Database, now
from twinning.endpoints import WebhookEndpoint, is_live, new_secrets
from twinning.errors import Conflict, Invalid, WrongSetting
from twinning.settings import Settings
from twinning.vault import SETTING, Vault, vault_of

# So many secrets may sign at once: the present one and two that are being left.
MOST_LIVE = 3
AT_ONCE = 200


def fill(session: Session, row: WebhookEndpoint, headers: Mapping[str, str]) -> None:
    """Give a new endpoint its first secret and its headers."""
    _store(session, row, new_secrets(), headers)


def put_headers(session: Session, row: WebhookEndpoint, headers: Mapping[str, str | None]) -> None:
    """Change an endpoint's headers; where a value is None the present one stays.

    Raises `Invalid` where there is no present one.
    """
    before = headers_of(session, row)
    after = before | {name: value for name, value in headers.items() if value is not None}
    for name in headers.keys() - after.keys():
        raise Invalid.field(f"/headers/{name}", "has no value yet that could stay")
    after = {name: after[name] for name in headers}
    if after != before:
        _store(session, row, _entries(session, row), after)


def headers_of(session: Session, row: WebhookEndpoint) -> dict[str, str]:
    """Give the headers that go with each delivery, readable."""
    vault = _vault(session, row)
    if vault is None:
        return row.headers
    return {name: vault.open(value, f"{row.id}/{name}") for name, value in row.headers.items()}


def live_secrets(session: Session, row: WebhookEndpoint, moment: datetime) -> tuple[str, ...]:
    """Give the secrets that sign at a moment, newest first."""
    vault = _vault(session, row)
    sealed = [entry["secret"] for entry in row.secrets if is_live(entry, moment)]
    return tuple(sealed if vault is None else [vault.open(one, row.id) for one in sealed])


def newest(session: Session, row: WebhookEndpoint) -> str:
    """Give the present secret, to be shown at creation and rotation."""
    return str(_entries(session, row)[0]["secret"])


def rotate(session: Session, row: WebhookEndpoint, grace: timedelta) -> None:
    """Give an endpoint a new secret; the one before signs, too, for the time of grace.

    No time of grace ends every older secret at once. Raises `Conflict` while three are live already.
    """
    moment = now()
    live = [entry for entry in _entries(session, row) if is_live(entry, moment)] if grace else []
    if len(live) >= MOST_LIVE:
        first = min(entry["ends_at"] for entry in live if entry["ends_at"] is not None)
        raise Conflict(
            f"{MOST_LIVE} secrets are live; the next one ends at {first}. Rotate after that, or with "
            "grace_seconds 0, which ends all older ones at once.",
            code="secrets-live",
        )
    ends_at = (moment + grace).isoformat()
    older = [{**entry, "ends_at": entry["ends_at"] or ends_at} for entry in live]
    _store(session, row, [*new_secrets(), *older], headers_of(session, row))
    row.version += 1
    row.updated_at = moment


def seal_all(database: Database) -> int:
    """Seal what is stored plainly, where there is a key; gives how many endpoints that were."""
    if database.vault is None:
        return 0
    done = 0
    while True:
        with database.transaction() as session:
            plain = select(WebhookEndpoint).where(col(WebhookEndpoint.key_id).is_(None)).limit(AT_ONCE)
            rows = session.exec(plain.order_by(col(WebhookEndpoint.id)).with_for_update()).all()
            for row in rows:
                _store(session, row, row.secrets, row.headers)
        done += len(rows)
        if len(rows) < AT_ONCE:
            return done


def must_open(database: Database) -> None:
    """Refuse to start on secrets that this process cannot read; raises `WrongSetting`."""
    query = select(WebhookEndpoint.key_id).where(col(WebhookEndpoint.key_id).is_not(None)).distinct()
    try:
        with database.snapshot() as session:
            key_ids = set(session.exec(query))
    except SQLAlchemyError:
        # The database is away, or has no such tables yet: nothing is known to be wrong with the setting.
        return
    if key_ids - {None if database.vault is None else database.vault.key_id}:
        _refuse(database.vault)


def check(settings: Settings, *, seal: bool = False) -> None:
    """Refuse a key that does not open what is stored, and have what is stored plainly sealed if asked to."""
    database = Database(settings.database, vault=vault_of(settings.secrets_key))
    try:
        must_open(database)
        if seal:
            seal_all(database)
    finally:
        database.close()


def _refuse(vault: Vault | None) -> None:
    what = "is not set" if vault is None else "is not the key"
    raise WrongSetting(f"{SETTING}: {what} with which the webhook secrets in this database were sealed")


def _vault(session: Session, row: WebhookEndpoint) -> Vault | None:
    """Give what opens a row; None for one that is stored plainly."""
    if row.key_id is None:
        return None
    vault: Vault | None = session.info.get("vault")
    if vault is None or vault.key_id != row.key_id:
        _refuse(vault)
    return vault


def _entries(session: Session, row: WebhookEndpoint) -> list[dict[str, Any]]:
    """Give the secrets with the moments they end, readable."""
    vault = _vault(session, row)
    if vault is None:
        return row.secrets
    return [{**entry, "secret": vault.open(entry["secret"], row.id)} for entry in row.secrets]


def _store(
    session: Session, row: WebhookEndpoint, secrets: Sequence[dict[str, Any]], headers: Mapping[str, str]
) -> None:
    vault: Vault | None = session.info.get("vault")
    if vault is None:
        row.key_id, row.secrets, row.headers = None, list(secrets), dict(headers)
    else:
        row.key_id = vault.key_id
        row.secrets = [{**entry, "secret": vault.seal(entry["secret"], row.id)} for entry in secrets]
        row.headers = {name: vault.seal(value, f"{row.id}/{name}") for name, value in headers.items()}
    session.add(row)
