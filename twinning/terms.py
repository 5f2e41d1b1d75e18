# SPDX-License-Identifier: Apache-2.0
"""The words of the field, each spelled once: in a table, a route, an event and a page they are the same."""

from enum import StrEnum


class Region(StrEnum):
    """A side of the Asia-Europe Meeting; it follows from a city's country."""

    ASIA = "asia"
    EUROPE = "europe"


class ListingKind(StrEnum):
    """What a city registers: something it can show, or something it wants to learn."""

    PRACTICE = "practice"
    NEED = "need"


class CityState(StrEnum):
    """Where a city's registration stands."""

    REGISTERED = "registered"
    WITHDRAWN = "withdrawn"


class ListingState(StrEnum):
    """Where a listing stands; only a published one is matched."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    PUBLISHED = "published"
    RETURNED = "returned"
    PAUSED = "paused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class SuggestionKind(StrEnum):
    """A study visit goes one way, a twinning both ways, a seminar gathers 3 to 8 cities."""

    STUDY_VISIT = "study_visit"
    TWINNING = "twinning"
    SEMINAR = "seminar"


class CityRole(StrEnum):
    """What a city does in a suggestion."""

    HOST = "host"
    VISITOR = "visitor"
    PARTNER = "partner"
    PARTICIPANT = "participant"


class Band(StrEnum):
    """How good a match is, comparable across needs."""

    STRONG = "strong"
    POSSIBLE = "possible"
    WEAK = "weak"

    @property
    def rank(self) -> int:
        """0 for strong, rising as the band falls."""
        return list(Band).index(self)

    def reaches(self, least: "Band") -> bool:
        """Say whether this band is at least as good as `least`."""
        return self.rank <= least.rank


class SuggestionStatus(StrEnum):
    """The life of a suggestion."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    AGREED = "agreed"
    INTRODUCED = "introduced"
    COMPLETED = "completed"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class RoundState(StrEnum):
    """The life of a matching round."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Assignment(StrEnum):
    """How a round hands out partners: each learner's best, or shared out within capacities."""

    TOP = "top"
    BALANCED = "balanced"


class DeliveryState(StrEnum):
    """The life of one event on its way to one endpoint."""

    PENDING = "pending"
    DELIVERED = "delivered"
    HELD = "held"
    EXHAUSTED = "exhausted"


class Lane(StrEnum):
    """How a delivery goes: as usual, after a time off one by one, or also while its endpoint is off."""

    USUAL = "usual"
    IN_ORDER = "in_order"
    TEST = "test"


class ReplayOnly(StrEnum):
    """What is sent again: what was given up, what never got a delivery, or all that fits."""

    FAILED = "failed"
    MISSING = "missing"
    ALL = "all"


class ReplayState(StrEnum):
    """The life of a replay."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ImportState(StrEnum):
    """The life of an import."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Role(StrEnum):
    """What a key's bearer is."""

    STAFF = "staff"
    COORDINATOR = "coordinator"
    CITY = "city"


class Work(StrEnum):
    """What a worker can be asked to do; each unit of work is a row. All but a replay is a matcher's."""

    MATCH_LISTING = "match_listing"
    MATCH_CITY = "match_city"
    # Some new listings in one unit, as a file brings them.
    MATCH_BATCH = "match_batch"
    PREVIEW = "preview"
    ROUND_BLOCK = "round_block"
    ROUND_ASSEMBLY = "round_assembly"
    REFRESH = "refresh"
    TIDY = "tidy"
    DEADLINES = "deadlines"
    REPLAY = "replay"
    IMPORT = "import"


class Bell(StrEnum):
    """The two doorbells, the urgent one first: there is delivering, which somebody may await, or matching."""

    DELIVER = "deliver"
    MATCH = "match"


class Service(StrEnum):
    """The kinds of process that do what is due, as they name themselves when they say that they live."""

    MATCHER = "matcher"
    DISPATCHER = "dispatcher"
