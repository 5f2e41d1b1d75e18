# SPDX-License-Identifier: Apache-2.0
"""When each key was used last: written once a minute at most, beside the requests and never in their way."""

import asyncio
import time
from collections import OrderedDict
from datetime import datetime
from typing import Final

import anyio
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from twinning import keys
from twinning.database import Database, now

EVERY_S: Final = 60.0
# What is used within this time is written together.
TOGETHER_S: Final = 0.5
MOST_KEYS: Final = 50_000

log = structlog.get_logger(__name__)


class LastUse:
    """Notes the use of keys and writes it down a little later."""

    def __init__(self, database: Database, writers: anyio.CapacityLimiter) -> None:
        self._database = database
        self._writers = writers
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._waiting: dict[str, datetime] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, key_id: str) -> None:
        """Note that a key is used now; called from the loop, and done at once."""
        moment = time.monotonic()
        if moment - self._noted.get(key_id, -EVERY_S) < EVERY_S:
            return
        self._noted[key_id] = moment
        self._noted.move_to_end(key_id)
        if len(self._noted) > MOST_KEYS:
            self._noted.popitem(last=False)
        self._waiting[key_id] = now()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_soon(), name="last use of keys")

    def close(self) -> None:
        """Write no more: what was used in the last moment is not worth waiting for at a stop."""
        if self._task is not None:
            self._task.cancel()

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(TOGETHER_S)
            await self._write()

    async def _write(self) -> None:
        uses, self._waiting = self._waiting, {}

        def write() -> None:
            with self._database.transaction() as session:
                keys.note_uses(session, uses)

        try:
            async with self._writers:
                await run_in_threadpool(write)
        except SQLAlchemyError as error:
            # A key that goes on being used is noted again in a minute.
            log.warning("the last use of keys was not written", error=type(error).__name__)
