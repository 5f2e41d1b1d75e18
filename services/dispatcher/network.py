# SPDX-License-Identifier: Apache-2.0
"""What a connection needs of this machine: the look-up of names and the settings of TLS."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

# Asks for the addresses of (host, port), as text; OSError when the name has none.
Resolve = Callable[[str, int], Awaitable[list[str]]]

LOOKUP_THREADS = 32


@cache
def tls_context(cafile: str | None = None) -> ssl.SSLContext:
    """The TLS settings of this process: 1.2 or newer, always verified, `cafile` trusted besides the system's.

    Made once, since one costs some 20 ms of processor time.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if cafile is not None:
        context.load_verify_locations(cafile)
    return context


class SystemLookup:
    """Look-ups by the system's resolver, on threads of their own: a stuck one must not stop other work.

    The system's resolver has no deadline. Whoever stops waiting leaves its thread behind until it answers.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of a name, as often as the system gives them; OSError when it has none."""
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        infos = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        return [str(info[4][0]) for info in infos]

    def close(self) -> None:
        """Take no more look-ups; those that still run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
