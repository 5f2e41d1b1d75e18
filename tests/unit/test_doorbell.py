# SPDX-License-Identifier: Apache-2.0
"""The order of the doorbell: the deliveries first, and matching for all that."""

import threading

import pytest

from services.doorbell import Doorbell
from twinning.settings import Settings
from twinning.terms import Bell


def test_rings_of_the_deliveries_do_not_keep_matching_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each commit rings for deliveries faster than one ring is sent, matching is rung, too."""
    doorbell = Doorbell(Settings(broker_url="redis://broker.invalid"))
    sent: list[Bell] = []
    enough = threading.Event()

    def send(bell: Bell) -> None:
        sent.append(bell)
        if len(sent) < 50:
            doorbell.ring(Bell.DELIVER)
        else:
            enough.set()

    monkeypatch.setattr(doorbell, "_send", send)
    with doorbell._changed:
        doorbell.ring(Bell.MATCH)
        doorbell.ring(Bell.DELIVER)
    assert enough.wait(10)
    doorbell.close()

    assert sent[0] is Bell.DELIVER
    assert sent.index(Bell.MATCH) <= 2
