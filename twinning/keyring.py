# SPDX-License-Identifier: Apache-2.0
"""An endpoint's secrets and headers: several secrets live while they rotate, and all sealed at rest.

A row is sealed as a whole under one key, whose id it bears, or stored plainly where the operator has set
none. What is plain, or sealed under an older key, is sealed under the present one when it is next
written, or at once by `seal_all`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Never

from sqlalchemy import Row, inspect, or_
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, SQLModel, col, select

from twinning import idempotency
from twinning.database import Database, now
from twinning.endpoints import WebhookEndpoint, is_live, new_secrets
from twinning.errors import Conflict, Invalid, WrongSetting
from twinning.idempotency import KeptAnswer
from twinning.settings import Settings
from twinning.vault import SETTING, Vault, vault_of

# So many secrets may sign at once: the present one and two that are being left.
MOST_LIVE = 3
AT_ONCE = 200
# A row, or so much of it as signing needs: its id, key_id, headers and secrets.
Sealed = WebhookEndpoint | Row[Any]


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


def headers_of(session: Session, row: Sealed) -> dict[str, str]:
    """Give the headers that go with each delivery, readable."""
    opened = _opener(session, row)
    return {name: opened(value, f"{row.id}/{name}") for name, value in row.headers.items()}


def live_secrets(session: Session, row: Sealed, moment: datetime) -> tuple[str, ...]:
    """Give the secrets that sign at a moment, newest first."""
    opened = _opener(session, row)
    return tuple(opened(entry["secret"], row.id) for entry in row.secrets if is_live(entry, moment))


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


@dataclass(frozen=True, slots=True)
class Sealing:
    """A table that holds what is sealed: which key sealed a row, and how to seal it anew."""

    table: type[SQLModel]
    key_id: Any
    reseal: Callable[[Session, Any], None]


def seal_all(database: Database) -> int:
    """Seal under the present key what is not, where there is a key; gives how many rows that were."""
    endpoint = Sealing(WebhookEndpoint, col(WebhookEndpoint.key_id), _reseal)
    answer = Sealing(KeptAnswer, col(KeptAnswer.key_id), idempotency.reseal)
    return sum(_seal(database, each) for each in (endpoint, answer))


def _seal(database: Database, what: Sealing) -> int:
    """Seal a table's rows that are plain or sealed under an older key, some hundreds a transaction."""
    if database.vault is None:
        return 0
    done = 0
    while True:
        with database.transaction() as session:
            amiss = or_(what.key_id.is_(None), what.key_id != database.vault.key_id)
            query = select(what.table).where(amiss).order_by(*inspect(what.table).primary_key)
            rows = session.exec(query.limit(AT_ONCE).with_for_update(key_share=True)).all()
            for row in rows:
                what.reseal(session, row)
        done += len(rows)
        if len(rows) < AT_ONCE:
            return done


def _reseal(session: Session, row: WebhookEndpoint) -> None:
    _store(session, row, _entries(session, row), headers_of(session, row))


def must_open(database: Database) -> None:
    """Refuse to start on secrets that this process cannot read; raises `WrongSetting`."""
    try:
        with database.snapshot() as session:
            tables = (WebhookEndpoint.key_id, KeptAnswer.key_id)
            key_ids = {one for table in tables for one in session.scalars(select(table).distinct())}
    except SQLAlchemyError:
        # The database is away, or has no such tables yet: nothing is known to be wrong with the setting.
        return
    vault = database.vault
    if any(key_id is not None and (vault is None or not vault.knows(key_id)) for key_id in key_ids):
        _refuse(vault)


def check(settings: Settings, *, seal: bool = False) -> None:
    """Refuse a key that does not open what is stored, and have what is stored plainly sealed if asked to."""
    database = Database(settings.database, vault=vault_of(settings.secrets_key, settings.secrets_key_old))
    try:
        must_open(database)
        if seal:
            seal_all(database)
    finally:
        database.close()


def _refuse(vault: Vault | None) -> Never:
    what = "is not set, and" if vault is None else "lacks the key with which"
    raise WrongSetting(
        f"{SETTING}: {what} webhook secrets in this database were sealed; set it to that key, or "
        f"{SETTING}_OLD beside a new one"
    )


def _opener(session: Session, row: Sealed) -> Callable[[str, str], str]:
    """Give what opens a row's texts, each in its place; those of one that is stored plainly stay."""
    key_id = row.key_id
    if key_id is None:
        return lambda text, _place: text
    vault: Vault | None = session.info.get("vault")
    if vault is None:
        _refuse(vault)
    return lambda text, place: vault.open(text, place, key_id)


def _entries(session: Session, row: WebhookEndpoint) -> list[dict[str, Any]]:
    """Give the secrets with the moments they end, readable."""
    opened = _opener(session, row)
    return [{**entry, "secret": opened(entry["secret"], row.id)} for entry in row.secrets]


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
