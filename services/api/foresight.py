# SPDX-License-Identifier: Apache-2.0
"""What each of some writes will ask first, asked once for all of them that share a transaction.

Who asks, whether an answer is kept under its key, the city in its path, held, and what the city says already
that is like a new listing: questions of which a write need ask none then. It is no more than a saving: what
was not foreseen is asked when it is wanted, and what somebody else holds is waited for then.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request
from sqlmodel import Session

from services.api import idempotency
from services.api.gate import bearer_of
from twinning import cities, keys, listing_search
from twinning.listings import ListingCreate

# A listing of a city is registered, or replaced, below the city.
_OF_A_CITY = re.compile(r"/v1/cities/([0-9a-f-]{36})/.")


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What one write will ask for: its bearer, the key of its answer, the city that it adds to, and what."""

    bearer: str
    key: str | None
    city_id: str | None
    listing: ListingCreate | None = None

    @classmethod
    def of(cls, request: Request) -> "Foreseen":
        """Read it from a request; raises `Unauthorised` where there is no key."""
        found = _OF_A_CITY.match(request.scope["path"])
        key = idempotency.key_of(request)
        # What is none may be what no database takes, and is refused when its own turn comes.
        key = key if key and idempotency.is_key(key) else None
        wanted = request.state.given.get("wanted") if request.method == "POST" and found else None
        listing = wanted if isinstance(wanted, ListingCreate) else None
        return cls(bearer_of(request), key, found and found[1], listing)


def foresee(session: Session, group: Sequence[Foreseen]) -> None:
    """Ask for all of them; the cities last, in the order of their ids, as everybody holds more than one."""
    callers = keys.foresee(session, {one.bearer for one in group})
    claimed = {(callers[one.bearer], one.key) for one in group if one.key and one.bearer in callers}
    idempotency.foresee(session, claimed)
    known = [one for one in group if one.bearer in callers]
    cities.foresee(session, {one.city_id for one in known if one.city_id})
    listing_search.foresee(
        session, [(one.city_id, one.listing) for one in known if one.city_id and one.listing]
    )
