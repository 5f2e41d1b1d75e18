# SPDX-License-Identifier: Apache-2.0
"""One Celery task for each delivery, as services without an outbox do it: by `httpx.post`, or a client kept.

The worker is Celery's own, prefork with two children, with nothing said but the broker. No log is kept,
no address is looked at, nothing is tried again: all of that is left out in the peers' favour.
"""

import os
import sys
import time
from pathlib import Path

import httpx
from celery import Celery

from benchmarks._processes import Receiver, cpu_s, running
from twinning import signing

BROKER = "BENCH_BROKER_URL"
PATIENCE_S = 120.0
WARM = 8

app = Celery("peers", broker=os.environ.get(BROKER, "memory://"), set_as_current=False)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, task_default_queue="peers")
_client = httpx.Client()


def _headers(number: int, body: str, secret: str) -> dict[str, str]:
    signed = signing.headers(f"event-{number}", int(time.time()), body.encode(), [secret])
    return {**signed, "content-type": "application/json"}


@app.task(name="each")
def each(number: int, url: str, body: str, secret: str) -> None:
    """Deliver by `httpx.post`, which makes a client for each."""
    httpx.post(url, content=body, headers=_headers(number, body, secret)).raise_for_status()


@app.task(name="kept")
def kept(number: int, url: str, body: str, secret: str) -> None:
    """Deliver by a client that the process keeps."""
    _client.post(url, content=body, headers=_headers(number, body, secret)).raise_for_status()


TASKS = {"each": each, "kept": kept}


def cpu_us(kind: str, broker_url: str, receiver: Receiver, bodies: list[str]) -> tuple[float, float]:
    """Deliver every body by a task of this kind; gives deliveries a second, and microseconds of CPU for each.

    The processor time is that of asking and of the whole worker, its start left out.
    """
    secret = signing.new_secret()
    argv = [sys.executable, "-m", "celery", "--quiet", "-A", "benchmarks._celery_peers", "worker"]
    argv += ["-P", "prefork", "-c", "2", "-l", "CRITICAL"]
    app.conf.broker_url = broker_url
    root = str(Path(__file__).resolve().parent.parent)
    env = {BROKER: broker_url, "C_FORCE_ROOT": "1", "PYTHONPATH": root, "PYTHONWARNINGS": "ignore"}
    with running(argv, **env) as worker:
        begun = receiver.count
        for number in range(WARM):
            TASKS[kind].delay(number, receiver.url, bodies[0], secret)
        receiver.wait_for(begun + WARM, PATIENCE_S)
        begun, before, asked, clock = (
            receiver.count,
            cpu_s(worker.pid),
            time.process_time(),
            time.perf_counter(),
        )
        for number, body in enumerate(bodies):
            TASKS[kind].delay(number, receiver.url, body, secret)
        spent = time.process_time() - asked
        receiver.wait_for(begun + len(bodies), PATIENCE_S)
        passed = time.perf_counter() - clock
        return len(bodies) / passed, 1e6 * (cpu_s(worker.pid) - before + spent) / len(bodies)
