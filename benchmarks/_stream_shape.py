# SPDX-License-Identifier: Apache-2.0
"""The bare shape that events are measured against: insert, XADD, one consumer that posts by a kept session.

    python -m benchmarks._stream_shape api PORT | consumer HOOK

No key, no outbox, no signature, no log, no guard and no retry; the match is a stand-in of 0.3 ms. The API
commits each insert to SQLite in WAL before it answers.
"""

import asyncio
import json
import os
import sqlite3
import sys
import time

import aiohttp
import redis
import redis.asyncio
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel

BROKER = "BENCH_REDIS_URL"
FILE = "BENCH_FILE"
STREAM, GROUP = "events", "consumers"
MATCH_S = 0.0003


class Sent(BaseModel):
    """What a client sends."""

    name: str
    country: str


def api() -> FastAPI:
    """The application that inserts and adds to the stream."""
    app = FastAPI()
    broker = redis.Redis.from_url(os.environ[BROKER])
    database = sqlite3.connect(os.environ[FILE], check_same_thread=False, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE IF NOT EXISTS city (id INTEGER PRIMARY KEY, name TEXT, country TEXT)")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/cities", status_code=201)
    async def register(sent: Sent) -> dict[str, str]:
        database.execute("INSERT INTO city (name, country) VALUES (?, ?)", (sent.name, sent.country))
        broker.xadd(STREAM, {"name": sent.name})
        return {"name": sent.name}

    return app


def _body(name: str) -> bytes:
    """Do as if something were matched, and write the event."""
    until = time.perf_counter() + MATCH_S
    while time.perf_counter() < until:
        pass
    return json.dumps({"type": "city.registered", "data": {"name": name}, "padding": "x" * 400}).encode()


async def consume(hook: str) -> None:
    """Take what comes on the stream, and post it."""
    broker = redis.asyncio.Redis.from_url(os.environ[BROKER])
    await broker.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    async with aiohttp.ClientSession() as session:

        async def send(entry: bytes, fields: dict[bytes, bytes]) -> None:
            body = _body(fields[b"name"].decode())
            async with session.post(hook, data=body, headers={"content-type": "application/json"}) as answer:
                await answer.read()
            await broker.xack(STREAM, GROUP, entry)

        while True:
            for _, entries in (
                await broker.xreadgroup(GROUP, "one", {STREAM: ">"}, count=100, block=1000) or ()
            ):
                await asyncio.gather(*(send(entry, fields) for entry, fields in entries))


if __name__ == "__main__":
    if sys.argv[1] == "api":
        uvicorn.run(api(), port=int(sys.argv[2]), log_level="error", access_log=False)
    else:
        uvloop.run(consume(sys.argv[2]))
