# SPDX-License-Identifier: Apache-2.0
"""What follows an attempt: delivered, tried again later, given up, or the endpoint is gone.

The decision is a value and the functions are pure: no clock, no dice, no database.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Seconds before each attempt, counted from the end of the one before; the first stands before attempt 1.
SCHEDULE_S: tuple[float, ...] = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
LATENESS = 0.2
LONGEST_WAIT_S = 86_400.0
WAITING_STATUSES = frozenset({429, 503})
GONE = 410
# What a receiver may ask for in the header `webhook-delivery` of an answer that is not 2xx.
CONTROL = "webhook-delivery"
DISABLE, ABORT = "disable", "abort-message"

SECONDS = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver answered 2xx."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """The attempt failed and the next one is due after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The attempt failed and it was the last one."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver answered 410, or asked for as much: its endpoint is to be disabled."""


Decision = Delivered | RetryIn | GivenUp | Gone


def delay_before(attempt: int, schedule: Sequence[float], jitter: float) -> float | None:
    """Seconds to wait before this attempt (the first is 1), or None when the schedule has no such attempt.

    `jitter` from 0 to below 1 adds up to a fifth, so that receivers which failed together are not
    called together again; never earlier than the table says.
    """
    if attempt > len(schedule):
        return None
    return schedule[attempt - 1] * (1 + LATENESS * jitter)


def decide(
    status: int | None,
    error: str | None,
    attempt: int,
    retry_after_s: float | None,
    *,
    schedule: Sequence[float] = SCHEDULE_S,
    jitter: float = 0.0,
    control: str | None = None,
) -> Decision:
    """What follows attempt number `attempt` (the first is 1), which ended with this status or error.

    A status of 2xx is delivered even when the rest of the answer broke off: the receiver has said yes, and
    the error stays in the log. `retry_after_s` counts for 429 and 503 only, and for at most 24 hours.
    `control` is what the receiver asked for besides: to be disabled, or to be spared this one event.
    """
    if status is not None and 200 <= status <= 299:
        return Delivered()
    if status is None and error is None:
        raise ValueError("an attempt ends with a status or an error")
    if status == GONE or control == DISABLE:
        return Gone()
    if control == ABORT:
        return GivenUp()
    wait = delay_before(attempt + 1, schedule, jitter)
    if wait is None:
        return GivenUp()
    if status in WAITING_STATUSES and retry_after_s is not None:
        wait = max(wait, min(retry_after_s, LONGEST_WAIT_S))
    return RetryIn(wait)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3); None when it says nothing clear.

    It holds either seconds or a date; a date in the past asks for no wait. `now` carries a time zone.
    """
    text = (header or "").strip()
    if SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        # A date of "-0000" comes back without a zone, and HTTP knows no zone but GMT.
        wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, float(math.ceil(wait.total_seconds())))
