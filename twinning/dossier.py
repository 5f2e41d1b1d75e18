# SPDX-License-Identifier: Apache-2.0
"""Everything that is stored about a city, laid out for the city: its right to see it.

It is read in pages, each in a transaction of its own, so that nothing is held while a slow reader reads.
What is only counted from the city's texts (`term_counts`) and the marks of work under way are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, or_, tuple_
from sqlmodel import Session, SQLModel, col, select

from twinning import (
    audit,
    cities,
    endpoints,
    idempotency,
    imports,
    replays,
    rounds,
    subscriptions,
    suggestions,
)
from twinning.audit import AuditEntry, AuditPublic
from twinning.cities import City, CityOwned
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.events import EventType
from twinning.fields import Shape
from twinning.idempotency import KeptAnswer
from twinning.imports import Import, ImportPublic, ImportRefusal, RefusalPublic
from twinning.keys import ApiKey, ApiKeyPublic
from twinning.listing_shapes import NeedOwned, PracticeOwned
from twinning.listings import Listing
from twinning.outbox import EventCity, StoredEvent
from twinning.previews import Preview
from twinning.replays import Replay, ReplayPublic
from twinning.rounds import MatchingRound, RoundPublic, RoundSuggestion
from twinning.subscriptions import DeliveryPublic, EndpointPublic
from twinning.suggestions import Suggestion, SuggestionCity, SuggestionPublic
from twinning.terms import ListingKind

PAGE: Final = 200


class KeyRecord(ApiKeyPublic):
    """A key of the city's, with the moment it was revoked; neither the key nor its hash."""

    revoked_at: datetime | None


class RoundPlace(Shape):
    """The place of a suggestion in a round's result."""

    round_id: str
    place: int
    suggestion_id: str


class PreviewRecord(Shape):
    """A text that was to be matched, and the answer; both go after a day."""

    id: str
    created_at: datetime
    request: dict[str, Any]
    answer: dict[str, Any] | None


class RefusalRecord(RefusalPublic):
    """Why a row of an import was refused."""

    import_id: str


class AnswerRecord(Shape):
    """An answer that is kept for a day under an `Idempotency-Key`, without the secret that it may show."""

    key: str
    status: int
    created_at: datetime
    answer: Any


class EventRecord(Shape):
    """An event that names the city or was for one of its keys."""

    id: str
    type: EventType
    timestamp: datetime
    data: dict[str, Any]


class CityExport(Shape):
    """Everything that is stored about a city: withdrawn listings and suggestions, too, and no secret."""

    city: CityOwned
    practices: list[PracticeOwned]
    needs: list[NeedOwned]
    suggestions: list[SuggestionPublic]
    round_places: list[RoundPlace]
    rounds: list[RoundPublic]
    previews: list[PreviewRecord]
    imports: list[ImportPublic]
    import_refusals: list[RefusalRecord]
    events: list[EventRecord]
    api_keys: list[KeyRecord]
    webhook_endpoints: list[EndpointPublic]
    replays: list[ReplayPublic]
    deliveries: list[DeliveryPublic]
    kept_answers: list[AnswerRecord]
    audit: list[AuditPublic]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a dossier is about: a city, and its keys of all times."""

    city_id: str
    key_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a dossier: rows of a table, which of them, in which order, and how they are shown."""

    name: str
    table: type[SQLModel]
    which: Callable[[Subject], ColumnElement[bool]]
    order: tuple[Any, ...]
    show: Callable[[Session, Sequence[Any]], list[str]]


def subject(session: Session, city: City) -> Subject:
    """Say whom a dossier is about."""
    owned = session.exec(select(ApiKey.id).where(ApiKey.city_id == city.id)).all()
    return Subject(city.id, tuple(owned))


def opening(city: City) -> str:
    """Write the beginning: the city itself with its contact."""
    return f'{{"city":{cities.owned(city).model_dump_json()}'


def read(
    session: Session, section: Section, about: Subject, after: tuple[Any, ...] | None
) -> tuple[list[str], tuple[Any, ...] | None]:
    """Read a page of a section as JSON; gives where to read on, or None at the end."""
    query = select(section.table).where(section.which(about))
    if after is not None:
        query = query.where(tuple_(*section.order) > tuple_(*after))
    rows = session.exec(query.order_by(*section.order).limit(PAGE)).all()
    more = tuple(getattr(rows[-1], each.key) for each in section.order) if len(rows) == PAGE else None
    return section.show(session, rows), more


def _each(shape: type[Shape]) -> Callable[[Session, Sequence[Any]], list[str]]:
    return lambda _session, rows: [shape.model_validate(row).model_dump_json() for row in rows]


