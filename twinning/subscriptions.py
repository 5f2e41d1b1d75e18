# SPDX-License-Identifier: Apache-2.0
"""What an owner asks of a webhook endpoint and is shown of it: the shapes, and how an endpoint changes."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Strict, StringConstraints
from pydantic import Field as ShapeField
from sqlmodel import Session

from twinning import endpoints, keyring, switching
from twinning.addresses import AddressRefused, Rules, check_url
from twinning.database import HELD, now
from twinning.endpoints import Attempt, Delivery, WebhookEndpoint
from twinning.errors import Conflict, Invalid
from twinning.events import EventType
from twinning.fields import Countries, Flag, Note, Shape, Themes, unfit
from twinning.keys import ApiKey
from twinning.terms import Band, DeliveryState, SuggestionKind

MOST_HEADERS = 10
MOST_ENDPOINTS = 50
LONGEST_GRACE_S = 604_800
NOUNS = frozenset(kind.split(".", 1)[0] for kind in EventType)
# A field name is a token of RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[!-~]([ -~]{0,1022}[!-~])?")
# What the connection, the signature or the sender decides, and nobody else.
_OURS = frozenset(
    (
        "accept-encoding",
        "connection",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    )
)
_OUR_FAMILIES = ("asem-", "content-", "proxy-", "webhook-")


def known_type(pattern: str) -> str:
    """Take an event type, a noun with `.*`, or `*`; raises `ValueError` for the rest."""
    noun, dot, rest = pattern.partition(".")
    if pattern == "*" or pattern in set(EventType) or (dot and rest == "*" and noun in NOUNS):
        return pattern
    raise ValueError("is no event type; GET /v1/reference/event-types lists them, and * and city.* are taken")


def _headers(headers: Mapping[str, str | None]) -> Mapping[str, str | None]:
    """Refuse headers that are none, that are ours to set, or that are too many."""
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"has {len(headers)} headers; at most {MOST_HEADERS} are taken")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("names a header twice")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise unfit("is no name of a header", name)
        if name.lower() in _OURS or name.lower().startswith(_OUR_FAMILIES):
            raise unfit("is not the receiver's to set", name)
        if value is not None and not _VALUE.fullmatch(value):
            raise unfit("must be 1 to 1,024 printable ASCII characters", name)
    return headers


EventTypes = Annotated[
    list[Annotated[str, StringConstraints(max_length=100), AfterValidator(known_type)]],
    ShapeField(min_length=1, max_length=50),
]
Headers = Annotated[dict[str, str], AfterValidator(_headers)]
KeptHeaders = Annotated[dict[str, str | None], AfterValidator(_headers)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Rate = Annotated[float, Strict(), ShapeField(gt=0, le=1000, allow_inf_nan=False)]


class EndpointFilters(Shape):
    """Which events an endpoint wants, besides their type; an empty list means all."""

    countries: Countries = []
    themes: Themes = []
    kinds: Annotated[list[SuggestionKind], ShapeField(max_length=3)] = []
    min_band: Band | None = None


class EndpointCreate(Shape):
    """A webhook endpoint to be made."""

    url: Url
    event_types: EventTypes = ["*"]
    filters: EndpointFilters = EndpointFilters()
    headers: Headers = {}
    description: Note | None = None
    rate_per_second: Rate | None = None
    enabled: Flag = True


class EndpointUpdate(EndpointCreate):
    """What may be changed of an endpoint; a field left out stays as it is.

    `headers` replaces all of them; one whose value is null keeps the value that it has.
    """

    url: Url = ""
    headers: KeptHeaders = {}  # type: ignore[assignment]


class EndpointPublic(Shape):
    """An endpoint as its owner reads it: never its secret, and of its headers the names alone.

    `disabled_because` says who switched it off; until it is `verified` its events are held.
    """

    id: str
    url: str
    event_types: list[str]
    filters: EndpointFilters
    headers: dict[str, None]
    description: str | None
    rate_per_second: float | None
    enabled: bool
    disabled_because: str | None
    verified: bool
    created_at: datetime
    updated_at: datetime


class EndpointShown(EndpointPublic):
    """An endpoint with the secret that signs for it from now on, shown this once."""

    secret: str


class RotationRequest(Shape):
    """A new secret, and for how many seconds the one before signs beside it; 0 ends all older ones now."""

    grace_seconds: Annotated[int, Strict(), ShapeField(ge=0, le=LONGEST_GRACE_S)] = 86_400


class AttemptPublic(Shape):
    """One attempt at a delivery; `error` is null when the receiver answered 2xx."""

    number: int
    started_at: datetime
    duration_ms: float | None
    status: int | None
    error: str | None
    answer: str | None
    next_attempt_at: datetime | None


class DeliveryPublic(Shape):
    """One event on its way to one endpoint, with its attempts, first to last."""

    id: str
    event_id: str
    endpoint_id: str
    state: DeliveryState
    created_at: datetime
    updated_at: datetime
    attempts: list[AttemptPublic]


def checked(url: str, rules: Rules, pointer: str) -> str:
    """Spell a receiver's URL as it is stored; raises `Invalid` when webhooks may not go there."""
    try:
        return check_url(url, rules).url
    except AddressRefused as refused:
        raise Invalid.field(pointer, refused.detail, code=refused.code) from None


