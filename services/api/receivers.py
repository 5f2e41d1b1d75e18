# SPDX-License-Identifier: Apache-2.0
"""Where a receiver's name leads, looked up when it is registered or changed, before the transaction begins.

A name that answers with an address where webhooks may not go is refused at once, rather than at each
delivery in silence. One that has no address yet is taken: DNS may come later, and every delivery looks it
up and vets it again, so nothing rests on what is found here. No look-up is made for whoever has no key.
"""

import asyncio
import time
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from services.api.bodies import Body
from services.api.transactions import House, KeyedRoute, caller_of, house_of
from services.lookups import Resolve
from twinning.addresses import REFUSALS, AddressRefused, Rules, check_url, vet
from twinning.errors import Invalid, Unauthorised

# Nobody waits longer for a resolver that hangs, and who asks again soon does not wait again.
LOOKUP_S: Final = 2.0
REMEMBERED_S: Final = 30.0
MOST_REMEMBERED: Final = 1000
# The fields that name a receiver.
FIELDS: Final = ("url", "callback_url")


class Receivers:
    """Looks up receivers' names; `resolve` gives the addresses of (host, port)."""

    def __init__(self, resolve: Resolve, rules: Rules) -> None:
        self._resolve = resolve
        self._rules = rules
        self._known: dict[str, tuple[float, bool]] = {}

    async def leads_inside(self, url: object) -> bool:
        """Say whether a URL's name has an address where webhooks may not go.

        What is no URL, or names no host, is judged by others.
        """
        try:
            receiver = check_url(url, self._rules)
        except AddressRefused:
            return False
        if receiver.literal:
            return False
        until, inside = self._known.get(receiver.host, (0.0, False))
        if until < time.monotonic():
            inside = await self._look(receiver.host, receiver.port)
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[receiver.host] = (time.monotonic() + REMEMBERED_S, inside)
        return inside

    async def _look(self, host: str, port: int) -> bool:
        try:
            async with asyncio.timeout(LOOKUP_S):
                vet(await self._resolve(host, port), self._rules)
        except AddressRefused as refused:
            return refused.code == "address-not-public"
        except (OSError, UnicodeError):
            # There is no answer, or none in time.
            return False
        return False


class ReceiverRoute(KeyedRoute):
    """A route whose body may name a receiver."""

    async def prepare(self, request: Request, body: Body) -> None:
        """Look up what the body names, holding nothing meanwhile."""
        request.state.inside = None
        named = _named(body.value)
        if named is None:
            return
        house = house_of(request)
        async with house.readers:
            known = await run_in_threadpool(_has_key, request, house)
        field, url = named
        receivers: Receivers = request.app.state.receivers
        if known and await receivers.leads_inside(url):
            request.state.inside = field


def _named(body: Any) -> tuple[str, object] | None:
    """Give the field that names a receiver, and what it says."""
    if not isinstance(body, dict):
        return None
    return next(((field, body[field]) for field in FIELDS if body.get(field) is not None), None)


def _has_key(request: Request, house: House) -> bool:
    with house.database.snapshot() as session:
        try:
            caller_of(request, session)
        except Unauthorised:
            return False
    return True


async def _lead_outside(request: Request) -> None:
    """Refuse a receiver whose name leads inside; raises `Invalid`."""
    if request.state.inside is not None:
        code = "address-not-public"
        raise Invalid.field(f"/{request.state.inside}", REFUSALS[code], code=code)


LeadsOutside = Annotated[None, Depends(_lead_outside)]
