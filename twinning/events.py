# SPDX-License-Identifier: Apache-2.0
"""The events: one frozen class each, which is at once the contract, its schema and its example.

An event is what a webhook carries and what the feed shows: `{"type", "timestamp", "data"}`. A class's
docstring is the published text about it. None ever holds a contact.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from twinning.city_shapes import CityPublic
from twinning.fields import Shape
from twinning.imports import ImportPublic
from twinning.listing_shapes import NeedPublic, PracticePublic
from twinning.rounds import RoundPublic
from twinning.suggestions import SuggestionPublic
from twinning.terms import Band


class EventType(StrEnum):
    """Every type that an endpoint may subscribe to."""

    CITY_REGISTERED = "city.registered"
    CITY_UPDATED = "city.updated"
    CITY_WITHDRAWN = "city.withdrawn"
    PRACTICE_REGISTERED = "practice.registered"
    PRACTICE_UPDATED = "practice.updated"
    PRACTICE_WITHDRAWN = "practice.withdrawn"
    NEED_REGISTERED = "need.registered"
    NEED_UPDATED = "need.updated"
    NEED_WITHDRAWN = "need.withdrawn"
    NEED_EXPIRED = "need.expired"
    SUGGESTION_CREATED = "suggestion.created"
    SUGGESTION_UPDATED = "suggestion.updated"
    SUGGESTION_ACCEPTED = "suggestion.accepted"
    SUGGESTION_DECLINED = "suggestion.declined"
    SUGGESTION_AGREED = "suggestion.agreed"
    SUGGESTION_WITHDRAWN = "suggestion.withdrawn"
    SUGGESTION_EXPIRED = "suggestion.expired"
    INTRODUCTION_MADE = "introduction.made"
    INTRODUCTION_REMINDER = "introduction.reminder"
    VISIT_EVALUATED = "visit.evaluated"
    MATCHING_ROUND_COMPLETED = "matching_round.completed"
    MATCHING_ROUND_FAILED = "matching_round.failed"
    MATCHING_ROUND_CANCELLED = "matching_round.cancelled"
    IMPORT_COMPLETED = "import.completed"
    DIGEST_DAILY = "digest.daily"
    WEBHOOK_ENDPOINT_PING = "webhook_endpoint.ping"
    WEBHOOK_ENDPOINT_FAILING = "webhook_endpoint.failing"
    WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint.disabled"
    WEBHOOK_ENDPOINT_VERIFICATION = "webhook_endpoint.verification"


@dataclass(frozen=True, slots=True)
class Facets:
    """What an endpoint's filters and a key's sight look at; None means that the event has no such side."""

    cities: tuple[tuple[str, str], ...] = ()
    themes: frozenset[str] | None = None
    kind: str | None = None
    band: Band | None = None
    # Only this key's bearer (and staff) may see it; only this endpoint gets it.
    for_key: str | None = None
    only_endpoint: str | None = None
    round_id: str | None = None
    # A test goes out to an endpoint that is off, too.
    test: bool = False

    def kept(self) -> dict[str, Any]:
        """Give what is stored of this beside the cities and the key, which have columns of their own."""
        sides = {
            "themes": None if self.themes is None else sorted(self.themes),
            "kind": self.kind,
            "band": self.band,
            "only_endpoint": self.only_endpoint,
            "round_id": self.round_id,
        }
        return {name: value for name, value in sides.items() if value is not None}

    @classmethod
    def restored(
        cls, kept: Mapping[str, Any], cities: Iterable[tuple[str, str]], for_key: str | None
    ) -> "Facets":
        """Put together again what was stored."""
        return cls(
            cities=tuple(cities),
            themes=frozenset(kept["themes"]) if "themes" in kept else None,
            kind=kept.get("kind"),
            band=Band(kept["band"]) if "band" in kept else None,
            for_key=for_key,
            only_endpoint=kept.get("only_endpoint"),
            round_id=kept.get("round_id"),
        )


class Event(BaseModel):
    """The base of all events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[EventType]
    data: Any

    def facets(self) -> Facets:
        """Tell what the event is about."""
        raise TypeError(f"{type(self).__name__} does not say what it is about")

    def body(self, timestamp: datetime) -> str:
        """Write the JSON that is signed, sent, sent again and shown in the feed: frozen from here on."""
        moment = spelled(timestamp)
        return f'{{"type":"{self.type}","timestamp":"{moment}","data":{self.data.model_dump_json()}}}'


