# SPDX-License-Identifier: Apache-2.0
"""Whether this process lives and can do its work, its figures, and what its problems mean; no key needed."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse

from services import broker
from services.api.problems import PROBLEMS
from services.api.transactions import House, house_of
from twinning import clocks, endpoints, measures, work
from twinning import workers as workers_
from twinning.database import now
from twinning.errors import NotFound
from twinning.fields import Shape
from twinning.terms import Service

router = APIRouter(tags=["health"])

# Both kinds of worker must live for the house to be whole.
SERVICES = frozenset(Service)
METRICS_SHOWN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The figures, one a line.",
        "content": {
            "text/plain": {
                "schema": {"type": "string"},
                "example": "# HELP twinning_deliveries_due Deliveries that wait to be sent now.\n"
                "# TYPE twinning_deliveries_due gauge\ntwinning_deliveries_due 0.0\n",
            }
        },
    }
}


class Health(Shape):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Readiness(Shape):
    """How each part is; `degraded` means that requests are taken and the rest is late."""

    status: Literal["ok", "degraded", "unavailable"]
    database: Literal["ok", "away"]
    # `off`: it differs from the database's by more than a minute, so nothing may be signed or planned by it.
    clock: Literal["ok", "off", "unknown"]
    broker: Literal["ok", "away"]
    # `stuck`: they say that they live, and what could be sent at once is not.
    workers: Literal["ok", "away", "stuck", "unknown"]
    oldest_undelivered_event_age_s: float | None
    oldest_waiting_work_age_s: float | None


class Explanation(Shape):
    """What a problem means and what to do about it."""

    code: str
    title: str
    detail: str


@router.get("/healthz")
async def healthz() -> Health:
    """Say that the process lives."""
    return Health()


@router.get(
    "/readyz",
    responses={503: {"model": Readiness, "description": "The database is away, or the clock is off."}},
)
def readyz(request: Request, answer: Response) -> Readiness:
    """Say how database, clock, broker and workers are, and how long the oldest event has waited."""
    ready = _readiness(house_of(request))
    if ready.status == "unavailable":
        answer.status_code = 503
    return ready


@router.get("/metrics", response_class=PlainTextResponse, responses=METRICS_SHOWN)
def metrics(request: Request) -> Response:
    """Give the figures of this process and of the house in the text format of Prometheus, or OpenMetrics."""
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.metrics.registry), media_type=media_type)


@router.get("/problems/{code}")
async def explain(code: str) -> Explanation:
    """Say what a problem means; a problem's `type` leads here."""
    if code not in PROBLEMS:
        raise NotFound("There is no such problem.")
    title, detail = PROBLEMS[code]
    return Explanation(code=code, title=title, detail=detail)


def _readiness(house: House) -> Readiness:
    url = house.settings.broker_url
    rings: Literal["ok", "away"] = "ok" if url and broker.broker_alive(url) else "away"
    try:
        with house.database.reading() as session:
            undelivered = _age(endpoints.oldest_due(session))
            waiting = _age(work.oldest_due(session))
            living = workers_.living(session)
            right = clocks.agrees(session)
            stuck = undelivered > measures.STUCK_AFTER.total_seconds() and measures.stuck_since(session)
    except SQLAlchemyError:
        return Readiness(
            status="unavailable",
            database="away",
            clock="unknown",
            broker=rings,
            workers="unknown",
            oldest_undelivered_event_age_s=None,
            oldest_waiting_work_age_s=None,
        )
    workers: Literal["ok", "away", "stuck"] = "ok" if living.keys() >= SERVICES else "away"
    if workers == "ok" and stuck:
        workers = "stuck"
    whole: Literal["ok", "degraded"] = "ok" if rings == workers == "ok" else "degraded"
    return Readiness(
        status=whole if right else "unavailable",
        database="ok",
        clock="ok" if right else "off",
        broker=rings,
        workers=workers,
        oldest_undelivered_event_age_s=undelivered,
        oldest_waiting_work_age_s=waiting,
    )


def _age(moment: datetime | None) -> float:
    """Count the seconds since a moment; none when nothing waits."""
    return 0.0 if moment is None else round(max(0.0, (now() - moment).total_seconds()), 3)
