# SPDX-License-Identifier: Apache-2.0
"""The settings: read from the environment, and a wrong one is refused by its name."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from twinning.errors import WrongSetting
from twinning.settings import Settings


def test_nothing_set_runs_on_sqlite_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a database URL the data folder holds an SQLite file."""
    monkeypatch.setenv("TWINNING_DATA_DIR", str(tmp_path))

    assert Settings.load().database == f"sqlite:///{tmp_path}/twinning.db"


def test_lists_are_read_with_commas_and_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks and delays may be separated by commas, blanks or both."""
    monkeypatch.setenv("TWINNING_WEBHOOK_ALLOW_CIDRS", "127.0.0.0/8, ::1/128 10.0.0.0/8")
    monkeypatch.setenv("TWINNING_RETRY_SCHEDULE_S", "0, 0.5 1")

    settings = Settings.load()

    assert settings.webhook_allow_cidrs == (
        ip_network("127.0.0.0/8"),
        ip_network("::1/128"),
        ip_network("10.0.0.0/8"),
    )
    assert settings.retry_schedule_s == (0.0, 0.5, 1.0)


@pytest.mark.parametrize("spelling", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_may_be_spelled_as_people_do(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every usual scheme of PostgreSQL means the one driver that is installed."""
    monkeypatch.setenv("TWINNING_DATABASE_URL", f"{spelling}://u:p@h/d")

    assert Settings.load().database == "postgresql+psycopg://u:p@h/d"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://x"),
        ("BROKER_URL", "amqp://x"),
        ("PUBLIC_URL", "twinning"),
        ("LOG_FORMAT", "xml"),
        ("PER_CITY", "0"),
        ("PER_CITY", "three"),
        ("MIN_BAND", "excellent"),
        ("RETRY_SCHEDULE_S", "5, soon"),
        ("RETRY_SCHEDULE_S", ""),
        ("WEBHOOK_ALLOW_CIDRS", "10.0.0.1/8"),
        ("WEBHOOK_TIMEOUT_S", "0"),
        ("WEBHOOK_VERIFY", "perhaps"),
        ("SECRETS_KEY", "too short"),
        ("SECRETS_KEY_OLD", "k" * 44),
        ("SECRETS_KEY_OLD", "too short"),
        ("MODERATION", "perhaps"),
        ("RATE_PER_MINUTE", "-1"),
        ("LEASE_S", "nan"),
        ("WEBHOOK_ALLOW_CIDR", "127.0.0.0/8"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that cannot work, or a setting that does not exist, stops the start by name."""
    monkeypatch.setenv(f"TWINNING_{name}", value)

    with pytest.raises(WrongSetting) as refused:
        Settings.load()

    assert refused.value.detail.startswith(f"TWINNING_{name}: ")
    assert "\n" not in refused.value.detail


def test_a_password_never_stands_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused URL is not repeated, since it may hold a password."""
    monkeypatch.setenv("TWINNING_DATABASE_URL", "mysql://user:tulip@host/name")

    with pytest.raises(WrongSetting) as refused:
        Settings.load()

    assert "tulip" not in refused.value.detail


@pytest.mark.parametrize("name", ["SECRETS_KEY", "SECRETS_KEY_OLD"])
def test_a_key_never_stands_in_the_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused key is not repeated."""
    monkeypatch.setenv(f"TWINNING_{name}", "tulip")

    with pytest.raises(WrongSetting) as refused:
        Settings.load()

    assert "tulip" not in refused.value.detail
