# SPDX-License-Identifier: Apache-2.0
"""The tests' own servers: if they did not hold what they promise, nothing else could be believed."""

import socket

import pytest
import redis
from sqlalchemy import create_engine, inspect, text

from services.broker import redis_url
from tests.servers import Server


def test_a_database_is_fresh_and_works(empty_database_url: str) -> None:
    """Each test gets an empty database of its own kind."""
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
        connection.execute(text("CREATE TABLE city (name TEXT)"))
        connection.execute(text("INSERT INTO city VALUES ('Limerick')"))
        assert connection.execute(text("SELECT name FROM city")).scalar_one() == "Limerick"
    engine.dispose()


def test_a_database_goes_even_with_a_session_open(postgres_url: str) -> None:
    """A test that forgets a connection does not hold up the ones after it."""
    engine = create_engine(postgres_url)
    connection = engine.connect()
    assert connection.execute(text("SELECT 1")).scalar_one() == 1
    connection.detach()


@pytest.mark.parametrize("turn", [1, 2])
def test_the_broker_is_empty_at_the_start_of_a_test(broker: Server, turn: int) -> None:
    """What one test leaves in the broker is gone in the next."""
    with redis.Redis.from_url(redis_url(broker.url)) as client:
        assert client.dbsize() == 0
        client.set("turn", turn)


def test_no_test_reaches_another_machine() -> None:
    """A connection to anything but this machine is refused before a packet leaves."""
    with socket.socket() as client, pytest.raises(ConnectionRefusedError, match=r"192\.0\.2\.1"):
        client.connect(("192.0.2.1", 443))
