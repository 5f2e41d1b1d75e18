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
from twinning.cities import City
from twinning.city_shapes import CityOwned
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.events import EventType
from twinning.fields import Shape
from twinning.idempotency import KeptAnswer
from twinning.imports import Import, ImportPublic, ImportRefusal, RefusalPublic
from twinning.keys import ApiKey, ApiKeyPublic
from twinning.listing_shapes import NeedOwned, PracticeOwned
from twinning.listings import Listing
from twinning.many_rows import table_of
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
    """A part of a dossier: rows of a table, which of them, how they are shown, and in which order."""

    name: str
    table: type[SQLModel]
    which: Callable[[Subject], ColumnElement[bool]]
    show: Callable[[Session, Sequence[Any]], list[str]]
    # By the id, where nothing else is said.
    by: tuple[Any, ...] = ()

    @property
    def order(self) -> tuple[Any, ...]:
        """The columns by which the rows are read, page by page; no two rows agree in all of them."""
        return self.by or (table_of(self.table).c.id,)


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
    return _shown(shape.model_validate)


def _shown(public: Callable[[Any], Shape]) -> Callable[[Session, Sequence[Any]], list[str]]:
    return lambda _session, rows: [public(row).model_dump_json() for row in rows]


def _rounds(session: Session, rows: Sequence[MatchingRound]) -> list[str]:
    return [rounds.public(session, row).model_dump_json() for row in rows]


def _events(_session: Session, rows: Sequence[StoredEvent]) -> list[str]:
    return [f'{{"id":"{row.id}",{row.body[1:]}' for row in rows]


def _deliveries(session: Session, rows: Sequence[Delivery]) -> list[str]:
    made = endpoints.attempts_by_delivery(session, [row.id for row in rows])
    return [subscriptions.delivery(row, made.get(row.id, [])).model_dump_json() for row in rows]


def _kept_answers(session: Session, rows: Sequence[KeptAnswer]) -> list[str]:
    shown = []
    for row in rows:
        answer = idempotency.without_secrets(session, row)
        record = AnswerRecord(key=row.key, status=row.status, created_at=row.created_at, answer=answer)
        shown.append(record.model_dump_json())
    return shown


def _where(column: Any, whose: Callable[[Subject], Any]) -> Callable[[Subject], ColumnElement[bool]]:
    """Take the rows whose column is among what belongs to the subject: its keys, or the ids of a query."""
    return lambda about: col(column).in_(whose(about))


def _keys(about: Subject) -> Any:
    return about.key_ids


def _suggestions(about: Subject) -> Any:
    return select(SuggestionCity.suggestion_id).where(SuggestionCity.city_id == about.city_id)


def _imports(about: Subject) -> Any:
    return select(Import.id).where(col(Import.asked_by).in_(about.key_ids))


def _endpoints(about: Subject) -> Any:
    return select(WebhookEndpoint.id).where(col(WebhookEndpoint.owner_id).in_(about.key_ids))


def _listings(kind: ListingKind) -> Callable[[Subject], ColumnElement[bool]]:
    return lambda about: (col(Listing.city_id) == about.city_id) & (col(Listing.kind) == kind)


def _told(about: Subject) -> ColumnElement[bool]:
    named = select(EventCity.sequence).where(EventCity.city_id == about.city_id)
    return or_(col(StoredEvent.sequence).in_(named), col(StoredEvent.for_key).in_(about.key_ids))


def _audited(about: Subject) -> ColumnElement[bool]:
    return audit.about_city(about.city_id, about.key_ids)


SECTIONS: Final = (
    Section("practices", Listing, _listings(ListingKind.PRACTICE), _each(PracticeOwned)),
    Section("needs", Listing, _listings(ListingKind.NEED), _each(NeedOwned)),
    Section("suggestions", Suggestion, _where(Suggestion.id, _suggestions), _shown(suggestions.public)),
    Section(
        "round_places",
        RoundSuggestion,
        _where(RoundSuggestion.suggestion_id, _suggestions),
        _each(RoundPlace),
        by=(col(RoundSuggestion.round_id), col(RoundSuggestion.place)),
    ),
    Section("rounds", MatchingRound, _where(MatchingRound.asked_by, _keys), _rounds),
    Section("previews", Preview, _where(Preview.asked_by, _keys), _each(PreviewRecord)),
    Section("imports", Import, _where(Import.asked_by, _keys), _shown(imports.public)),
    Section(
        "import_refusals",
        ImportRefusal,
        _where(ImportRefusal.import_id, _imports),
        _each(RefusalRecord),
        by=(col(ImportRefusal.import_id), col(ImportRefusal.row), col(ImportRefusal.place)),
    ),
    Section("events", StoredEvent, _told, _events, by=(col(StoredEvent.sequence),)),
    Section("api_keys", ApiKey, _where(ApiKey.id, _keys), _each(KeyRecord)),
    Section(
        "webhook_endpoints",
        WebhookEndpoint,
        _where(WebhookEndpoint.owner_id, _keys),
        _shown(subscriptions.public),
    ),
    Section("replays", Replay, _where(Replay.endpoint_id, _endpoints), _shown(replays.public)),
    Section("deliveries", Delivery, _where(Delivery.endpoint_id, _endpoints), _deliveries),
    Section(
        "kept_answers",
        KeptAnswer,
        _where(KeptAnswer.caller, _keys),
        _kept_answers,
        by=(col(KeptAnswer.caller), col(KeptAnswer.key)),
    ),
    Section("audit", AuditEntry, _audited, _each(AuditPublic)),
)
