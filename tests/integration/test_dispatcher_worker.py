# SPDX-License-Identifier: Apache-2.0
"""The delivery worker as a process: it hears the bell, dies in every way, and the next one goes on."""

import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.dispatcher.courier import Courier
from services.doorbell import Doorbell
from tests.hooks import (
    attempts,
    deliveries,
    eventually,
    ping,
    settings_for,
    subscribe,
    until_listening,
    worker_process,
)
from tests.receiver import Manner, Receiver
from tests.servers import Server, own_broker
from twinning.database import Database
from twinning.terms import DeliveryState


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def test_a_bell_wakes_the_worker(
    database: Database,
    receiver: Receiver,
    broker: Server,
    tmp_path: Path,
) -> None:
    """With the scan off the bell alone has each event delivered, soon; SIGTERM ends the worker clean."""
    settings = settings_for(database.url, broker_url=broker.url, scan_interval_s=0)
    row = subscribe(database, receiver.url("/a"))
    with worker_process(settings, tmp_path) as process, Doorbell(settings) as bell:
        database.ring = bell.ring
        until_listening(broker.url)
        ping(database, [row])
        receiver.wait_for(1)
        lags = []
        for count in range(2, 32):
            began = time.time()
            ping(database, [row])
            lags.append(receiver.wait_for(count)[-1].at - began)
        eventually(lambda: {one.state for one in deliveries(database)} == {DeliveryState.DELIVERED})
        process.send_signal(signal.SIGTERM)
        assert process.wait(4) == 0
    median_ms = statistics.median(lags) * 1000
    assert median_ms < 500, "the way from the event to its receipt, in ms"


def test_a_bell_that_rang_while_the_broker_was_away_is_made_good_for(
    database: Database, receiver: Receiver, short_folder: Path, tmp_path: Path
) -> None:
    """Whenever it begins to listen, long before its next scan, a worker looks for what it may have missed."""
    with own_broker(short_folder) as away:
        settings = settings_for(database.url, broker_url=away.url, scan_interval_s=60)
    row = subscribe(database, receiver.url("/a"))
    ping(database, [row])
    with worker_process(settings, tmp_path):
        # The look at its start is over when that has been written up.
        eventually(lambda: {one.state for one in deliveries(database)} == {DeliveryState.DELIVERED})
        ping(database, [row])
        with own_broker(short_folder):
            receiver.wait_for(2)


def test_a_killed_worker_leaves_its_delivery_to_the_next(
    database: Database, receiver: Receiver, broker: Server, tmp_path: Path
) -> None:
    """What a killed worker had in its hands is sent by the next one when the lease has ended, not before."""
    settings = settings_for(database.url, broker_url=broker.url, webhook_timeout_s=1, lease_s=3)
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(delay_s=0.9))
    with worker_process(settings, tmp_path) as process:
        ping(database, [row])
        [first] = receiver.wait_for(1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    receiver.behave("/a", Manner())
    with worker_process(settings, tmp_path):
        _, second = receiver.wait_for(2)
        eventually(lambda: deliveries(database)[0].state == DeliveryState.DELIVERED)
    assert second.webhook_id == first.webhook_id
    log = attempts(database, deliveries(database)[0].id)
    # The lease began with the attempt, which on a busy machine comes to its receiver a good while later.
    assert second.at - log[0].started_at.timestamp() >= settings.lease_s
    assert [(line.error, line.status) for line in log] == [("interrupted", None), (None, 200)]


def test_a_worker_told_to_stop_hands_over(
    database: Database, receiver: Receiver, broker: Server, tmp_path: Path
) -> None:
    """SIGTERM in the middle of a long call ends the worker within four seconds, its lease given back."""
    settings = settings_for(database.url, broker_url=broker.url, webhook_timeout_s=30)
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(delay_s=25))
    with worker_process(settings, tmp_path) as process:
        ping(database, [row])
        receiver.wait_for(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(4) == 0
    assert [(one.state, one.leased_by) for one in deliveries(database)] == [(DeliveryState.PENDING, None)]


def test_a_rung_courier_writes_at_once_and_one_that_is_not_looks_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bell is believed; a scan of an idle database takes nobody's place at it."""
    courier = Courier(database, settings_for(database.url), "courier")
    courier._clock_seen_at = time.monotonic()
    with monkeypatch.context() as patched:
        patched.setattr(database, "snapshot", _refused)
        assert courier._turn([], 1, rung=True).taken == []
    with monkeypatch.context() as patched:
        patched.setattr(database, "transaction", _refused)
        assert courier._turn([], 1, rung=False).taken == []


def _refused(*_: object) -> None:
    raise AssertionError("this was not to be asked")
