# SPDX-License-Identifier: Apache-2.0
"""Every setting, from the environment with the prefix `TWINNING_`; a wrong one stops the start by name."""

import os
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from twinning.errors import WrongSetting
from twinning.terms import Band

PREFIX = "TWINNING_"
SHORTEST_KEY = 16
RETRY_SCHEDULE_S = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)


class Settings(BaseSettings):
    """The settings of every process; durations end in `_s` and are seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Path = Path("data")
    database_url: str = ""
    broker_url: str = ""
    public_url: str = "http://127.0.0.1:8000"
    log_format: Literal["console", "json"] = "console"
    rate_per_minute: Annotated[int, Field(ge=0)] = 600
    # The proxies whose word is taken for where a request came from.
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    webhook_allow_cidrs: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    webhook_allow_http: bool = False
    webhook_verify: bool = False
    webhook_timeout_s: Annotated[float, Field(gt=0, le=120)] = 15.0
    retry_schedule_s: Annotated[tuple[Annotated[float, Field(ge=0)], ...], NoDecode] = RETRY_SCHEDULE_S
    min_band: Band = Band.POSSIBLE
    per_city: Annotated[int, Field(ge=1, le=50)] = 3
    moderation: bool = False
    secrets_key: str = ""
    # The key before, while what it has sealed is moved over.
    secrets_key_old: str = ""
    # How often each worker looks for itself at what is due; 0 leaves it to the bell alone, which is
    # only for the test that shows the scan to be needed.
    scan_interval_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    lease_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    # Standing suggestions are all scored again so often, and only real changes are announced.
    refresh_interval_s: Annotated[float, Field(ge=1)] = 86400.0

    @field_validator("trusted_proxies", "webhook_allow_cidrs", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        """Read a list of networks separated by commas or blanks."""
        if not isinstance(value, str):
            return value
        return tuple(ip_network(part) for part in value.replace(",", " ").split())

    @field_validator("retry_schedule_s", mode="before")
    @classmethod
    def _delays(cls, value: object) -> object:
        """Read a list of seconds separated by commas or blanks."""
        if not isinstance(value, str):
            return value
        return tuple(float(part) for part in value.replace(",", " ").split())

    @field_validator("retry_schedule_s")
    @classmethod
    def _some_attempt(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Refuse a schedule without a single attempt."""
        if not value:
            raise ValueError("at least one delay is needed")
        return value

    @field_validator("secrets_key", "secrets_key_old")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        """Refuse a key that could be guessed; none at all is allowed, and stores secrets as they are."""
        if value and len(value) < SHORTEST_KEY:
            raise ValueError(f"needs {SHORTEST_KEY} characters or more, as from `openssl rand -base64 32`")
        return value

    @field_validator("secrets_key_old")
    @classmethod
    def _beside_a_new_one(cls, value: str, known: ValidationInfo) -> str:
        """Refuse an old key without a new one: what it has sealed would never be sealed anew."""
        if value and known.data.get("secrets_key") == "":
            raise ValueError("is taken beside TWINNING_SECRETS_KEY only, while that is changed")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        """Take SQLite or PostgreSQL, the latter in any of its usual spellings."""
        if not value:
            return value
        scheme, _, rest = value.partition("://")
        if scheme in {"postgresql", "postgres", "postgresql+psycopg"}:
            return f"postgresql+psycopg://{rest}"
        if scheme == "sqlite":
            return value
        raise ValueError("expected sqlite:///path or postgresql://user:password@host/name")

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, value: str) -> str:
        """Take Redis or Valkey by TCP, TLS or unix socket."""
        if value and urlsplit(value).scheme not in {"redis", "rediss", "redis+socket"}:
            raise ValueError("expected redis://host:port/0, rediss://... or redis+socket:///path")
        return value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        """Take a web address and drop the slash at its end."""
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("expected http://host or https://host")
        return value.rstrip("/")

    @cached_property
    def database(self) -> str:
        """The database to use: the one asked for, else SQLite in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute()}/twinning.db"

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raise `WrongSetting` that names the variable in one line."""
        unknown = [name for name in os.environ if name.startswith(PREFIX) and not _known(cls, name)]
        if unknown:
            raise WrongSetting(f"{unknown[0]}: there is no such setting")
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = PREFIX + str(first["loc"][0]).upper()
            what = str(first["msg"]).removeprefix("Value error, ")
            # A URL may hold a password, which must not reach a log.
            shown = (
                ""
                if name.endswith(("_URL", "_KEY", "_KEY_OLD"))
                else f" (it is {os.environ.get(name, '')!r})"
            )
            raise WrongSetting(f"{name}: {what}{shown}") from None


def _known(settings: type[BaseSettings], name: str) -> bool:
    """Say whether an environment variable is one of the settings."""
    return name.removeprefix(PREFIX).lower() in settings.model_fields
