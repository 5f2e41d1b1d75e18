# SPDX-License-Identifier: Apache-2.0
"""The demo's receiver: takes webhooks and verifies each with the independent `standardwebhooks` library."""

import binascii
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

MOST_BYTES = 1_048_576


@dataclass
class Receiver:
    """What has arrived and verified, by event id, and what has not verified."""

    url: str = ""
    secret: str = ""
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Verify one webhook; gives the status to answer with."""
        event_id = headers.get("webhook-id", "")
        with self.changed:
            try:
                Webhook(self.secret).verify(body, headers)
            except (WebhookVerificationError, ValueError, binascii.Error) as error:
                self.refused.append(f"{event_id}: {error}")
                return 401
            finally:
                self.changed.notify_all()
            self.events[event_id] = json.loads(body)
        return 204

    def wait_for(self, event_ids: set[str], timeout_s: float) -> set[str]:
        """Wait until these have arrived; gives those that have not."""
        with self.changed:
            self.changed.wait_for(lambda: event_ids <= self.events.keys(), timeout_s)
            return event_ids - self.events.keys()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen on a free local port for as long as the context lasts."""
    inbox = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = min(int(self.headers.get("Content-Length", 0)), MOST_BYTES)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = inbox.take(headers, self.rfile.read(size))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet: the demo tells what arrives."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    inbox.url = f"http://127.0.0.1:{server.server_port}/webhooks"
    threading.Thread(target=server.serve_forever, name="receiver", daemon=True).start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
