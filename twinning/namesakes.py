# SPDX-License-Identifier: Apache-2.0
"""Finding cities that may be the same under another spelling, by keys that like names share.

Whoever registers or renames a city holds one lock until the commit, so that of two who register the same
city at the same moment the second sees the first.
"""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Select, bindparam, delete, select
from sqlmodel import Field, Session, SQLModel, col

from twinning.city_names import Named
from twinning.dialects import Id, lock
from twinning.inserting import insert_all

LOCK = "city names"


class CityName(SQLModel, table=True):
    """A key that a registered city's name is found by."""

    __tablename__ = "city_name"

    city_id: str = Field(foreign_key="city.id", primary_key=True, sa_type=Id, ondelete="CASCADE")
    key: str = Field(primary_key=True, max_length=110, index=True)


def hold(session: Session) -> None:
    """Be the only one who gives cities their names until the commit."""
    lock(session, LOCK)


def sharing_a_key(session: Session, named: Named) -> Sequence[str]:
    """Give the ids of the cities that share a key with a name."""
    keys = {"keys": named.found_by()}
    return session.connection().execute(_sharing(), keys).scalars().all()


@cache
def _sharing() -> Select[str]:
    """Build the statement once that finds who shares a key: each registration of a city asks it."""
    query = select(col(CityName.city_id)).where(col(CityName.key).in_(bindparam("keys", expanding=True)))
    return query.distinct().order_by(col(CityName.city_id))


def keep(session: Session, city_id: str, named: Named) -> None:
    """Have a city found by its name, and by no other once that is dropped; its row must be there."""
    insert_all(session, CityName, [{"city_id": city_id, "key": key} for key in named.found_by()])


def drop(session: Session, city_id: str) -> None:
    """Have a city found by no name any more."""
    session.execute(delete(CityName).where(col(CityName.city_id) == city_id))
