# SPDX-License-Identifier: Apache-2.0
"""Many clients at once while workers die: nobody is told 5xx, and what was acknowledged is there."""

from pathlib import Path

import pytest

from tests.faults import loading
from tests.faults.checking import Tell
from tests.faults.house import house

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

CLIENTS = 50
SECONDS = 12.0


def test_nothing_fails_and_nothing_is_lost_under_load(
    database_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """Fifty clients read and write while workers are killed: no 5xx, no acknowledged write lost."""
    with house(short_folder, database_url) as one:
        one.start(one.broker, one.api, *one.workers)
        one.subscribe()
        told, found = loading.run(one, CLIENTS, SECONDS, seed)
        tell(None, loading.figures(told, found))

    assert told.failed == 0, told.statuses
    assert set(told.statuses) <= {200, 201}
    assert (found.lost, found.untold) == (set(), set())
    assert told.kills > 0
    assert len(told.needs) > CLIENTS
