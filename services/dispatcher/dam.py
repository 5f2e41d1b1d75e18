# SPDX-License-Identifier: Apache-2.0
"""A dam before the HTTP client: of what one answer floods, so much is let in and the rest is left in the sea.

The client library reads a body no faster than it is taken, and everything around a body as fast as it comes:
interim answers without end, the extension of a chunk, trailers. Its only user is `client`.
"""

import functools
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

# More than any answer needs that is read to 16 KiB, and what one read of a socket may bring besides.
MOST_BYTES: Final = 512 * 1024


class DammedHandler(ResponseHandler):
    """A connection's receiving end that stops listening to an answer of more than `MOST_BYTES`.

    Who floods is not cut off, which the library would take for a broken answer, but waited for until the
    deadline of the post: by then the kernel has stopped the sender.
    """

    taken = 0

    def data_received(self, data: bytes) -> None:
        """Hand on what comes, until it is too much."""
        self.taken += len(data)
        if self.taken <= MOST_BYTES:
            super().data_received(data)
        elif self.transport is not None:
            self.transport.pause_reading()


class DammedConnector(aiohttp.TCPConnector):
    """A pool of connections, each behind its dam."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        # The library has no public way to choose it; `test_dam.py` holds that it is used.
        self._factory = functools.partial(DammedHandler, loop=self._loop)  # type: ignore[assignment]


def open_sluice(connection: aiohttp.connector.Connection) -> None:
    """Begin to count anew, for the next answer by a connection."""
    if isinstance(connection.protocol, DammedHandler):
        connection.protocol.taken = 0
