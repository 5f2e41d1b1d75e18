# SPDX-License-Identifier: Apache-2.0
"""The embedded broker: found, started from its own command, and kept out of others' reach."""

import stat
from pathlib import Path

import pytest
import redis

from services.broker import redis_url
from services.cli.servers import EmbeddedBroker, broker_binary, embedded_broker
from tests.servers import running, until


def start_and_set(broker: EmbeddedBroker, log: Path) -> None:
    with running(broker.argv, log=log) as process:
        until(broker.ready, process, log)
        with redis.Redis.from_url(redis_url(broker.url)) as client:
            client.incr("starts")


def test_it_keeps_its_file_in_the_data_folder_and_listens_nowhere_else(short_folder: Path) -> None:
    """What it was told survives a restart; it has no port, and nobody else may come near its socket."""
    data = short_folder / "a folder"
    for _ in range(2):
        with embedded_broker(data) as broker:
            start_and_set(broker, short_folder / "log")
    with embedded_broker(data) as broker, running(broker.argv, log=short_folder / "log") as process:
        until(broker.ready, process, short_folder / "log")
        with redis.Redis.from_url(redis_url(broker.url)) as client:
            assert client.get("starts") == b"2"
            assert client.config_get("port") == {"port": "0"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert stat.S_IMODE((data / "broker").stat().st_mode) == 0o700


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """A data folder may lie deeper than a socket's path may be long; nothing stays behind then either."""
    data = tmp_path / ("d" * 120)
    with embedded_broker(data) as broker:
        start_and_set(broker, tmp_path / "log")
        socket = Path(broker.argv[broker.argv.index("--unixsocket") + 1])
        assert not socket.is_relative_to(data)
    assert not socket.parent.exists()


def test_without_the_wheels_program_one_on_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pinned program comes before PATH's, which stands in only where there is no pinned one."""
    mine = tmp_path / "valkey-server"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert broker_binary() != mine
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert broker_binary() == mine
