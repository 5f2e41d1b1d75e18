# SPDX-License-Identifier: Apache-2.0
"""The dispatcher's ear: a thread that listens for the bell on a channel of the broker, for ever."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from redis.client import PubSub

from services.broker import channel_of, connect
from services.contact import Contact

# So long it listens before it looks whether it is to stop.
TICK_S: Final = 0.25
# After so much silence it asks whether anybody is there, and takes as much again for a no.
SILENCE_S: Final = 5.0
# How long it waits before it calls a broker again that did not answer: at first, and at most.
SOON_S: Final = 0.1
LATE_S: Final = 2.0


class Ear:
    """Calls `rung` at each bell, and `back` whenever it has begun to listen, for bells may have been missed.

    Whatever the broker does, it is tried again: one that is away, that hangs, or that a half-open connection
    only pretends to reach. Both are called in the ear's thread, and are not to take long.
    """

    def __init__(
        self,
        broker_url: str,
        rung: Callable[[], None],
        back: Callable[[], None],
        *,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._url = broker_url
        self._rung = rung
        self._back = back
        self._silence_s = silence_s
        self._channel = channel_of(broker_url)
        self._contact = Contact("the broker", "deliveries wait for the scan")
        self._wait_s = SOON_S
        self._stopping = threading.Event()
        # A look-up of the broker's name may hang for longer than a process takes to end.
        self._thread = threading.Thread(target=self._live, name="ear", daemon=True)

    def start(self) -> None:
        """Begin to listen; an ear is started once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Listen no more, and wait so many seconds at most for the end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _live(self) -> None:
        """Listen, and call again after each loss, until the ear is stopped: the thread's whole life."""
        while not self._stopping.is_set():
            try:
                with connect(self._url) as client, client.pubsub() as channel:
                    self._listen(channel)
            # Redis-py and the resolver fail in dozens of ways, and the ear must outlive all.
            except Exception as error:  # noqa: BLE001
                self._contact.lost(error)
                self._stopping.wait(self._wait_s)
                self._wait_s = min(2 * self._wait_s, LATE_S)

    def _listen(self, channel: PubSub) -> None:
        """Subscribe and hear, until the ear is stopped; raises when the connection is lost."""
        channel.subscribe(self._channel)
        heard_at = time.monotonic()
        asked_at: float | None = None
        while not self._stopping.is_set():
            message = channel.get_message(timeout=TICK_S)
            moment = time.monotonic()
            if message is not None:
                heard_at, asked_at = moment, None
                self._take(message)
            elif asked_at is not None and moment - asked_at > self._silence_s:
                raise TimeoutError("it does not answer")
            elif asked_at is None and moment - heard_at > self._silence_s:
                channel.ping()
                asked_at = moment

    def _take(self, message: dict[str, Any]) -> None:
        """Do what a message asks for: that of the bell, or that the channel is open."""
        if message["type"] == "message":
            self._rung()
        elif message["type"] == "subscribe":
            self._contact.found()
            self._wait_s = SOON_S
            self._back()
