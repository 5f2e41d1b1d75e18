# SPDX-License-Identifier: Apache-2.0
"""The whole system on one machine: which processes `twinning up` starts, and with what."""

import os
import socket
import sys
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from rich.console import Console
from sqlmodel import Session

from services.cli.children import Child
from services.cli.folder import locked_folder
from services.cli.servers import embedded_broker
from services.cli.storing import answering
from services.cli.supervisor import Supervisor
from twinning import clocks, keyring, keys, workers
from twinning.database import Database
from twinning.errors import Unauthorised, Unready
from twinning.migrating import migrate
from twinning.settings import PREFIX, Settings
from twinning.terms import Role, Service

HOST: Final = "127.0.0.1"
KEY_FILE: Final = "staff.key"


def run(settings: Settings, data: Path | None, port: int) -> int:
    """Start everything, keep it running until a signal, and give the exit code."""
    folder = (data or settings.data_dir).absolute()
    port = port or free_port()
    _keep_free(port)
    with ExitStack() as stack:
        lock = stack.enter_context(locked_folder(folder))
        env = {f"{PREFIX}DATA_DIR": str(folder), f"{PREFIX}PUBLIC_URL": _public_url(settings, port)}
        children = []
        if not settings.broker_url:
            broker = stack.enter_context(embedded_broker(folder))
            env[f"{PREFIX}BROKER_URL"] = broker.url
            children.append(Child("broker", broker.argv, {}, broker.ready))
        settings = settings.model_copy(update={"data_dir": folder})
        with answering(settings.database):
            migrate(settings.database)
            keyring.check(settings, seal=True)
            clocks.check(settings)
        database = Database(settings.database)
        stack.callback(database.close)
        key = _first_key(database, folder)
        children += _services(database, env, port)
        return Supervisor(children, held=[lock]).run(
            lambda: _welcome(env[f"{PREFIX}PUBLIC_URL"], folder, key)
        )


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _keep_free(port: int) -> None:
    """Refuse a port that somebody listens on already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Unready(
                f"port {port} cannot be used ({error.strerror}); choose another with --port"
            ) from None


def _public_url(settings: Settings, port: int) -> str:
    """Take the operator's public address; where none is set, this machine's."""
    asked = f"{PREFIX}PUBLIC_URL" in os.environ
    return settings.public_url if asked else f"http://{HOST}:{port}"


def _services(database: Database, env: Mapping[str, str], port: int) -> list[Child]:
    """Name the services in the order of their start."""
    return [
        Child("api", _command("api", "--port", str(port)), env, lambda: _answers(port)),
        Child(Service.MATCHER, _command("worker"), env, _lives(database, Service.MATCHER)),
        Child(Service.DISPATCHER, _command("dispatcher"), env, _lives(database, Service.DISPATCHER)),
        Child("scheduler", _command("scheduler"), env),
    ]


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "services.cli.main", *words]


def _answers(port: int) -> bool:
    """Say whether the API answers."""
    with suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=0.5) as answer:
        return bool(answer.status == 200)
    return False


def _lives(database: Database, service: Service) -> Callable[[], bool]:
    """Make the question whether a worker of this service has said that it lives."""

    def lives() -> bool:
        with database.snapshot() as session:
            return service in workers.living(session)

    return lives


def _first_key(database: Database, folder: Path) -> str | None:
    """Make a staff key the first time and keep it where only this user can read it; give it then.

    A key that is kept and does not open this database, as after a change of `DATABASE_URL`, is replaced.
    """
    path = folder / KEY_FILE
    with database.transaction() as session:
        if path.exists() and _opens(session, path.read_text(encoding="ascii").strip()):
            return None
        _, key = keys.create(session, keys.ApiKeyCreate(role=Role.STAFF, name="first staff key"))
    # Written only once the key is good, whole or not at all, and never readable by others.
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{key}\n")
    fresh.replace(path)
    return key


def _opens(session: Session, key: str) -> bool:
    """Say whether a key is good here."""
    try:
        return keys.identify(session, key).is_staff
    except Unauthorised:
        return False


def _welcome(url: str, folder: Path, key: str | None) -> None:
    """Say where it is, and the first time with which key."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"\n  [bold]ASEM Twinning[/] is ready at [bold cyan]{url}[/]")
    console.print(f"  data in {folder}, staff key in {folder / KEY_FILE}")
    if key:
        console.print(f"  your staff key, shown this once: [bold]{key}[/]")
    console.print("  Ctrl-C stops everything.\n")
