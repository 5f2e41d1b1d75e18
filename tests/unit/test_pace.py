# SPDX-License-Identifier: Apache-2.0
"""The pace of an endpoint: never faster than its rate, and no slower than the sender is late."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from twinning.pace import BUCKET_S, LATENESS, Pace

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
RATES = st.floats(min_value=0.05, max_value=1000)


def serve(rate: float, moments: list[datetime], wanted: int) -> list[datetime]:
    """Let as many begin at each moment as are free; gives when each began."""
    clock, begun = None, []
    for moment in moments:
        pace = Pace(rate, clock, moment)
        count = min(wanted, pace.free)
        if count:
            clock = pace.after(count)
            begun += [moment] * count
    return begun


@given(RATES, st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=80), st.integers(1, 50))
def test_no_second_has_more_than_the_rate(rate: float, pauses: list[float], wanted: int) -> None:
    """However the sender comes, any second sees the rate, the bucket and one lateness more at most."""
    moments, moment = [], START
    for pause in pauses:
        moment += timedelta(seconds=pause)
        moments.append(moment)
    begun = serve(rate, moments, wanted)
    most = rate * (1 + BUCKET_S + LATENESS.total_seconds()) + 1
    for first in begun:
        assert sum(first <= one < first + timedelta(seconds=1) for one in begun) <= most + 1e-6


@given(st.floats(min_value=0.5, max_value=40))
def test_a_sender_who_comes_often_reaches_the_rate(rate: float) -> None:
    """Looking each 10 ms, a sender begins as many as the rate allows."""
    moments = [START + timedelta(milliseconds=10 * number) for number in range(3000)]
    assert abs(len(serve(rate, moments, 4)) - 30 * rate) <= 0.02 * 30 * rate + 2


def test_five_a_second_are_evenly_spread() -> None:
    """A low rate has no burst: the second delivery waits for its fifth of a second."""
    moments = [START + timedelta(milliseconds=5 * number) for number in range(201)]
    begun = serve(5, moments, 4)
    assert [round((one - START).total_seconds(), 2) for one in begun] == [0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_an_idle_endpoint_saves_nothing_up() -> None:
    """After an hour of quiet there is one place, as at the start."""
    pace = Pace(5, START - timedelta(hours=1), START)
    assert (pace.free, pace.after(1)) == (1, START + timedelta(seconds=0.2))
