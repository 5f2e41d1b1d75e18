# SPDX-License-Identifier: Apache-2.0
"""What all tests share: real servers, fresh databases, and no way out of this machine."""

import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
import redis
from hypothesis import HealthCheck, settings

from services.broker import redis_url
from tests.servers import (
    Server,
    broker_name,
    broker_server,
    own_broker,
    postgres_database,
    postgres_name,
    postgres_server,
)
from twinning.database import Database
from twinning.migrating import migrate
from twinning.settings import PREFIX

# A shared machine may pause for longer than any deadline, which says nothing about the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("house"), max_examples=2_000)
settings.load_profile("house")

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take what the fault tests are told."""
    group = parser.getgroup("faults", "tests that break things")
    group.addoption("--seed", type=int, default=20, help="what the fault tests draw their faults from (20)")
    group.addoption("--long", action="store_true", help="fault tests in full length, on both databases")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which servers the tests run on and what they draw from, so that a run can be had again."""
    return [
        f"broker: {broker_name()}",
        f"databases: SQLite, {postgres_name()}",
        f"seed: {config.getoption('seed')}",
    ]


def pytest_configure() -> None:
    """Close the way out of this machine, and let no setting of the shell change a test."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    named = {urlsplit(os.environ.get(name, "")).hostname for name in ("TEST_BROKER_URL", "TEST_DATABASE_URL")}
    allowed = named - {None}

    def only_here(event: str, arguments: tuple[object, ...]) -> None:
        if event != "socket.connect":
            return
        address = arguments[1]
        if not isinstance(address, tuple):
            return  # a unix socket
        host = str(address[0])
        if not host.startswith(LOOPBACK) and host not in allowed:
            raise ConnectionRefusedError(f"a test may not connect to {host}")

    sys.addaudithook(only_here)


@pytest.fixture(scope="session")
def broker_process() -> Iterator[Server]:
    """The broker of this test process; use `broker`, which is empty, in a test."""
    with broker_server() as server:
        yield server


@pytest.fixture
def broker(broker_process: Server) -> Server:
    """A real broker with nothing in it, shared by the tests of this process: not to be stopped."""
    with redis.Redis.from_url(redis_url(broker_process.url)) as client:
        client.flushdb()
    return broker_process


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """An empty folder whose path is short enough for a socket; that of tmp_path often isn't."""
    with TemporaryDirectory(prefix="twinning-test-") as folder:
        yield Path(folder)


@pytest.fixture
def private_broker(short_folder: Path) -> Iterator[Server]:
    """A real broker for one test alone, which it may stop, kill and wipe."""
    with own_broker(short_folder) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The PostgreSQL of this test process."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with all tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("template") / "twinning.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: Server) -> Iterator[str]:
    """The name of a PostgreSQL database with all tables and nothing in them, to be copied."""
    name = f"template_{uuid.uuid4().hex}"
    with postgres_database(postgres, name) as url:
        migrate(url)
        yield name


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_file: Path) -> str:
    """The URL of a fresh SQLite database with all tables."""
    return f"sqlite:///{shutil.copy(sqlite_file, tmp_path / 'twinning.db')}"


@pytest.fixture
def postgres_url(postgres: Server, postgres_template: str) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database with all tables."""
    with postgres_database(postgres, f"test_{uuid.uuid4().hex}", postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database with all tables, once of each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database without any table, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Server = request.getfixturevalue("postgres")
    with postgres_database(server, f"test_{uuid.uuid4().hex}") as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database, once of each kind."""
    database = Database(database_url)
    yield database
    database.close()