def create(
    session: Session, owner_id: str, wanted: EndpointCreate, rules: Rules, round_id: str | None = None
) -> WebhookEndpoint:
    """Make an endpoint, or the callback of a round."""
    fields = wanted.model_dump(mode="json", exclude={"headers"})
    fields["url"] = checked(wanted.url, rules, "/url" if round_id is None else "/callback_url")
    because = None if wanted.enabled else "its owner"
    row = WebhookEndpoint(
        **fields, owner_id=owner_id, round_id=round_id, disabled_because=because, secrets=[]
    )
    if round_id is None:
        _must_have_room(session, row)
    keyring.fill(session, row, wanted.headers)
    return row


def _must_have_room(session: Session, row: WebhookEndpoint) -> None:
    """Refuse one endpoint too many, and one that another is like; raises `Conflict`."""
    # Whoever adds one holds the owner, so that two at once do not both find the last place.
    session.get(ApiKey, row.owner_id, with_for_update=HELD)
    owned = endpoints.listed(session, row.owner_id, MOST_ENDPOINTS)
    if len(owned) >= MOST_ENDPOINTS:
        raise Conflict(
            f"A key may have {MOST_ENDPOINTS} webhook endpoints; delete one first.", code="endpoints-full"
        )
    for other in owned:
        if other.id != row.id and _asks_for(other) == _asks_for(row):
            raise Conflict(
                f"The webhook endpoint {other.id} sends the same events to the same URL.",
                code="endpoint-exists",
            )


def _asks_for(row: WebhookEndpoint) -> tuple[object, ...]:
    """What makes two endpoints of a key the same."""
    return row.url, frozenset(row.event_types), EndpointFilters.model_validate(row.filters)


def change(session: Session, row: WebhookEndpoint, wanted: EndpointUpdate, rules: Rules) -> frozenset[str]:
    """Change the fields that were sent; switching on releases what was held.

    Gives the names of those that are different now; headers, which are sealed, count whenever they are sent.
    """
    fields = wanted.model_dump(mode="json", include=wanted.model_fields_set)
    if "url" in fields:
        fields["url"] = checked(wanted.url, rules, "/url")
    enabled = fields.pop("enabled", row.enabled)
    if "headers" in fields:
        keyring.put_headers(session, row, fields.pop("headers"))
    changed = {name: value for name, value in fields.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    if "rate_per_second" in changed:
        row.rate_clock = None
    different = frozenset(changed) | (wanted.model_fields_set & {"headers"})
    if enabled != row.enabled:
        different |= {"enabled"}
    if different:
        row.version += 1
        row.updated_at = now()
        session.add(row)
    if enabled and not row.enabled:
        switching.enable(session, row)
    elif row.enabled and not enabled:
        switching.disable(session, row, "its owner")
    return different


def public(row: WebhookEndpoint) -> EndpointPublic:
    """Show an endpoint without its secret."""
    fields = row.model_dump(include=set(EndpointPublic.model_fields) - {"headers"})
    return EndpointPublic(**fields, headers=dict.fromkeys(row.headers), verified=row.challenge is None)


def shown(session: Session, row: WebhookEndpoint) -> EndpointShown:
    """Show an endpoint with its newest secret."""
    return EndpointShown(**public(row).model_dump(), secret=keyring.newest(session, row))


def delivery(row: Delivery, attempts: list[Attempt]) -> DeliveryPublic:
    """Show a delivery with its attempts."""
    made = [AttemptPublic.model_validate(attempt) for attempt in attempts]
    return DeliveryPublic(**row.model_dump(include=set(DeliveryPublic.model_fields)), attempts=made)