def _with(show: Callable[[Session, Any], Shape]) -> Callable[[Session, Sequence[Any]], list[str]]:
    return lambda session, rows: [show(session, row).model_dump_json() for row in rows]


def _events(_session: Session, rows: Sequence[StoredEvent]) -> list[str]:
    return [f'{{"id":"{row.id}",{row.body[1:]}' for row in rows]


def _deliveries(session: Session, rows: Sequence[Delivery]) -> list[str]:
    made = endpoints.attempts_by_delivery(session, [row.id for row in rows])
    return [subscriptions.delivery(row, made.get(row.id, [])).model_dump_json() for row in rows]


def _kept(session: Session, row: KeptAnswer) -> AnswerRecord:
    answer = idempotency.without_secrets(session, row)
    return AnswerRecord(key=row.key, status=row.status, created_at=row.created_at, answer=answer)


def _listings(kind: ListingKind, shape: type[Shape]) -> Section:
    return Section(
        f"{kind}s",
        Listing,
        lambda about: (col(Listing.city_id) == about.city_id) & (col(Listing.kind) == kind),
        (col(Listing.id),),
        _each(shape),
    )


def _naming(about: Subject) -> Any:
    return select(SuggestionCity.suggestion_id).where(SuggestionCity.city_id == about.city_id)


def _imports(about: Subject) -> Any:
    return select(Import.id).where(col(Import.asked_by).in_(about.key_ids))


def _endpoints(about: Subject) -> Any:
    return select(WebhookEndpoint.id).where(col(WebhookEndpoint.owner_id).in_(about.key_ids))


def _told(about: Subject) -> ColumnElement[bool]:
    named = select(EventCity.sequence).where(EventCity.city_id == about.city_id)
    return or_(col(StoredEvent.sequence).in_(named), col(StoredEvent.for_key).in_(about.key_ids))


SECTIONS: Final = (
    _listings(ListingKind.PRACTICE, PracticeOwned),
    _listings(ListingKind.NEED, NeedOwned),
    Section(
        "suggestions",
        Suggestion,
        lambda about: col(Suggestion.id).in_(_naming(about)),
        (col(Suggestion.id),),
        _with(lambda _session, row: suggestions.public(row)),
    ),
    Section(
        "round_places",
        RoundSuggestion,
        lambda about: col(RoundSuggestion.suggestion_id).in_(_naming(about)),
        (col(RoundSuggestion.round_id), col(RoundSuggestion.place)),
        _each(RoundPlace),
    ),
    Section(
        "rounds",
        MatchingRound,
        lambda about: col(MatchingRound.asked_by).in_(about.key_ids),
        (col(MatchingRound.id),),
        _with(rounds.public),
    ),
    Section(
        "previews",
        Preview,
        lambda about: col(Preview.asked_by).in_(about.key_ids),
        (col(Preview.id),),
        _each(PreviewRecord),
    ),
    Section(
        "imports",
        Import,
        lambda about: col(Import.id).in_(_imports(about)),
        (col(Import.id),),
        _with(lambda _session, row: imports.public(row)),
    ),
    Section(
        "import_refusals",
        ImportRefusal,
        lambda about: col(ImportRefusal.import_id).in_(_imports(about)),
        (col(ImportRefusal.import_id), col(ImportRefusal.row), col(ImportRefusal.place)),
        _each(RefusalRecord),
    ),
    Section("events", StoredEvent, _told, (col(StoredEvent.sequence),), _events),
    Section(
        "api_keys",
        ApiKey,
        lambda about: col(ApiKey.id).in_(about.key_ids),
        (col(ApiKey.id),),
        _each(KeyRecord),
    ),
    Section(
        "webhook_endpoints",
        WebhookEndpoint,
        lambda about: col(WebhookEndpoint.owner_id).in_(about.key_ids),
        (col(WebhookEndpoint.id),),
        _with(lambda _session, row: subscriptions.public(row)),
    ),
    Section(
        "replays",
        Replay,
        lambda about: col(Replay.endpoint_id).in_(_endpoints(about)),
        (col(Replay.id),),
        _with(lambda _session, row: replays.public(row)),
    ),
    Section(
        "deliveries",
        Delivery,
        lambda about: col(Delivery.endpoint_id).in_(_endpoints(about)),
        (col(Delivery.id),),
        _deliveries,
    ),
    Section(
        "kept_answers",
        KeptAnswer,
        lambda about: col(KeptAnswer.caller).in_(about.key_ids),
        (col(KeptAnswer.caller), col(KeptAnswer.key)),
        _with(_kept),
    ),
    Section(
        "audit",
        AuditEntry,
        lambda about: audit.about_city(about.city_id, about.key_ids),
        (col(AuditEntry.id),),
        _each(AuditPublic),
    ),
)
