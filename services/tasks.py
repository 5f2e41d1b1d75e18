# SPDX-License-Identifier: Apache-2.0
"""Celery's app: the one file that knows its task and its queue, which are those of the matching workers.

Dispatchers are rung over a channel of the broker, without Celery: a webhook is awaited somewhere.
"""

import warnings
from typing import Any, Final

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging
from kombu.entity import Exchange, Queue

from services.broker import ANSWER_S, CONNECT_S, PREFIX, broker_of
from twinning.settings import Settings
from twinning.terms import Bell

TASK: Final = "match.take"
QUEUE: Final = Bell.MATCH.value

# One waiting bell is enough for nothing to be missed; some more wake some more workers at once. Beyond
# that a bell tells nobody anything, and with all workers away it would only fill the broker's memory.
BELLS_WAITING: Final = 16

PUBLISH_RETRY: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}

TRANSPORT: Final = {
    # A killed worker's message comes back after 30 s, found by a sweep each 5 s. The scan has done the
    # work by then, so all this does is keep the broker tidy.
    "visibility_timeout": 30,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": ANSWER_S,
    "socket_connect_timeout": CONNECT_S,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "retry_on_timeout": False,
    "global_keyprefix": PREFIX,
}


@setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
def _leave_the_log_alone(**_: object) -> None:
    """Keep Celery from setting up the log, which belongs to the process that starts a worker."""


def make_app(settings: Settings) -> Celery:
    """Make the Celery app of this house for the broker that the settings name.

    Raises `WrongSetting` when they name none.
    """
    app = Celery("twinning", broker=broker_of(settings), set_as_current=False)
    app.conf.update(
        # An exchange of its own, for Celery's default would be that of every queue.
        task_queues=[Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE)],  # type: ignore[no-untyped-call]
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
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
        # One interval needs no file that remembers when it last ran.
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule=_schedule(settings.scan_interval_s),
    )
    return app


def make_worker(app: Celery, name: str) -> Any:
    """Make the Celery worker that answers the bell, one ring at a time, and says nothing by itself.

    The work is the task's, so the pool is `solo`; the chatter between workers is of no use to us.
    """
    # Whoever runs this as root in a container of their own has decided so, and is not told each time.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    return app.Worker(
        hostname=name,
        queues=[QUEUE],
        pool_cls="solo",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )


def is_crowded(channel: Any) -> bool:
    """Say whether so many bells wait to be answered that one more would tell nobody anything."""
    waiting: int = channel.queue_declare(QUEUE).message_count
    return waiting >= BELLS_WAITING


def _schedule(scan_interval_s: float) -> dict[str, dict[str, Any]]:
    """Ring the bell every `scan_interval_s` seconds, a second at least; 0 rings none."""
    if scan_interval_s == 0:
        return {}
    period = max(1.0, scan_interval_s)
    # With the workers away old bells expire rather than ring one after another later.
    options = {"queue": QUEUE, "expires": period, "retry": False}
    return {f"ring-{QUEUE}": {"task": TASK, "schedule": period, "options": options}}
