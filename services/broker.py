# SPDX-License-Identifier: Apache-2.0
"""The doorbell: the one file that knows Celery's app, its queues and how a bell reaches them.

The broker carries no data. A message says "there is work", never "this work": what is due stands in the
database and is found again by the scan, so a lost bell costs a second, and nothing else.
"""

import queue
import threading
import warnings
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import redis
import structlog
from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from redis.backoff import NoBackoff
from redis.retry import Retry

from twinning.errors import WrongSetting
from twinning.settings import Settings
from twinning.terms import Bell

TASKS: Final = {Bell.MATCH: "match.take", Bell.DELIVER: "deliver.take"}

# One waiting bell is enough for nothing to be missed; some more wake some more workers at once. Beyond
# that a bell tells nobody anything, and with all workers away it would only fill the broker's memory.
BELLS_WAITING = 16
# A webhook may be awaited somewhere; matching is in nobody's way.
_URGENCY: Final = (Bell.DELIVER, Bell.MATCH)

PUBLISH_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}

TRANSPORT = {
    # A killed worker's message comes back after 30 s, found by a sweep each 5 s. The scan has done the
    # work by then, so all this does is keep the broker tidy.
    "visibility_timeout": 30,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 3,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "retry_on_timeout": False,
    "global_keyprefix": "twinning:",
}

log = structlog.get_logger(__name__)


@setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
def _leave_the_log_alone(**_: object) -> None:
    """Keep Celery from setting up the log, which belongs to the process that starts a worker."""


def make_app(settings: Settings) -> Celery:
    """Make the Celery app of this house for the broker that the settings name.

    Raises `WrongSetting` when they name none.
    """
    if not settings.broker_url:
        raise WrongSetting("TWINNING_BROKER_URL: a worker, dispatcher or scheduler needs a broker")
    app = Celery("twinning", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        task_queues=[_queue(bell) for bell in Bell],
        task_default_queue=Bell.DELIVER.value,
        task_create_missing_queues=False,
        task_routes={name: {"queue": bell.value} for bell, name in TASKS.items()},
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        result_expires=None,
        task_publish_retry_policy=PUBLISH_RETRY,
        broker_transport_options=TRANSPORT,
        broker_connection_retry_on_startup=True,
        # Never give up on a broker that is away: it comes back, and the scan works meanwhile.
        broker_connection_max_retries=None,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_soft_shutdown_timeout=2.0,
        worker_enable_soft_shutdown_on_idle=True,
        worker_send_task_events=False,
        worker_redirect_stdouts=False,
        # Two intervals need no file that remembers when they last ran.
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule=_schedule(settings.scan_interval_s),
    )
    return app


def _queue(bell: Bell) -> Queue:
    """Give a bell a queue with an exchange of its own; Celery's default would tie both to one."""
    return Queue(bell.value, Exchange(bell.value), routing_key=bell.value)  # type: ignore[no-untyped-call]


def make_worker(app: Celery, bell: Bell, name: str) -> Any:
    """Make the Celery worker that answers one bell, one ring at a time, and says nothing by itself.

    The work is the task's, so the pool is `solo`; the chatter between workers is of no use to us.
    """
    # Whoever runs this as root in a container of their own has decided so, and is not told each time.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    return app.Worker(
        hostname=name,
        queues=[bell.value],
        pool_cls="solo",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )


def _schedule(scan_interval_s: float) -> dict[str, dict[str, Any]]:
    """Ring each bell every `scan_interval_s` seconds, a second at least; 0 rings none."""
    if scan_interval_s == 0:
        return {}
    period = max(1.0, scan_interval_s)
    return {
        f"ring-{bell}": {
            "task": name,
            "schedule": period,
            # With the workers away old bells expire rather than ring one after another later.
            "options": {"queue": bell.value, "expires": period, "retry": False},
        }
        for bell, name in TASKS.items()
    }


class Doorbell:
    """Rings the workers' bells without ever making its caller wait.

    A daemon thread publishes. At most one ring per bell waits for it: a thousand rings in a moment become
    a few messages, and one that comes while a message is on its way makes one more, because the worker
    that took the first may have looked before the caller's commit. What cannot be published within the
    socket's time-outs is dropped, and the scan finds the work instead.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._waiting: set[Bell] = set()
        self._crowded: set[Bell] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._away = False
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def ring(self, bell: Bell) -> None:
        """Ask for a bell to be rung soon and return at once, whatever state the broker is in."""
        with self._changed:
            if self._closed:
                return
            if self._thread is None:
                # Started by the first ring, so that it lives in the process that rings, after any fork.
                self._thread = threading.Thread(target=self._publish, name="doorbell", daemon=True)
                self._thread.start()
            self._waiting.add(bell)
            self._changed.notify()

    def close(self, timeout_s: float = 1.0) -> None:
        """Publish what waits and stop, or give up after `timeout_s` seconds; later rings do nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _publish(self) -> None:
        """Ring what waits until the bell is closed; the thread's whole life."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    break
                bells = sorted(self._waiting, key=_URGENCY.index)
                self._waiting.clear()
            for bell in bells:
                self._try(bell)
        self._hang_up()

    def _try(self, bell: Bell) -> None:
        """Ring, whatever becomes of it."""
        try:
            self._send(bell)
        # Kombu, redis-py and the resolver fail in dozens of ways, and the thread must outlive all.
        except Exception as error:  # noqa: BLE001
            self._lost(error)
        else:
            self._found()

    def _send(self, bell: Bell) -> None:
        """Publish one message, unless enough of the same are waiting already."""
        if self._connection is None:
            self._connection = self._app.connection_for_write(
                # One attempt a ring: without this kombu tries for ever to connect to a broker that is away.
                transport_options={**TRANSPORT, "max_retries": 1, "interval_start": 0, "interval_max": 0.1}
            )
        channel = self._connection.default_channel
        if bell in self._crowded and _is_crowded(channel, bell):
            return
        self._app.send_task(TASKS[bell], connection=self._connection, retry=False, ignore_result=True)
        # Looked at behind the ring, which would else come later by as long as the look takes.
        if _is_crowded(channel, bell):
            self._crowded.add(bell)
        else:
            self._crowded.discard(bell)

    def _lost(self, error: Exception) -> None:
        """Drop the connection after a failure, and say so once until it works again."""
        if not self._away:
            log.warning(
                "the broker is away (%s); work waits for the scan", str(error) or type(error).__name__
            )
        self._away = True
        self._hang_up()

    def _found(self) -> None:
        """Say once that the broker is back."""
        if self._away:
            log.info("the broker is back")
        self._away = False

    def _hang_up(self) -> None:
        """Forget the connection; its other end has three seconds to hear of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.release()  # type: ignore[no-untyped-call]
            except Exception as error:  # noqa: BLE001
                log.debug("closing a broken connection failed: %r", error)


def _is_crowded(channel: Any, bell: Bell) -> bool:
    """Say whether enough of the same bell wait to be answered."""
    waiting: int = channel.queue_declare(bell.value).message_count
    return waiting >= BELLS_WAITING


def redis_url(broker_url: str) -> str:
    """Spell a broker's URL as redis-py does; only that of a unix socket differs from Celery's."""
    parts = urlsplit(broker_url)
    if parts.scheme != "redis+socket":
        return broker_url
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/")
    return f"unix://{parts.netloc}{parts.path}?db={database or 0}"


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
