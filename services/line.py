# SPDX-License-Identifier: Apache-2.0
"""A line to the broker, on which one message at a time says that there is something to be heard."""

import threading
from typing import Any

import redis

from services.broker import connect


class Line:
    """Publishes empty messages on one channel, each of which the broker has to answer before the next.

    So a connection that is open and has nothing under way takes a message at once, in whatever state the
    broker is, and who has one to send need not wait for another thread to be given its turn.
    """

    def __init__(self, broker_url: str, channel: str) -> None:
        self._connection: Any = connect(broker_url).connection_pool.make_connection()
        self._message = self._connection.pack_command("PUBLISH", channel, "")  # type: ignore[no-untyped-call]
        self._in_use = threading.Lock()
        self.is_under_way = False

    def shout(self) -> bool:
        """Send a message if the line is open and free, and say whether it was; never waits.

        Whoever may wait has to `see_through` what was shouted.
        """
        if not self._in_use.acquire(blocking=False):
            return False
        try:
            if self.is_under_way or not self._connection.is_connected:
                return False
            self._connection.send_packed_command(self._message, check_health=False)
            self.is_under_way = True
        except redis.RedisError:
            # The line is closed by now, and whoever opens it anew will tell what was wrong with it.
            return False
        finally:
            self._in_use.release()
        return True

    def see_through(self) -> None:
        """Wait for the answer to what was shouted, or to a message of one's own; raises as redis-py does.

        One that a broker did not hear, since it had closed the connection and gone, is sent again to who is
        there now.
        """
        with self._in_use:
            was_open = self._connection.is_connected
            try:
                self._exchange(is_sent=self.is_under_way)
            except redis.ConnectionError:
                if not was_open:
                    raise
                self._exchange()
            finally:
                self.is_under_way = False

    def close(self) -> None:
        """Hang up; the next message would open the line again."""
        with self._in_use:
            self._connection.disconnect()

    def _exchange(self, *, is_sent: bool = False) -> None:
        if not is_sent:
            self._connection.send_packed_command(self._message, check_health=False)
        self._connection.read_response()
