# SPDX-License-Identifier: Apache-2.0
"""The broker as redis-py reaches it: its URL, its time-outs, the channel of the dispatchers' bell.

It carries no data. A message says "there is work", never "this work": what is due stands in the database and
is found again by the scan, so a lost bell costs a second, and nothing else.
"""

import queue
import threading
from typing import Final
from urllib.parse import parse_qs, urlsplit

import redis
import structlog
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from twinning.errors import WrongSetting
from twinning.settings import Settings
from twinning.terms import Bell

PREFIX: Final = "twinning:"
# Whoever rings or listens is held up for no longer than this, the look-up of the name apart.
CONNECT_S: Final = 2.0
ANSWER_S: Final = 3.0

log = structlog.get_logger(__name__)


def broker_of(settings: Settings) -> str:
    """Give the URL of the broker that the settings name; raises `WrongSetting` when they name none."""
    if not settings.broker_url:
        raise WrongSetting("TWINNING_BROKER_URL: a worker, dispatcher or scheduler needs a broker")
    return settings.broker_url


def redis_url(broker_url: str) -> str:
    """Spell a broker's URL as redis-py does; only that of a unix socket differs from Celery's."""
    parts = urlsplit(broker_url)
    if parts.scheme != "redis+socket":
        return broker_url
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/")
    return f"unix://{parts.netloc}{parts.path}?db={database or 0}"


def channel_of(broker_url: str) -> str:
    """Name the channel of the dispatchers' bell; a broker's databases, unlike their keys, share channels."""
    database = parse_url(redis_url(broker_url)).get("db", 0)  # type: ignore[no-untyped-call]
    return f"{PREFIX}{database}:{Bell.DELIVER}"


def connect(broker_url: str) -> redis.Redis:
    """Make a client that waits for nothing for long and tries nothing twice."""
    url = redis_url(broker_url)
    return redis.Redis.from_url(
        url,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=CONNECT_S,
        # A unix socket knows no such thing, nor does it lose its other end unseen.
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
        retry=Retry(NoBackoff(), 0),
    )


def broker_alive(broker_url: str, timeout_s: float = 1.0) -> bool:
    """Say whether the broker answers a PING within `timeout_s` seconds, name resolution included."""
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ping() -> None:
        try:
            with redis.Redis.from_url(
                redis_url(broker_url),
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
            ) as client:
                answers.put(bool(client.ping()))
        except (redis.RedisError, OSError) as error:
            log.debug("the broker does not answer: %r", error)
            answers.put(False)

    # A thread, because no time-out of redis-py bounds the resolver, which may hang for half a minute.
    threading.Thread(target=ping, name="broker-alive", daemon=True).start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        return False
