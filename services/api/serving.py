# SPDX-License-Identifier: Apache-2.0
"""Serving the front door: uvicorn, which at its end first lets the streams go."""

import gc
import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from services.api.envelope import LONGEST_HEAD

# Together with what uvicorn takes itself, well below the five seconds after which the supervisor kills.
GRACE_S: Final = 2
# Requests leave next to no cycles behind; to look for them at every 700 new objects, as Python does by
# itself, would take a twentieth of the time. So many are what some seventy requests leave, bodies included.
SELDOM: Final = 5_000


class Server(uvicorn.Server):
    """A server whose open streams end when it is told to stop; waiting for them would take for ever."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests; what stands by then stands to the end, and is not looked through again."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(SELDOM)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, end the streams, and let the others be answered."""
        self._app.state.follower.close()
        await super().shutdown(sockets)
        gc.unfreeze()


def server(app: FastAPI, host: str, port: int) -> Server:
    """Make the server of an application."""
    return Server(
        app,
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            # Whose word is taken for where a request came from is a setting of ours, kept by the application.
            proxy_headers=False,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            timeout_graceful_shutdown=GRACE_S,
        ),
    )
