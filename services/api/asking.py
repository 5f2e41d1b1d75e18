# SPDX-License-Identifier: Apache-2.0
"""What asks others to work: rounds, previews and test deliveries.

Each is asked for in the request's transaction. Those whose answer is soon there are waited for after the
commit, holding nothing, and told where to look again when it takes longer.
"""

from collections.abc import Sequence

from sqlmodel import Session
from starlette.responses import Response

from services.api import access
from services.api.transactions import Afterwards
from twinning import (
    audit,
    cities,
    endpoints,
    imports,
    keyring,
    keys,
    outbox,
    previews,
    rounds,
    subscriptions,
    switching,
    verification,
)
from twinning.addresses import Rules
from twinning.database import HELD
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.errors import Conflict, Flaw, Forbidden, Invalid
from twinning.events import EndpointNote, MatchingRoundCancelled, WebhookEndpointPing
from twinning.fields import Shape
from twinning.imports import Import
from twinning.keys import Caller
from twinning.previews import Preview, PreviewAnswer
from twinning.rounds import MatchingRound, RoundRequest
from twinning.settings import Settings
from twinning.subscriptions import DeliveryPublic, EndpointCreate, EndpointUpdate
from twinning.terms import DeliveryState, Role

LOOK_EVERY_S = 0.02
PREVIEW_S = 5.0
# What a test delivery takes beyond the receiver's own time: the bell, the claim, the log.
PING_SLACK_S = 5.0


def rules_of(settings: Settings) -> Rules:
    """Give where this house lets webhooks go."""
    return Rules(settings.webhook_allow_cidrs, settings.webhook_allow_http)


def written(shape: Shape) -> Response:
    """Write an answer outside FastAPI's own way."""
    return Response(shape.model_dump_json(), media_type="application/json")


def ask_round(
    session: Session, caller: Caller, wanted: RoundRequest, settings: Settings
) -> tuple[MatchingRound, str | None]:
    """Ask for a round within what the caller looks after; gives it and the secret of its callback."""
    wanted = _narrowed(session, caller, wanted)
    rules = rules_of(settings)
    if wanted.callback_url is not None:
        url = subscriptions.checked(wanted.callback_url, rules, "/callback_url")
        wanted = wanted.model_copy(update={"callback_url": url})
    row = rounds.ask(session, wanted, caller.key_id)
    audit.note(
        session, "matching_round.asked", row.id, city_id=caller.city_id, fields=wanted.model_fields_set
    )
    if wanted.callback_url is None:
        return row, None
    callback = EndpointCreate(url=wanted.callback_url, event_types=["matching_round.*"])
    endpoint = make_endpoint(session, caller.key_id, callback, settings, round_id=row.id)
    return row, keyring.newest(session, endpoint)


def make_endpoint(
    session: Session, owner_id: str, wanted: EndpointCreate, settings: Settings, round_id: str | None = None
) -> WebhookEndpoint:
    """Make an endpoint, or the callback of a round; where the operator wants it, it has to prove itself."""
    row = subscriptions.create(session, owner_id, wanted, rules_of(settings), round_id)
    if settings.webhook_verify:
        verification.begin(session, row)
    if round_id is None:
        audit.note(session, "webhook_endpoint.made", row.id, fields=wanted.model_fields_set)
    return row


def change_endpoint(
    session: Session, row: WebhookEndpoint, wanted: EndpointUpdate, settings: Settings
) -> None:
    """Change an endpoint; a new URL has to prove itself, and so has one that is tried again."""
    url, enabled = row.url, row.enabled
    changed = subscriptions.change(session, row, wanted, rules_of(settings))
    if changed:
        audit.note(session, "webhook_endpoint.updated", row.id, fields=changed)
    asked_again = row.challenge is not None and row.enabled and not enabled
    if asked_again or (settings.webhook_verify and row.url != url):
        verification.begin(session, row)


def retry(session: Session, row: Delivery) -> Delivery:
    """Have a delivery made again now; raises `Conflict` while it is held or an attempt is under way."""
    endpoint = endpoints.get(session, row.endpoint_id, hold=True)
    session.refresh(row, with_for_update=HELD)
    if row.leased_by is not None:
        raise Conflict("An attempt at this delivery is under way.", code="delivery-under-way")
    if not endpoint.enabled:
        raise Conflict("This webhook endpoint is disabled; enable it first.", code="endpoint-disabled")
    # Of an endpoint that has still to prove itself only the challenge is pending.
    if not endpoint.is_open and row.state != DeliveryState.PENDING:
        raise Conflict("The receiver has to echo its challenge first.", code="endpoint-unverified")
    switching.send_again(session, [row.id], DeliveryState.PENDING)
    audit.note(session, "delivery.retried", row.id)
    session.refresh(row)
    return row


