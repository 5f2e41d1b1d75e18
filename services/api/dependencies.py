# SPDX-License-Identifier: Apache-2.0
"""What routes are handed: the transaction's session, who asks, the settings, ids and pages."""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Self, TypeVar

from fastapi import Depends, Header, Path, Request
from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema
from sqlmodel import Session

from services.api.transactions import house_of
from twinning.database import is_id
from twinning.errors import Invalid, NotFound, Stale
from twinning.fields import Moment, Reference, Shape, unfit
from twinning.keys import Caller
from twinning.settings import Settings

# Below what a part of a cursor may be.
_MARKS = 10**9
_STORABLE = re.compile(r"[^\x00-\x1f\x7f]*")

Item = TypeVar("Item")


async def _settings(request: Request) -> Settings:
    return house_of(request).settings


def _identifier(text: str) -> str:
    """Take an id; no object has one of another shape, so there is none to be found."""
    if not is_id(text):
        raise NotFound("There is no such object.")
    return text


def _is_place(value: object) -> bool:
    """Say whether a cursor's part is an id, or a number that every database can compare."""
    return is_id(value) if isinstance(value, str) else -1e9 < value < 1e9  # type: ignore[operator]


def _readable(text: str) -> str:
    """Refuse what stands for bytes that are no UTF-8: it would be the same for others."""
    if "\ufffd" in text:
        raise ValueError("is not UTF-8")
    return text


def _filter(text: str) -> str:
    if not _STORABLE.fullmatch(text):
        raise ValueError("holds a control character")
    return text


# These two are filled in where the transaction is, by `answering.handed_over`; FastAPI never sees them.
Db = Annotated[Session, "the session of the request's transaction"]
Who = Annotated[Caller, "who asks, as the transaction knows them"]
House = Annotated[Settings, Depends(_settings)]
Identifier = Annotated[
    str, Path(), AfterValidator(_identifier), WithJsonSchema({"type": "string", "format": "uuid"})
]
OwnReference = Annotated[Reference, Path(), AfterValidator(_readable)]
IfMatch = Annotated[str | None, Header(description="The ETag of what is to be changed.")]
Filter = Annotated[str, StringConstraints(max_length=300), AfterValidator(_filter)]


class Page(Shape):
    """A page of a list: how many rows, and after which."""

    limit: Annotated[int, Field(ge=1, le=200, description="How many rows to give.")] = 50
    cursor: Annotated[Filter | None, Field(description="`next_cursor` of the page before; opaque.")] = None

    _list: str = PrivateAttr("")

    def after(self, name: str, *kinds: type) -> tuple[Any, ...] | None:
        """Read where a page of the list `name` begins: one value of each kind.

        Raises `Invalid` for a cursor that is not of this list, with these filters.
        """
        self._list = name
        if self.cursor is None:
            return None
        padded = self.cursor + "=" * (-len(self.cursor) % 4)
        try:
            place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, RecursionError):
            place = None
        shaped = isinstance(place, list) and [type(each) for each in place] == [int, *kinds]
        if not shaped or not all(map(_is_place, place)) or place[0] != self.mark():
            raise Invalid.field("/query/cursor", "This is no cursor that this list gave for these filters.")
        return tuple(place[1:])

    def mark(self) -> int:
        """Tell a list with its filters from others, by a number that a cursor begins with."""
        told = self.model_dump_json(exclude={"limit", "cursor"})
        return zlib.crc32(f"{self._list} {told}".encode()) % _MARKS


class Span(Page):
    """A page of what was made within a span of time."""

    since: Annotated[Moment | None, Field(description="Made at this moment or later.")] = None
    until: Annotated[Moment | None, Field(description="Made before this moment.")] = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """Refuse a span that ends before it begins."""
        if self.since and self.until and self.since > self.until:
            raise unfit("is before since", "until")
        return self


class Listed(Shape, Generic[Item]):
    """A page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None


def page(
    wanted: Page, rows: Sequence[Any], show: Callable[[Any], Item], place: Callable[[Any], Sequence[Any]]
) -> Listed[Item]:
    """Lay out a page of rows read with one more than its limit, which only tells that there is more."""
    shown = rows[: wanted.limit]
    cursor = None
    if len(rows) > wanted.limit:
        text = json.dumps([wanted.mark(), *place(shown[-1])], separators=(",", ":"))
        cursor = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    return Listed(items=[show(row) for row in shown], next_cursor=cursor)


def etag(version: object) -> str:
    """Spell a version as an entity tag."""
    return f'"{version}"'


def must_be_absent(if_match: str | None) -> None:
    """Refuse to make what is expected to be there (RFC 9110, section 13.1.1); raises `Stale`."""
    if if_match is not None:
        raise Stale("There is nothing yet that could match; leave If-Match out to register it.")


def must_match(if_match: str | None, version: int) -> None:
    """Refuse a change of what has changed since it was read; raises `Stale`."""
    if if_match is None:
        return
    tags = {tag.strip() for tag in if_match.split(",")}
    if "*" not in tags and etag(version) not in tags:
        raise Stale("The object has changed since you read it; read it again first.")