@lru_cache(maxsize=1)
def spelled(moment: datetime) -> str:
    """Spell a moment as events bear it, once for all of a transaction."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _CityEvent(Event):
    data: CityPublic

    def facets(self) -> Facets:
        return Facets(cities=((self.data.id, self.data.country),))


class CityRegistered(_CityEvent):
    """A city has been registered."""

    type = EventType.CITY_REGISTERED


class CityUpdated(_CityEvent):
    """Something about a city has changed; `data` is the city as it is now."""

    type = EventType.CITY_UPDATED


class CityWithdrawn(_CityEvent):
    """A city has left; its listings and suggestions fall with it."""

    type = EventType.CITY_WITHDRAWN


class ListingEvent(Event):
    """The base of the events of practices and needs."""

    data: PracticePublic | NeedPublic
    # Where the listing's city lies; the event's audience, not part of its data.
    country: str

    def facets(self) -> Facets:
        """It is about its city and its themes."""
        return Facets(cities=((self.data.city_id, self.country),), themes=frozenset(self.data.themes))


class _PracticeEvent(ListingEvent):
    data: PracticePublic


class _NeedEvent(ListingEvent):
    data: NeedPublic


class PracticeRegistered(_PracticeEvent):
    """A city has registered something it does well and can show others."""

    type = EventType.PRACTICE_REGISTERED


class PracticeUpdated(_PracticeEvent):
    """A practice has changed; `data` is the practice as it is now."""

    type = EventType.PRACTICE_UPDATED


class PracticeWithdrawn(_PracticeEvent):
    """A practice is not offered any more."""

    type = EventType.PRACTICE_WITHDRAWN


class NeedRegistered(_NeedEvent):
    """A city has registered something it wants to learn or solve."""

    type = EventType.NEED_REGISTERED


class NeedUpdated(_NeedEvent):
    """A need has changed; `data` is the need as it is now."""

    type = EventType.NEED_UPDATED


class NeedWithdrawn(_NeedEvent):
    """A need has been taken back."""

    type = EventType.NEED_WITHDRAWN


class NeedExpired(_NeedEvent):
    """The term of a need is over; it is matched no more until its `expires_on` is moved."""

    type = EventType.NEED_EXPIRED


class _SuggestionEvent(Event):
    data: SuggestionPublic

    def facets(self) -> Facets:
        return Facets(
            cities=tuple((city.city_id, city.country) for city in self.data.cities),
            themes=frozenset(theme for reason in self.data.reasons for theme in reason.themes),
            kind=self.data.kind,
            band=self.data.band,
        )


class SuggestionCreated(_SuggestionEvent):
    """Two cities could learn from each other; `data` is the whole suggestion with its reasons."""

    type = EventType.SUGGESTION_CREATED


class SuggestionUpdated(_SuggestionEvent):
    """The score or the reasons of a suggestion have changed."""

    type = EventType.SUGGESTION_UPDATED


class SuggestionWithdrawn(_SuggestionEvent):
    """What a suggestion rested on has gone, or a better partner has taken its place."""

    type = EventType.SUGGESTION_WITHDRAWN


class RoundResult(RoundPublic):
    """A completed round with its best ten suggestions and where to read the rest."""

    suggestions: list[SuggestionPublic]
    suggestions_url: str


class _RoundEvent(Event):
    data: RoundPublic
    asked_by: str

    def facets(self) -> Facets:
        return Facets(kind=self.data.kind, for_key=self.asked_by, round_id=self.data.id)


class MatchingRoundCompleted(_RoundEvent):
    """A matching round is done; `data` has its summary and its best ten suggestions."""

    type = EventType.MATCHING_ROUND_COMPLETED
    data: RoundResult


class MatchingRoundFailed(_RoundEvent):
    """A matching round could not be done; `data.error` says why."""

    type = EventType.MATCHING_ROUND_FAILED


class MatchingRoundCancelled(_RoundEvent):
    """A matching round was cancelled before it was done."""

    type = EventType.MATCHING_ROUND_CANCELLED


class ImportCompleted(Event):
    """A file has been imported; `data` counts its rows, and what was refused is read from the import."""

    type = EventType.IMPORT_COMPLETED
    data: ImportPublic
    asked_by: str

    def facets(self) -> Facets:
        """It goes to the key that sent the file."""
        return Facets(for_key=self.asked_by)


class EndpointNote(Shape):
    """What there is to say about a webhook endpoint."""

    endpoint_id: str
    url: str
    message: str


class EndpointChallenge(EndpointNote):
    """What the receiver of a new webhook endpoint has to echo."""

    challenge: str


class _EndpointEvent(Event):
    data: EndpointNote
    owner: str

    def facets(self) -> Facets:
        return Facets(for_key=self.owner)


class WebhookEndpointPing(_EndpointEvent):
    """A test delivery that someone asked for; nothing has happened."""

    type = EventType.WEBHOOK_ENDPOINT_PING
    # Sent even when the endpoint is off.
    anyway: bool = False

    def facets(self) -> Facets:
        """It goes to the endpoint that it tests and to no other."""
        return Facets(for_key=self.owner, only_endpoint=self.data.endpoint_id, test=self.anyway)


class WebhookEndpointFailing(_EndpointEvent):
    """An endpoint has failed for a day, or for three, without one success; it is switched off after five."""

    type = EventType.WEBHOOK_ENDPOINT_FAILING


class WebhookEndpointDisabled(_EndpointEvent):
    """An endpoint has been switched off; its events are held until it is enabled again."""

    type = EventType.WEBHOOK_ENDPOINT_DISABLED


class WebhookEndpointVerification(_EndpointEvent):
    """A new endpoint has to echo `data.challenge` before it gets anything else."""

    type = EventType.WEBHOOK_ENDPOINT_VERIFICATION
    data: EndpointChallenge

    def facets(self) -> Facets:
        """It goes to the endpoint that has to prove itself and to no other."""
        return Facets(for_key=self.owner, only_endpoint=self.data.endpoint_id, test=True)


def _classes(base: type[Event]) -> Iterator[type[Event]]:
    for child in base.__subclasses__():
        if hasattr(child, "type"):
            yield child
        yield from _classes(child)


EVENTS: dict[EventType, type[Event]] = {event.type: event for event in _classes(Event)}


def schema(event: type[Event]) -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of an event's body."""
    shape: type[BaseModel] = event.model_fields["data"].annotation  # type: ignore[assignment]
    data = shape.model_json_schema(mode="serialization")
    definitions = data.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event.type,
        "description": event.__doc__,
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": event.type},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": data,
        },
        **({"$defs": definitions} if definitions else {}),
    }
