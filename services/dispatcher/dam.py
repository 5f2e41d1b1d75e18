# SPDX-License-Identifier: Apache-2.0
"""A dam before the HTTP client: of what one answer floods, so much is let in and the rest is left in the sea.

The client library reads a body no faster than it is taken, and everything around a body as fast as it comes:
interim answers without end, the extension of a chunk, trailers. Its only user is `client`.
"""

import asyncio
import functools
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from twinning.errors import Unready

# More than any answer needs that is read to 16 KiB, and what one read of a socket may bring besides.
MOST_BYTES: Final = 512 * 1024
_UNKNOWN: Final = (
    f"aiohttp {aiohttp.__version__} makes its connections in a way that this version does not know, and what "
    "receivers answer would be read without bound; install the versions of requirements.lock"
)


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
    """A pool of connections, each behind its dam; raises `Unready` where the library does not allow it."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        # The library has no public way to choose what receives. Where it has renamed this one, ours would be
        # set and never asked, and nobody would notice before the flood.
        if getattr(getattr(self, "_factory", None), "func", None) is not ResponseHandler:
            raise Unready(_UNKNOWN)
        self._factory = functools.partial(DammedHandler, loop=self._loop)  # type: ignore[assignment]


def open_sluice(connection: aiohttp.connector.Connection) -> None:
    """Begin to count anew, for the next answer by a connection; one without a dam carries no post."""
    if not isinstance(connection.protocol, DammedHandler):
        raise Unready(_UNKNOWN)
    connection.protocol.taken = 0


def must_hold() -> None:
    """Refuse to start with a library that does not let the dam be built; raises `Unready`."""

    async def build() -> None:
        await DammedConnector().close()

    asyncio.run(build())