def cancel_round(session: Session, caller: Caller, round_id: str) -> MatchingRound:
    """Stop a round; raises `Conflict` when it has ended."""
    row = access.own_round(session, caller, round_id, hold=True)
    rounds.cancel(session, row)
    audit.note(session, "matching_round.cancelled", row.id, city_id=caller.city_id)
    session.flush()
    told = rounds.public(session, row)
    outbox.record(session, MatchingRoundCancelled(data=told, asked_by=row.asked_by))
    return row


def cancel_import(session: Session, caller: Caller, import_id: str) -> Import:
    """Stop an import; raises `Conflict` when it has ended."""
    row = access.own_import(session, caller, import_id, hold=True)
    imports.cancel(session, row)
    return row


def _narrowed(session: Session, caller: Caller, wanted: RoundRequest) -> RoundRequest:
    """Hold a round to the caller's own cities as learners; an empty scope means all of them."""
    places = _places(session, wanted.city_ids)
    if caller.is_staff:
        return wanted
    if not all(caller.owns(city_id, country) for city_id, country in places.items()):
        raise Forbidden("This key may ask for rounds for its own cities only.")
    if caller.role is Role.CITY:
        return _of_one_city(session, caller, wanted)
    if not caller.countries.issuperset(wanted.countries):
        raise Forbidden("This key may ask for rounds for its own countries only.")
    if wanted.countries or wanted.city_ids:
        return wanted
    return wanted.model_copy(update={"countries": sorted(caller.countries)})


def _of_one_city(session: Session, caller: Caller, wanted: RoundRequest) -> RoundRequest:
    city = cities.get(session, caller.city_id or "")
    if not {city.country}.issuperset(wanted.countries):
        raise Forbidden("This key may ask for rounds for its own city only.")
    return wanted.model_copy(update={"city_ids": [city.id]})


def _places(session: Session, city_ids: Sequence[str]) -> dict[str, str]:
    """Give the countries of the cities that a round names; raises `Invalid` when one is not there."""
    places = cities.places_of(session, city_ids)
    flaws = [
        Flaw(f"/city_ids/{place}", "There is no such city.")
        for place, city_id in enumerate(city_ids)
        if city_id not in places
    ]
    if flaws:
        raise Invalid("Some city_ids name no registered city.", flaws)
    return places


def preview_answer(row: Preview) -> Response | None:
    """Give a preview's answer once a worker has given it."""
    return None if row.answer is None else written(PreviewAnswer.model_validate(row.answer))


def preview_afterwards(preview_id: str) -> Afterwards:
    """Wait for a preview's answer."""

    def look(session: Session) -> Response | None:
        return preview_answer(previews.get(session, preview_id))

    return Afterwards(look, LOOK_EVERY_S, PREVIEW_S)


def ping(session: Session, endpoint: WebhookEndpoint, settings: Settings) -> Afterwards:
    """Send a test delivery, to an endpoint that is off as well; gives how to wait for its attempt."""
    if not keys.good_among(session, [endpoint.owner_id]):
        raise Conflict("The key that this endpoint belongs to has ended.", code="endpoint-disabled")
    if endpoint.challenge is not None:
        raise Conflict("The receiver has to echo its challenge first.", code="endpoint-unverified")
    note = EndpointNote(endpoint_id=endpoint.id, url=endpoint.url, message="A test delivery.")
    event = WebhookEndpointPing(data=note, owner=endpoint.owner_id, anyway=True)
    event_id = outbox.record(session, event)
    audit.note(session, "webhook_endpoint.pinged", endpoint.id)
    endpoint_id = endpoint.id

    def look(session: Session) -> Response | None:
        row = endpoints.delivery_of(session, event_id, endpoint_id)
        if row is None:
            return None
        told = show_deliveries(session, [row])[0]
        done = any(attempt.duration_ms is not None for attempt in told.attempts)
        return written(told) if done else None

    return Afterwards(look, LOOK_EVERY_S, settings.webhook_timeout_s + PING_SLACK_S)


def show_deliveries(session: Session, rows: Sequence[endpoints.Delivery]) -> list[DeliveryPublic]:
    """Show deliveries with their attempts."""
    attempts = endpoints.attempts_by_delivery(session, [row.id for row in rows])
    return [subscriptions.delivery(row, attempts.get(row.id, [])) for row in rows]
