# SPDX-License-Identifier: Apache-2.0
"""Suggesting: what a change in the catalogue means for the lists of best partners, and for nothing else.

The work has two halves. `look` reads one state of the database, brings the catalogue in memory up to it
and finds what should stand; it writes nothing and may take its time. `keep` writes the difference in
one transaction, and only if no other worker has kept anything since the look; else all is done again.
So the lists are always those of one definite version, and doing it twice changes nothing.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, select

from services.matcher.announcing import Told, Writer, take_turn
from services.matcher.engine.corpus import Corpus
from services.matcher.engine.pairing import Pair, public_score, study_visits_for, twinnings_for
from services.matcher.engine.store import NEED
from services.matcher.keeping import ENGINE_VERSION, Keeper
from services.matcher.pairs import pair_between
from services.matcher.proposing import pair_key, proposals
from services.matcher.theming import themes_of
from twinning import observations, standing, suggestions
from twinning.catalogue import TermCounts, keep_counts
from twinning.database import KEEPING, Log
from twinning.proposals import Proposal
from twinning.suggestions import NEWS, Suggestion
from twinning.terms import Band, SuggestionKind

# Of so few listings each one moves the words' weights and the bands of all, so all are looked at again:
# it takes some tenths of a second, and what stands is at every moment what a round would propose.
SMALL = 200

FINDERS = {SuggestionKind.STUDY_VISIT: study_visits_for, SuggestionKind.TWINNING: twinnings_for}

# A suggestion as all know it before it has an id: its kind and its cities.
Named = tuple[SuggestionKind, str]

# Scores that differ by less are the same but for the order in which their parts were added.
EXACT = 1e-10


class Overtaken(Exception):
    """Another worker has kept suggestions since this one looked; look again."""


@dataclass
class Changed:
    """What has changed: listings and cities by id."""

    listings: set[str] = field(default_factory=set)
    cities: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Asked:
    """What a look is to find: since which turn, after which changes, and how far a score may have drifted."""

    kept_at: int
    changed: Changed
    drift: float
    per_city: int
    min_band: Band


@dataclass(frozen=True)
class Found:
    """What should stand now, found at one state of the database."""

    kept_at: int
    # Each list of best partners that was made again: kind and city, with the sets of cities on it.
    lists: dict[tuple[SuggestionKind, str], list[str]]
    # What is to be written of these: what is new on them, or is no longer as it was told.
    written: dict[tuple[SuggestionKind, str], Proposal]
    # Open suggestions beside the lists that are no longer as told, and what they are now (None: nothing).
    others: dict[str, Proposal | None]
    unmet: set[str]
    met: set[str]
    counted: list[TermCounts]
    # Which themes the changed listings seem to be about, where that is new.
    themes: dict[str, list[dict[str, Any]]]


def look(keeper: Keeper, session: Session, changed: Changed, per_city: int, min_band: Band) -> Found:
    """Find what the changes mean for the lists that they can touch."""
    kept_at = _kept_at(session)
    keeper.catch_up(session)
    resting = _resting_on(session, changed)
    if len(keeper.corpus.index) <= SMALL:
        named = {id_ for row in resting for id_, _ in suggestions.cities_of(row)}
        everybody = {str(city) for city in keeper.corpus.cities} | named | changed.cities
        return look_again(keeper, session, sorted(everybody), per_city, min_band, changed)
    learners = _learners(keeper, changed, resting, min_band)
    lists = {
        SuggestionKind.STUDY_VISIT: learners,
        SuggestionKind.TWINNING: _partners(keeper, learners, resting, min_band),
    }
    asked = Asked(kept_at, changed, NEWS, per_city, min_band)
    return _find(keeper, session, asked, lists, resting)


def look_again(
    keeper: Keeper,
    session: Session,
    cities: Sequence[str],
    per_city: int,
    min_band: Band,
    changed: Changed | None = None,
) -> Found:
    """Find what should stand for some cities, to the last digit: all of it is a refresh."""
    asked = Asked(_kept_at(session), changed or Changed(), EXACT, per_city, min_band)
    keeper.cut(session)
    known = {city for city in cities if keeper.corpus.knows(city)}
    resting = standing.with_cities(session, cities)
    return _find(keeper, session, asked, dict.fromkeys(FINDERS, known), resting)


def _find(
    keeper: Keeper,
    session: Session,
    asked: Asked,
    cities: dict[SuggestionKind, set[str]],
    resting: Sequence[Suggestion],
) -> Found:
    """Make the lists of these cities again, and what rests on the changes beside them."""
    corpus = keeper.corpus
    made = {
        (kind, city): FINDERS[kind](corpus, city, asked.per_city, asked.min_band)
        if corpus.knows(city)
        else []
        for kind, some in cities.items()
        for city in sorted(some)
    }
    pairs = {(pair.kind, pair_key(pair)): pair for found in made.values() for pair in found}
    wanted = _news_on_lists(corpus, session, asked, pairs)
    beside = [row for row in resting if (row.kind, row.pair_key) not in pairs]
    others = {row.id: (pair, Band(row.min_band)) for row, pair in _news_beside(corpus, asked, beside)}
    told = [*wanted.values(), *((pair, least) for pair, least in others.values() if pair)]
    explained = _explain(keeper, session, told)
    needs = _needs_of(corpus, cities[SuggestionKind.STUDY_VISIT])
    unmet = {need for need in needs if not corpus.is_met(need, asked.min_band)}
    return Found(
        kept_at=asked.kept_at,
        lists={key: [pair_key(pair) for pair in found] for key, found in made.items()},
        written={key: explained[key] for key in wanted},
        others={
            id_: explained[pair.kind, pair_key(pair)] if pair else None for id_, (pair, _) in others.items()
        },
        unmet=unmet,
        met=needs - unmet,
        counted=list(keeper.counted),
        themes=themes_of(session, asked.changed.listings),
    )


def _news_on_lists(
    corpus: Corpus, session: Session, asked: Asked, pairs: Mapping[Named, Pair]
) -> dict[Named, tuple[Pair, Band]]:
    """Give those pairs on lists that are new, or no longer as they were told."""
    live: dict[Named, Suggestion] = {}
    for kind in FINDERS:
        keys = [key for its, key in pairs if its is kind]
        live |= {(kind, key): row for key, row in standing.live_pairs(session, kind, keys).items()}
    return {
        key: (pair, asked.min_band)
        for key, pair in pairs.items()
        if key not in live or not _as_told(corpus, live[key], pair, asked)
    }


def _news_beside(
    corpus: Corpus, asked: Asked, beside: Sequence[Suggestion]
) -> Iterator[tuple[Suggestion, Pair | None]]:
    """Give the suggestions beside the lists that are no longer as told, and what they are now."""
    for row in {row.id: row for row in beside}.values():
        pair = pair_between(corpus, row)
        if pair is None or not _as_told(corpus, row, pair, asked):
            yield row, pair


def _needs_of(corpus: Corpus, learners: Collection[str]) -> set[str]:
    """Give the needs of the learners whose lists are made again; the flags of others are as old as theirs."""
    known = (city for city in learners if corpus.knows(city))
    return {str(need) for city in known for need in corpus.listings(city, NEED)}


def _as_told(corpus: Corpus, row: Suggestion, pair: Pair, asked: Asked) -> bool:
    """Say whether a suggestion is still as it was told, up to the drift that is asked for.

    Then it is left alone: finding the words and sentences of a reason anew costs more than all the rest.
    """
    if row.status not in suggestions.OPEN:
        return True
    told = standing.told_of(row)
    changed = asked.changed.cities.union(asked.changed.listings)
    if any(
        city["city_id"] in changed or city["name"] != corpus.city(city["city_id"]).name for city in row.cities
    ):
        return False
    if (
        row.engine_version != ENGINE_VERSION
        or row.band != (pair.band or Band.WEAK)
        or len(told) != len(pair.matches)
    ):
        return False
    for match in pair.matches:
        need, practice = str(match.need), str(match.practice)
        score, band = told.get((need, practice), (-1.0, None))
        if band != (match.band or Band.WEAK) or changed & {need, practice}:
            return False
        if abs(score - public_score(match.score)) > asked.drift:
            return False
    return abs(row.told_score - pair.score) < NEWS and abs(row.score - pair.score) <= asked.drift


def _explain(keeper: Keeper, session: Session, pairs: Sequence[tuple[Pair, Band]]) -> dict[Named, Proposal]:
    """Explain each pair once, however many lists it is on."""
    once = {(pair.kind, pair_key(pair)): (pair, least) for pair, least in pairs}
    return dict(zip(once, proposals(keeper, session, list(once.values())), strict=True))


def _kept_at(session: Session) -> int:
    return session.exec(select(Log.value).where(Log.name == KEEPING)).one()


def _resting_on(session: Session, changed: Changed) -> list[Suggestion]:
    """Give the open suggestions that rest on what has changed."""
    rows = {row.id: row for row in standing.resting_on(session, changed.listings)}
    rows |= {row.id: row for row in standing.with_cities(session, changed.cities)}
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


def keep(session: Session, found: Found) -> Told:
    """Write the difference between what stands and what should; raises `Overtaken`."""
    if take_turn(session) != found.kept_at + 1:
        raise Overtaken
    keep_counts(session, found.counted)
    observations.mark_unmet(session, found.unmet, unmet=True)
    observations.mark_unmet(session, found.met, unmet=False)
    observations.suggest_themes(session, found.themes)
    writer = Writer(session)
    kinds = {kind for kind, _ in found.lists}
    before = {
        kind: standing.listed_by(session, kind, [city for its, city in found.lists if its is kind])
        for kind in kinds
    }
    live = _live(session, found)
    for key, wanted in found.written.items():
        live[key] = writer.put(wanted, live.get(key))
    session.flush()
    # The parts are held until the end, so that asking for one of them is no question to the database.
    rows = {row.id for by_city in before.values() for some in by_city.values() for row in some}
    parts = standing.parts_of(session, rows | {row.id for row in live.values()})
    # All lists take up what is theirs before anything falls: what one drops another may take in.
    for (kind, city), keys in found.lists.items():
        listed = {row.id for row in before[kind].get(city, ())}
        writer.list_on(city, [live[kind, key] for key in keys], listed)
    for (kind, city), keys in found.lists.items():
        writer.drop_from(city, [row for row in before[kind].get(city, ()) if row.pair_key not in keys])
    for suggestion_id, proposal in found.others.items():
        writer.keep_other(suggestion_id, proposal)
    del parts
    return writer.told


def _live(session: Session, found: Found) -> dict[Named, Suggestion]:
    """Read what stands of the pairs on the lists; raises `Overtaken` when one has gone since the look."""
    wanted = {(kind, key) for (kind, _), keys in found.lists.items() for key in keys}
    live = {
        (kind, key): row
        for kind in {kind for kind, _ in wanted}
        for key, row in standing.live_pairs(
            session, kind, [key for its, key in wanted if its is kind]
        ).items()
    }
    if wanted - live.keys() - found.written.keys():
        raise Overtaken
    return live
