# SPDX-License-Identifier: Apache-2.0
"""The stream of events as a client reads it: for ever, with resume, through restarts and bad lines."""

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from io import BufferedIOBase
from typing import Any, Final
from urllib.parse import urlencode

from services.cli.client import Client, Refused
from twinning.errors import TwinningError

LATEST: Final = "latest"
OLDEST: Final = "oldest"
EVENT_STREAM: Final = "text/event-stream"
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
LONGEST_LINE: Final = 16 * 1024 * 1024
# The statuses with which a house says that it may be asked again.
PASSING: Final = frozenset({429, 500, 502, 503, 504})


class NoStream(TwinningError):
    """What answers gives no stream of events."""

    code = "no-stream"


@dataclass(frozen=True, slots=True)
class Event:
    """An event as the stream gives it."""

    id: str
    type: str
    timestamp: str
    data: Any


def read_blocks(lines: BufferedIOBase) -> Iterator[dict[str, str]]:
    """Read server-sent events: the fields of each block, its data lines joined; comments are left out."""
    fields: dict[str, str] = {}
    while line := lines.readline(LONGEST_LINE):
        if not line.endswith(b"\n") and len(line) == LONGEST_LINE:
            raise NoStream("The stream has a line of more than 16 MiB.")
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text:
            if fields:
                yield fields
            fields = {}
            continue
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name:
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value


class EventSource:
    """Follows the events of a house after a place, and goes on there when the connection breaks.

    The client's time-out must outlast two of the stream's heartbeats.
    """

    def __init__(self, client: Client, types: Sequence[str], after: str, tell: Callable[[str], None]) -> None:
        """Follow after the event with the id `after`, from the oldest, or from now on (`LATEST`)."""
        self._client = client
        self._types = tuple(types)
        self._tell = tell
        self.after: str | None = None if after == OLDEST else after
        self._pause_s = 0.0
        self._begun = False

    def __iter__(self) -> Iterator[Event]:
        """Give event after event and never end; raises `Refused` when asking again would not help."""
        while True:
            try:
                yield from self._read()
                self._wait("the house ended the stream")
            except Refused as refused:
                self._bear(refused)
            except (OSError, HTTPException) as error:
                # urllib wraps what the system says in an error of its own.
                self._wait(f"cannot hear {self._client.url} ({getattr(error, 'reason', error) or error!r})")

    def passed(self, event: Event) -> None:
        """Go on after an event, which has been dealt with."""
        self.after = event.id

    def _read(self) -> Iterator[Event]:
        """Read one connection to its end."""
        query = {"types": ",".join(self._types)} if self._types else {}
        if self.after is not None:
            query["after"] = self.after
        with self._client.stream(f"/events/stream?{urlencode(query)}", {"Accept": EVENT_STREAM}) as lines:
            if lines.headers.get_content_type() != EVENT_STREAM:
                raise NoStream(f"{self._client.url} answers, but not as a house does; is the address right?")
            self._tell("listening again" if self._begun else f"listening to {self._client.url}")
            self._begun, self._pause_s = True, 0.0
            # An empty house names no event that its future ones come after: whatever it has next time is new.
            self.after = None if self.after == LATEST else self.after
            for fields in read_blocks(lines):
                if "data" in fields:
                    yield _event(fields["data"])
                # Only now, when the event has been dealt with, does the place move on.
                self.after = fields.get("id") or self.after

    def _bear(self, refused: Refused) -> None:
        """Go on after a refusal that passes, or that a later beginning cures; raise the others."""
        if refused.status in PASSING:
            self._wait(str(refused))
        elif self._begun and refused.code_told == "not-in-the-feed":
            self._tell(f"events may have been missed. {refused}")
            self.after = None
        else:
            raise refused

    def _wait(self, why: str) -> None:
        """Wait before the next try, longer each time; a part of it by chance, lest all come back at once."""
        self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
        pause = self._pause_s * random.uniform(0.75, 1.25)  # noqa: S311 - nobody gains by guessing it
        self._tell(f"{why}; again in {pause:.1f} s")
        time.sleep(pause)


def _event(line: str) -> Event:
    try:
        read = json.loads(line)
        return Event(read["id"], read["type"], read["timestamp"], read["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise NoStream(f"The stream has an event that cannot be read: {error}") from None
