# SPDX-License-Identifier: Apache-2.0
"""Bare routes to measure the front door by: FastAPI and SQLModel as their tutorials have it, no more.

No key, no event, no idempotency, no log: the same shapes, the same select, the same JSON, an `AsyncSession`
and a commit for each request. They work on the database of the house and insert into a table of
their own.

    python -m benchmarks._bare URL PORT
"""

import sys
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, SQLModel, col, create_engine, select
from sqlmodel.ext.asyncio.session import AsyncSession

from twinning.cities import City
from twinning.database import new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.fields import Shape
from twinning.forms import NeedCreate
from twinning.listings import Listing, NeedPublic
from twinning.terms import ListingKind, ListingState

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql+psycopg": "postgresql+asyncpg"}
# What the front door sets, too: a write that is answered outlives the power.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000")
CONNECTIONS = 16


class BareNeed(SQLModel, table=True):
    """A need in a table with nothing beside it."""

    __tablename__ = "bare_need"

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    city_id: str = Field(sa_type=Id, index=True)
    external_ref: str | None = None
    state: str
    title: str
    description: str
    language: str = "en"
    themes: list[str] = Field(default_factory=list, sa_type=Json)
    suggested_themes: list[str] = Field(default_factory=list, sa_type=Json)
    target_groups: list[str] = Field(default_factory=list, sa_type=Json)
    languages: list[str] = Field(default_factory=list, sa_type=Json)
    strength: int | None = None
    seeks: list[str] = Field(default_factory=list, sa_type=Json)
    party_size: int | None = None
    months: list[int] = Field(default_factory=list, sa_type=Json)
    expires_on: date | None = None
    unmet: bool | None = None
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


class Page(Shape):
    """A page of needs."""

    items: list[NeedPublic]


def make_app(url: str) -> FastAPI:
    """Make the application on a database that has the house's tables."""
    scheme, _, rest = url.partition("://")
    bind = create_async_engine(f"{DRIVERS[scheme]}://{rest}", pool_size=CONNECTIONS, max_overflow=0)
    if scheme == "sqlite":
        event.listen(bind.sync_engine, "connect", _prepare)

    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(bind, expire_on_commit=False) as opened:
            yield opened

    opening = Annotated[AsyncSession, Depends(session)]
    app = FastAPI()

    @app.post("/validate")
    async def validate(wanted: NeedCreate) -> dict[str, bool]:
        return {"ok": bool(wanted.title)}

    @app.post("/cities/{city_id}/needs", status_code=201)
    async def register(city_id: str, wanted: NeedCreate, opened: opening) -> NeedPublic:
        row = BareNeed(city_id=city_id, **wanted.model_dump())
        opened.add(row)
        await opened.commit()
        return NeedPublic.model_validate(row)

    @app.get("/needs")
    async def list_all(opened: opening, limit: int = 50) -> Page:
        query = (
            select(Listing)
            .join(City, col(City.id) == Listing.city_id)
            .where(Listing.kind == ListingKind.NEED, Listing.state != ListingState.WITHDRAWN)
        )
        rows = (await opened.exec(query.order_by(col(Listing.id)).limit(limit + 1))).all()
        return Page(items=[NeedPublic.model_validate(row) for row in rows[:limit]])

    @app.get("/needs/{need_id}")
    async def read(need_id: str, opened: opening) -> NeedPublic:
        return NeedPublic.model_validate(await opened.get(Listing, need_id))

    return app


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def main(url: str, port: int) -> None:
    """Make the table and serve, as the house serves."""
    bind = create_engine(url)
    BareNeed.__table__.create(bind, checkfirst=True)  # type: ignore[attr-defined]
    bind.dispose()
    uvicorn.run(make_app(url), host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
