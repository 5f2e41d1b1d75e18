# SPDX-License-Identifier: Apache-2.0
"""How fast an endpoint is served: deliveries begin evenly spread, at most so many a second.

The generic cell rate algorithm (ITU-T I.371), which is a token bucket kept as one moment: the clock says
from when the next delivery may begin. A bucket holds a tenth of a second's deliveries, one at least.
"""

from datetime import datetime, timedelta

BUCKET_S = 0.1
# A sender that comes so late for a place has not lost it, or the rate would never be reached.
LATENESS = timedelta(seconds=0.05)


class Pace:
    """An endpoint's rate at a moment; `clock` is None for one that was not served yet."""

    def __init__(self, rate: float, clock: datetime | None, moment: datetime) -> None:
        self._step = timedelta(seconds=1 / rate)
        self._ahead = self._step * (max(1, int(rate * BUCKET_S)) - 1)
        promised = moment if clock is None else clock + self._ahead
        self._from = moment if promised < moment - LATENESS else promised
        self._moment = moment

    @property
    def free(self) -> int:
        """How many may begin at once."""
        left = self._moment + self._ahead - self._from
        return 0 if left < timedelta(0) else left // self._step + 1

    def after(self, count: int) -> datetime:
        """Give the clock once so many have begun."""
        return self._from + count * self._step - self._ahead
