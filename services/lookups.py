# SPDX-License-Identifier: Apache-2.0
"""Looking up host names: the system's resolver, on threads that nobody else waits for."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

# Asks for the addresses of (host, port), as text; OSError when the name has none.
Resolve = Callable[[str, int], Awaitable[list[str]]]

LOOKUP_THREADS = 32


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
