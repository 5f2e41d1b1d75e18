# SPDX-License-Identifier: Apache-2.0
"""A page of a list: the rows of a query, narrowed to what was asked for, from a place on."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from sqlmodel import Session
from sqlmodel.sql.expression import SelectOfScalar

Row = TypeVar("Row")


def page(
    session: Session,
    query: SelectOfScalar[Row],
    by: Any,
    most: int | None,
    after: str | None,
    equal: Mapping[Any, Any] = MappingProxyType({}),
) -> Sequence[Row]:
    """Give the rows beyond `after` in the order of the column `by`.

    Each column of `equal` holds its value; where that is None, it may hold anything.
    """
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(by > after)
    return session.exec(query.order_by(by).limit(most)).all()
