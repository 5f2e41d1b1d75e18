# SPDX-License-Identifier: Apache-2.0
"""Suggesting: what a change in the catalogue means for the lists of best partners, and for nothing else.

The work has two halves. `look` reads one state of the database, brings the catalogue in memory up to it
and finds what should stand; it writes nothing and may take its time. `keep` writes the difference in
one transaction, and only if no other worker has kept anything since the look; else all is done again.
So the lists are always those of one definite version, and doing it twice changes nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlmodel import Session, col, select, update

from services.matcher.engine.pairing import Pair, study_visits_for, twinnings_for
from services.matcher.engine.store import NEED
from services.matcher.keeping import Keeper
from services.matcher.pairs import pair_between
from services.matcher.proposing import pair_key, proposals
from twinning import listings, outbox, rounds, suggestions
from twinning.catalogue import TermCounts, keep_counts
from twinning.database import KEEPING, Log
from twinning.events import SuggestionCreated, SuggestionUpdated, SuggestionWithdrawn
from twinning.proposals import Proposal
from twinning.suggestions import Suggestion
from twinning.terms import Band, SuggestionKind, SuggestionStatus

# Of so few listings each one moves the words' weights and the bands of all, so all are looked at again:
# it takes some tenths of a second, and what stands is at every moment what a round would propose.
SMALL = 200

FINDERS = {SuggestionKind.STUDY_VISIT: study_visits_for, SuggestionKind.TWINNING: twinnings_for}


class Overtaken(Exception):
    """Another worker has kept suggestions since this one looked; look again."""


@dataclass
class Changed:
    """What has changed: listings and cities by id."""

    listings: set[str] = field(default_factory=set)
    cities: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Found:
    """What should stand now, found at one state of the database."""

    kept_at: int
    # Each list of best partners that was made again: kind and city, with what is on it.
    lists: dict[tuple[SuggestionKind, str], list[Proposal]]
    # Open suggestions beside the lists that rest on what changed, and what they are now (None: nothing).
    others: dict[str, Proposal | None]
    unmet: set[str]
    met: set[str]
    counted: list[TermCounts]


@dataclass(frozen=True)
class Told:
    """How many suggestions appeared, changed and fell."""

    created: int
    updated: int
    withdrawn: int


def look(keeper: Keeper, session: Session, changed: Changed, per_city: int, min_band: Band) -> Found:
    """Find what the changes mean for the lists that they can touch."""
    kept_at = _kept_at(session)
    keeper.catch_up(session)
    resting = _resting_on(session, changed)
    if len(keeper.corpus.index) <= SMALL:
        named = {id_ for row in resting for id_, _ in suggestions.cities_of(row)}
        everybody = {str(city) for city in keeper.corpus.cities} | named | changed.cities
        return look_again(keeper, session, sorted(everybody), per_city, min_band)
    learners = _learners(keeper, changed, resting, min_band)
    lists = {
        SuggestionKind.STUDY_VISIT: learners,
        SuggestionKind.TWINNING: _partners(keeper, learners, resting, min_band),
    }
    return _find(keeper, session, kept_at, lists, resting, per_city, min_band)


def look_again(
    keeper: Keeper, session: Session, cities: Sequence[str], per_city: int, min_band: Band
) -> Found:
    """Find what should stand for some cities whatever has changed: a part of a refresh."""
    kept_at = _kept_at(session)
    keeper.cut(session)
    known = {city for city in cities if keeper.corpus.knows(city)}
    resting = suggestions.with_cities(session, cities)
    return _find(keeper, session, kept_at, dict.fromkeys(FINDERS, known), resting, per_city, min_band)


def _find(
    keeper: Keeper,
    session: Session,
    kept_at: int,
    cities: dict[SuggestionKind, set[str]],
    resting: Sequence[Suggestion],
    per_city: int,
    min_band: Band,
) -> Found:
    """Make the lists of these cities again, and what rests on the changes beside them."""
    pairs = {
        (kind, city): FINDERS[kind](keeper.corpus, city, per_city, min_band)
        if keeper.corpus.knows(city)
        else []
        for kind, some in cities.items()
        for city in sorted(some)
    }
    on_lists = {(pair.kind, pair_key(pair)) for made in pairs.values() for pair in made}
    beside = {
        row.id: (pair_between(keeper.corpus, row), Band(row.min_band))
        for row in resting
        if (row.kind, row.pair_key) not in on_lists
    }
    wanted = [(pair, min_band) for made in pairs.values() for pair in made]
    wanted += [(pair, least) for pair, least in beside.values() if pair]
    explained = _explain(keeper, session, wanted)
    # Those whose list of hosts is not made again keep their flags, which are of the same age as the list.
    learners = {city for city in cities[SuggestionKind.STUDY_VISIT] if keeper.corpus.knows(city)}
    needs = {str(need) for city in learners for need in keeper.corpus.listings(city, NEED)}
    unmet = {need for need in needs if not keeper.corpus.is_met(need, min_band)}
    return Found(
        kept_at=kept_at,
        lists={key: [explained[pair.kind, pair_key(pair)] for pair in made] for key, made in pairs.items()},
        others={
            id_: explained[pair.kind, pair_key(pair)] if pair else None for id_, (pair, _) in beside.items()
        },
        unmet=unmet,
        met=needs - unmet,
        counted=list(keeper.counted),
    )


def _explain(
    keeper: Keeper, session: Session, pairs: Sequence[tuple[Pair, Band]]
) -> dict[tuple[SuggestionKind, str], Proposal]:
    """Explain each pair once, however many lists it is on."""
    once = {(pair.kind, pair_key(pair)): (pair, least) for pair, least in pairs}
    return dict(zip(once, proposals(keeper, session, list(once.values())), strict=True))


def _kept_at(session: Session) -> int:
    return session.exec(select(Log.value).where(Log.name == KEEPING)).one()


def _resting_on(session: Session, changed: Changed) -> list[Suggestion]:
    """Give the open suggestions that rest on what has changed."""
    rows = {row.id: row for row in suggestions.resting_on(session, changed.listings)}
    rows |= {row.id: row for row in suggestions.with_cities(session, changed.cities)}
    return list(rows.values())


def _learners(keeper: Keeper, changed: Changed, resting: Sequence[Suggestion], min_band: Band) -> set[str]:
    """Give the cities whose lists of hosts the changes can touch: before by what stood, now by the index."""
    corpus = keeper.corpus
    listed = set(changed.listings)
    for city in changed.cities:
        listed |= {str(key) for kind in ("need", "practice") for key in corpus.listings(city, kind)}
    learners = {id_ for row in resting for id_, _ in suggestions.cities_of(row)} | changed.cities
    for key in listed:
        if key not in corpus.index:
            continue
        learners.add(str(corpus.city_of(key)))
        if corpus.index.kind(key) != NEED:
            learners |= {str(corpus.city_of(need)) for need in corpus.needs_touched(key, min_band)}
    return learners


def _partners(
    keeper: Keeper, learners: Collection[str], resting: Sequence[Suggestion], min_band: Band
) -> set[str]:
    """Give the cities whose lists of partners can change: the learners, and all they would learn from."""
    corpus = keeper.corpus
    partners = set(learners) | {id_ for row in resting for id_, _ in suggestions.cities_of(row)}
    for city in learners:
        for need in corpus.listings(city, NEED) if corpus.knows(city) else ():
            partners |= {
                str(corpus.city_of(match.practice)) for match in corpus.matches(need, min_band, depth=None)
            }
    return partners


def take_turn(session: Session) -> int:
    """Be the only one who keeps suggestions until the commit; gives the number of the turn."""
    statement = update(Log).where(col(Log.name) == KEEPING).values(value=Log.value + 1)
    return int(session.execute(statement.returning(col(Log.value))).scalar_one())


def keep(session: Session, found: Found) -> Told:
    """Write the difference between what stands and what should; raises `Overtaken`."""
    if take_turn(session) != found.kept_at + 1:
        raise Overtaken
    keep_counts(session, found.counted)
    listings.mark_unmet(session, found.unmet, unmet=True)
    listings.mark_unmet(session, found.met, unmet=False)
    writer = Writer(session)
    # All lists take up what is theirs before anything falls: what one drops another may take in.
    before = {(kind, city): suggestions.listed_by(session, kind, city) for kind, city in found.lists}
    for (kind, city), made in found.lists.items():
        writer.list_on(kind, city, made, {row.id for row in before[kind, city]})
    for (kind, city), made in found.lists.items():
        keys = {proposal.pair_key for proposal in made}
        writer.drop_from(city, [row for row in before[kind, city] if row.pair_key not in keys])
    for suggestion_id, proposal in found.others.items():
        writer.keep_other(suggestion_id, proposal)
    return writer.told


class Writer:
    """Writes suggestions and the event of each that is news."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.created: set[str] = set()
        self.updated: set[str] = set()
        self.withdrawn: set[str] = set()

    @property
    def told(self) -> Told:
        """Count what was told."""
        return Told(len(self.created), len(self.updated), len(self.withdrawn))

    def put(self, proposal: Proposal, standing: Suggestion | None, round_id: str | None = None) -> Suggestion:
        """Make a suggestion of a proposal, or bring the one that stands to it."""
        if standing is None:
            row = suggestions.create(self._session, proposal, round_id)
            self.created.add(row.id)
            outbox.record(self._session, SuggestionCreated(data=suggestions.public(row)))
            return row
        if standing.status not in suggestions.OPEN:
            # What has been introduced, held or declined is history and is not written anew.
            return standing
        if suggestions.revise(self._session, standing, proposal) and standing.id not in self.updated:
            self.updated.add(standing.id)
            outbox.record(self._session, SuggestionUpdated(data=suggestions.public(standing)))
        return standing

    def list_on(
        self, kind: SuggestionKind, city: str, made: Sequence[Proposal], listed: Collection[str]
    ) -> None:
        """Put what was found on a city's list of best partners, which holds these suggestions already."""
        keys = {proposal.pair_key for proposal in made}
        standing = suggestions.live_pairs(self._session, kind, keys)
        for proposal in made:
            row = self.put(proposal, standing.get(proposal.pair_key))
            if row.id not in listed:
                suggestions.set_listed(self._session, row, city, listed=True)

    def drop_from(self, city: str, rows: Sequence[Suggestion]) -> None:
        """Take these off a city's list; what falls off every list is withdrawn."""
        for row in rows:
            suggestions.set_listed(self._session, row, city, listed=False)
            self._drop_if_unlisted(row)

    def keep_other(self, suggestion_id: str, proposal: Proposal | None) -> None:
        """Bring an open suggestion beside the lists to what it is now; without ground it falls."""
        row = suggestions.get(self._session, suggestion_id)
        if row.status not in suggestions.OPEN:
            return
        if proposal is None:
            self._withdraw(row)
        else:
            self.put(proposal, row)

    def _drop_if_unlisted(self, row: Suggestion) -> None:
        """Let a proposal fall that no list holds; what a city answered or a round proposed stays."""
        if row.status != SuggestionStatus.PROPOSED or suggestions.is_standing(self._session, row):
            return
        if not rounds.in_a_round(self._session, row.id):
            self._withdraw(row)

    def _withdraw(self, row: Suggestion) -> None:
        suggestions.withdraw(self._session, row)
        self.withdrawn.add(row.id)
        outbox.record(self._session, SuggestionWithdrawn(data=suggestions.public(row)))
