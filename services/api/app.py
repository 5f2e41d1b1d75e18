# SPDX-License-Identifier: Apache-2.0
"""The front door: the web application, put together from its settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Request
from starlette.middleware import Middleware
from starlette.responses import Response

from services import broker, logs
from services.api import openapi, problems
from services.api.envelope import Envelope
from services.api.following import Follower
from services.api.metrics import Metrics
from services.api.routes import (
    cities,
    deliveries,
    delivery_log,
    endpoints,
    events,
    health,
    keys,
    listings,
    previews,
    reference,
    rounds,
    stream,
    suggestions,
)
from services.api.transactions import House, KeyedRoute
from twinning.database import Database
from twinning.settings import Settings
from twinning.terms import Bell
from twinning.vault import vault_of

PREFIX = "/v1"


def make_app(settings: Settings, *, ring: Callable[[Bell], None] | None = None) -> FastAPI:
    """Make the application; `ring` hears the bells of each committed transaction and must not wait."""
    database = Database(settings.database, ring, vault_of(settings.secrets_key))
    house = House.of(settings, database)
    follower = Follower(house)
    metrics = Metrics(database, lambda: follower.streams)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        follower.close()
        house.scribe.close()
        database.close()

    app = FastAPI(
        title="ASEM Twinning",
        version=version("asem-twinning"),
        summary="Finds partners for learning cities across Asia and Europe, and says why.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[Middleware(Envelope, last_net=_last_net, answered=metrics.answered)],
    )
    app.state.house, app.state.follower, app.state.metrics = house, follower, metrics
    problems.install(app)
    app.include_router(health.router)
    front = APIRouter(prefix=PREFIX, route_class=KeyedRoute)
    for part in (
        reference,
        cities,
        keys,
        previews,
        rounds,
        suggestions,
        endpoints,
        deliveries,
        delivery_log,
        stream,
        events,
    ):
        front.include_router(part.router)
    for router in listings.routers:
        front.include_router(router)
    app.include_router(front)
    openapi.install(app)
    return app


def application() -> FastAPI:
    """Make this process's application from the environment, as `uvicorn --factory` wants it."""
    settings = Settings.load()
    logs.configure(settings)
    bell = broker.Doorbell(broker.make_app(settings)) if settings.broker_url else None
    return make_app(settings, ring=bell.ring if bell else None)


def _last_net(request: Request) -> Response:
    return problems.problem(request, 500, "Something went wrong here; the log has it under the request's id.")
