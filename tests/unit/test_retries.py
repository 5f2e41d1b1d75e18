# SPDX-License-Identifier: Apache-2.0
"""What follows an attempt, as the contract's table says."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.retries import (
    SCHEDULE_S,
    Delivered,
    GivenUp,
    Gone,
    RetryIn,
    decide,
    delay_before,
    retry_after_seconds,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
DAY = 86_400


def test_the_schedule_is_the_contract() -> None:
    """Ten attempts: at once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h after one another."""
    hours = [seconds / 3600 for seconds in SCHEDULE_S[4:]]
    assert SCHEDULE_S[:4] == (0, 5, 5 * 60, 30 * 60)
    assert hours == [2, 5, 10, 14, 20, 24]
    assert list(accumulate(SCHEDULE_S))[-1] == timedelta(hours=75, minutes=35, seconds=5).total_seconds()


@pytest.mark.parametrize("status", range(100, 600))
def test_only_2xx_is_delivered(status: int) -> None:
    """200 to 299 is delivered, 410 ends the endpoint, and anything else, a redirect too, is tried again."""
    decision = decide(status, None, 1, None)
    if 200 <= status <= 299:
        assert decision == Delivered()
    elif status == 410:
        assert decision == Gone()
    else:
        assert decision == RetryIn(5)


def test_2xx_counts_though_the_answer_broke_off() -> None:
    """A receiver that said 2xx has the event, whatever became of the rest of its answer."""
    assert decide(200, "timeout", 1, None) == Delivered()


def test_an_error_without_a_status_is_tried_again() -> None:
    """A receiver that could not be reached gets the next attempt of the table."""
    assert decide(None, "connect_error", 3, None) == RetryIn(1800)


def test_ten_failures_are_followed_by_nothing() -> None:
    """Attempts 1 to 9 lead to the next one, attempt 10 to giving up."""
    decisions = [decide(500, "http_error", attempt, None) for attempt in range(1, 11)]
    assert decisions == [*(RetryIn(seconds) for seconds in SCHEDULE_S[1:]), GivenUp()]


def test_gone_and_delivered_count_on_the_last_attempt_too() -> None:
    """The last attempt is judged like the others before it is given up."""
    assert decide(410, "http_error", 10, None) == Gone()
    assert decide(204, None, 10, None) == Delivered()
    assert decide(429, "http_error", 10, 5.0) == GivenUp()


@pytest.mark.parametrize(
    ("status", "asked", "waited"),
    [
        (429, 60.0, 60.0),
        (503, 60.0, 60.0),
        (429, 1.0, 5.0),
        (429, None, 5.0),
        (503, DAY, DAY),
        (503, 10.0 * DAY, DAY),
        (500, 60.0, 5.0),
        (302, 60.0, 5.0),
    ],
)
def test_retry_after(status: int, asked: float | None, waited: float) -> None:
    """429 and 503 may ask for a longer wait, up to a day, and never for a shorter one than the table's."""
    assert decide(status, "http_error", 1, asked) == RetryIn(waited)


@pytest.mark.parametrize("status", [200, 302, 429, 500])
def test_a_receiver_may_ask_for_an_end(status: int) -> None:
    """What is not 2xx may ask to be disabled or to be spared one event; a yes is a yes."""
    ends = [decide(status, None, 1, 60.0, control=asked) for asked in ("disable", "abort-message", "later")]
    if status == 200:
        assert ends == [Delivered()] * 3
    else:
        assert ends == [Gone(), GivenUp(), decide(status, None, 1, 60.0)]


@given(
    attempt=st.integers(1, 12),
    jitter=st.floats(0, 1, exclude_max=True),
    schedule=st.lists(st.floats(0, DAY), min_size=1, max_size=12),
)
def test_jitter_is_never_early_and_at_most_a_fifth_late(
    attempt: int,
    jitter: float,
    schedule: list[float],
) -> None:
    """Under any schedule the wait lies between the table's and a fifth more."""
    decision = decide(500, "http_error", attempt, None, schedule=schedule, jitter=jitter)
    if attempt >= len(schedule):
        assert decision == GivenUp()
    else:
        assert isinstance(decision, RetryIn)
        assert schedule[attempt] <= decision.seconds <= schedule[attempt] * 1.2


def test_the_first_attempt_waits_as_the_table_says() -> None:
    """The first number of a schedule stands before the first attempt, and there is none after the last."""
    assert delay_before(1, SCHEDULE_S, 0.9) == 0
    assert delay_before(1, [2.0], 0.5) == pytest.approx(2.2)
    assert delay_before(2, [2.0], 0.5) is None


def test_an_attempt_without_an_end_is_refused() -> None:
    """Neither status nor error is a mistake of the caller, not an outcome."""
    with pytest.raises(ValueError, match="status or an error"):
        decide(None, None, 1, None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60.0),
        ("Sunday, 22-Nov-26 12:01:00 GMT", 60.0),
        ("Sun Nov 22 12:01:00 2026", 60.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 12:01:00 -0000", 60.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("9" * 5000, None),
        ("Sun, 99 Nov 2026 12:01:00 GMT", None),
        ("Sun, 22 Nov 99999 12:01:00 GMT", None),
    ],
)
def test_retry_after_header(header: str | None, seconds: float | None) -> None:
    """Seconds and the three date forms of HTTP are read, a past date is no wait, and the rest is nothing."""
    assert retry_after_seconds(header, NOW) == seconds


def test_retry_after_with_a_fraction_left_is_never_early() -> None:
    """A date has whole seconds and the clock has not, so the wait is rounded up."""
    header = "Sun, 22 Nov 2026 12:01:00 GMT"
    assert retry_after_seconds(header, NOW + timedelta(milliseconds=1)) == 60.0


def test_retry_after_takes_now_in_any_zone() -> None:
    """Only the moment counts, not the zone that the clock is read in."""
    there = NOW.astimezone(timezone(timedelta(hours=8)))
    assert retry_after_seconds(format_datetime(NOW + timedelta(hours=1), usegmt=True), there) == 3600.0


@given(header=st.text() | st.text("0123456789: ,-+GMTNovSun", max_size=40))
def test_any_header_is_read_or_left(header: str) -> None:
    """No header that a receiver can send raises, or asks for less than no wait."""
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or seconds >= 0
