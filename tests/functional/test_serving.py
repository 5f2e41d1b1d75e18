# SPDX-License-Identifier: Apache-2.0
"""The rule of a server's end: nothing of it stays."""

import gc
import weakref

from tests.streams import street


def test_a_server_that_has_ended_is_let_go(sqlite_url: str) -> None:
    """What was set aside from the search for cycles is searched again once its server has ended."""
    with street(sqlite_url) as served:
        app = weakref.ref(served.served._app)
    del served
    gc.collect()

    assert gc.get_freeze_count() == 0
    assert app() is None
