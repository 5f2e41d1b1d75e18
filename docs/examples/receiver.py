# SPDX-License-Identifier: Apache-2.0
"""A receiver of webhooks: verifies, keeps each event once, answers at once, and works on it afterwards.

pip install fastapi uvicorn standardwebhooks
WEBHOOK_SECRETS=whsec_… uvicorn receiver:app --port 9000
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

LONGEST = 1024 * 1024
# While a secret is rotated both are named here, with a blank between.
webhooks = [Webhook(secret) for secret in os.environ["WEBHOOK_SECRETS"].split()]
inbox = sqlite3.connect(os.environ.get("INBOX", "inbox.db"), isolation_level=None, check_same_thread=False)
inbox.execute("CREATE TABLE IF NOT EXISTS event (id TEXT PRIMARY KEY, body TEXT, done INTEGER DEFAULT 0)")
arrived = asyncio.Event()


def handle(event: dict[str, Any]) -> None:
    """Do what is yours to do; after a crash an event may come here a second time."""
    print(event["type"], flush=True)


async def work() -> None:
    """Work on what has arrived, in the order in which it came, also what a crash left behind."""
    while True:
        arrived.clear()
        for event_id, body in inbox.execute(
            "SELECT id, body FROM event WHERE NOT done ORDER BY rowid"
        ).fetchall():
            await asyncio.to_thread(handle, json.loads(body))
            inbox.execute("UPDATE event SET done = 1 WHERE id = ?", (event_id,))
        await arrived.wait()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Work as long as the server runs."""
    task = asyncio.create_task(work())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


def is_genuine(body: bytes, headers: dict[str, str]) -> bool:
    """Say whether one of our secrets signed it; for a malformed signature the library raises ValueError."""
    for webhook in webhooks:
        with suppress(WebhookVerificationError, ValueError):
            webhook.verify(body, headers)
            return True
    return False


@app.post("/twinning")
async def take(request: Request) -> Response:
    """Take a webhook: 204 once it is kept, again 204 when it comes a second time, 401 when it is not ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            return Response(status_code=413)
    if not is_genuine(body, dict(request.headers)):
        return Response(status_code=401)
    inbox.execute(
        "INSERT INTO event (id, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (request.headers["webhook-id"], body.decode()),
    )
    arrived.set()
    return Response(status_code=204)
