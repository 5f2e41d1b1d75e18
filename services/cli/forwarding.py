# SPDX-License-Identifier: Apache-2.0
"""Forwards events to a program on this machine as the webhooks that they would have been, signed anew."""

import json
import time
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from services.cli.event_stream import Event
from twinning import signing
from twinning.errors import TwinningError

# Seconds before each attempt. A program that is being restarted is back by the last of them.
PAUSES_S: Final = (0.0, 0.5, 2.0, 5.0)
TIMEOUT_S: Final = 15.0


class NoAddress(TwinningError):
    """An address to which nothing can be forwarded."""

    code = "no-address"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What became of a forwarded event: the last status or what went wrong, and after how many attempts."""

    status: int | None
    error: str | None
    attempts: int
    ms: float

    @property
    def taken(self) -> bool:
        """Say whether the program answered 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Forwarder:
    """Posts events to one address; as with the real webhooks no redirect is followed."""

    def __init__(self, url: str, secret: str) -> None:
        """Take the address and the secret that signs; raises `NoAddress` and `SecretMalformed`."""
        signing.key_of(secret)
        self._parts = urlsplit(url)
        try:
            good = self._parts.scheme in {"http", "https"} and self._parts.hostname and self._parts.port != 0
        except ValueError:
            good = False
        if not good or self._parts.username or self._parts.fragment or not url.isascii() or " " in url:
            raise NoAddress(f"{url!r} is no address to forward to, such as http://localhost:3000/webhooks")
        self._secret = secret

    def forward(self, event: Event) -> Forwarded:
        """Post an event until it is taken, a few times at most."""
        body = {"type": event.type, "timestamp": event.timestamp, "data": event.data}
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        outcome = Forwarded(None, None, 0, 0.0)
        for attempt, pause in enumerate(PAUSES_S, 1):
            time.sleep(pause)
            outcome = self._try(event.id, content, attempt)
            if outcome.taken:
                break
        return outcome

    def _try(self, event_id: str, content: bytes, attempt: int) -> Forwarded:
        signed = signing.headers(event_id, int(time.time()), content, [self._secret])
        target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        connection = self._connection()
        begun = time.perf_counter()
        status, wrong = None, None
        try:
            connection.request(
                "POST",
                target,
                content,
                {"Content-Type": "application/json", "User-Agent": "asem-twinning-listen", **signed},
            )
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            wrong = str(error) or type(error).__name__
        finally:
            connection.close()
        return Forwarded(status, wrong, attempt, round((time.perf_counter() - begun) * 1000, 1))

    def _connection(self) -> HTTPConnection:
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        return kind(str(self._parts.hostname), self._parts.port, timeout=TIMEOUT_S)


def shown(outcome: Forwarded) -> dict[str, object]:
    """Show what became of an event, for programs."""
    return asdict(outcome)
