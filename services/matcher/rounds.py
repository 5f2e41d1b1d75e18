# SPDX-License-Identifier: Apache-2.0
"""Running matching rounds: cut into blocks of learners, match each, put the blocks together.

Any number of workers take the blocks; a killed one's block is taken again. The assembly links to what
stands, adds what does not, and withdraws nothing.
"""

import json
import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from services.matcher.announcing import Writer, take_turn
from services.matcher.engine.pairing import propose
from services.matcher.engine.store import NEED, PRACTICE
from services.matcher.keeping import ENGINE_VERSION, Keeper, rows_of
from services.matcher.proposing import proposals
from twinning import catalogue, listings, outbox, rounds, standing, suggestions, work
from twinning.catalogue import Subject
from twinning.cities import City
from twinning.events import MatchingRoundCompleted, MatchingRoundFailed, RoundResult
from twinning.listings import Listing
from twinning.proposals import Direction, Proposal, Reason, SuggestedCity
from twinning.rounds import MatchingRound, RoundRequest, RoundSummary
from twinning.terms import Band, CityState, ListingState, RoundState, SuggestionKind, Work

# So many needs make a block: a few seconds of work, well inside a lease.
NEEDS_IN_A_BLOCK = 200
BEST_TOLD = 10


@dataclass(frozen=True)
class Scope:
    """Whose lists a round makes, by which of their needs; `only` narrows the needs of partners, too."""

    learners: list[str]
    needs: frozenset[str]
    only: frozenset[str] | None


@dataclass(frozen=True)
class BlockFound:
    """What one block found: proposals, and the needs in scope that nothing answers."""

    proposals: list[Proposal]
    unmet: list[str]

    def pack(self) -> bytes:
        """Write it as it is kept until the assembly."""
        told = {"proposals": [_spread(proposal) for proposal in self.proposals], "unmet": self.unmet}
        return zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> "BlockFound":
        """Read it back."""
        told = json.loads(zlib.decompress(packed))
        return cls([_gather(fields) for fields in told["proposals"]], told["unmet"])


def _spread(proposal: Proposal) -> dict[str, object]:
    return {"kind": proposal.kind, **proposal.columns()}


def _gather(fields: dict[str, object]) -> Proposal:
    """Make a proposal of its columns."""
    told = dict(fields)
    told.pop("themes")
    return Proposal(
        kind=SuggestionKind(str(told.pop("kind"))),
        band=Band(str(told.pop("band"))),
        min_band=Band(str(told.pop("min_band"))),
        cities=tuple(SuggestedCity.model_validate(city) for city in _items(told.pop("cities"))),
        directions=tuple(Direction.model_validate(one) for one in _items(told.pop("directions"))),
        reasons=tuple(Reason.model_validate(reason) for reason in _items(told.pop("reasons"))),
        **told,  # type: ignore[arg-type]
    )


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, not {type(value).__name__}")
    return value


def scope_of(keeper: Keeper, session: Session, wanted: RoundRequest) -> Scope:
    """Find whose lists a round makes: cities in scope with a published need in scope."""
    corpus = keeper.corpus
    cities = [str(city) for city in corpus.cities]
    if wanted.city_ids:
        chosen = frozenset(wanted.city_ids)
        cities = [city for city in cities if city in chosen]
    if wanted.countries:
        rows = rows_of(session, City, cities)
        cities = sorted(row.id for row in rows if row.country in wanted.countries)
    only = listings.needs_about(session, wanted.themes) if wanted.themes else None
    needs = {str(need) for city in cities for need in corpus.listings(city, NEED)}
    needs = needs if only is None else needs & only
    learners = sorted({str(corpus.city_of(need)) for need in needs})
    return Scope(learners, frozenset(needs), only)


def cut(keeper: Keeper, session: Session, row: MatchingRound) -> list[list[str]]:
    """Cut a round into blocks of learners, each with so many needs at the most."""
    keeper.cut(session)
    blocks: list[list[str]] = []
    room = 0
    for learner in scope_of(keeper, session, rounds.request_of(row)).learners:
        size = len(keeper.corpus.listings(learner, NEED))
        if size > room:
            blocks.append([])
            room = NEEDS_IN_A_BLOCK
        blocks[-1].append(learner)
        room -= size
    return blocks


def match_block(
    keeper: Keeper, session: Session, wanted: RoundRequest, learners: Sequence[str]
) -> BlockFound:
    """Make the lists of a block's learners, with their reasons."""
    keeper.cut(session)
    here = [learner for learner in learners if keeper.corpus.knows(learner)]
    scope = scope_of(keeper, session, wanted.model_copy(update={"city_ids": here or [""]}))
    pairs = propose(
        keeper.corpus,
        wanted.kind,
        scope.learners,
        wanted.per_city,
        wanted.min_band,
        wanted.cross_region,
        scope.only,
    )
    unmet = [
        need
        for need in sorted(scope.needs)
        if not keeper.corpus.matches(need, wanted.min_band, wanted.cross_region, None)
    ]
    explained = proposals(keeper, session, [(pair, wanted.min_band) for pair in pairs])
    return BlockFound(explained, unmet)


def assemble(
    keeper: Keeper,
    session: Session,
    row: MatchingRound,
    packed: Sequence[bytes],
    versions: Sequence[int],
    url: str,
) -> None:
    """Put the blocks together, link what stands, keep what does not yet, and tell who asked."""
    wanted = rounds.request_of(row)
    blocks = [BlockFound.unpack(each) for each in packed]
    _match_again(session, min(versions, default=keeper.version))
    take_turn(session)
    best = {proposal.pair_key: proposal for block in blocks for proposal in block.proposals}
    ordered = sorted(
        _still_there(session, best.values()),
        key=lambda proposal: (-proposal.score, [city.city_id for city in proposal.cities]),
    )
    writer = Writer(session)
    live = standing.live_pairs(session, wanted.kind, [proposal.pair_key for proposal in ordered])
    kept = [live.get(each.pair_key) or writer.put(each, None, row.id) for each in ordered]
    # What stands may have another score than this round found, and every list is in the order of its scores.
    kept.sort(key=lambda each: (-each.score, each.pair_key))
    rounds.propose(session, row.id, kept)
    scope = scope_of(keeper, session, wanted)
    row.catalogue_version = max(versions, default=keeper.version)
    row.engine_version = ENGINE_VERSION
    row.summary = _summary(keeper, scope, ordered, [need for block in blocks for need in block.unmet])
    rounds.set_state(session, row, RoundState.COMPLETED)
    session.flush()
    result = RoundResult(
        **rounds.public(session, row).model_dump(),
        suggestions=[suggestions.public(each) for each in kept[:BEST_TOLD]],
        suggestions_url=f"{url}/v1/matching-rounds/{row.id}/suggestions",
    )
    outbox.record(session, MatchingRoundCompleted(data=result, asked_by=row.asked_by))


def fail(session: Session, row: MatchingRound, error: str) -> None:
    """End a round that cannot be done, and tell who asked."""
    row.error = error
    rounds.set_state(session, row, RoundState.FAILED)
    session.flush()
    outbox.record(session, MatchingRoundFailed(data=rounds.public(session, row), asked_by=row.asked_by))


def _match_again(session: Session, version: int) -> None:
    """Ask for the matching of all that has changed since the blocks were made, as if it had changed now.

    It was matched when the round's suggestions were not there yet, so that none of them could fall.
    """
    for change in catalogue.changes_since(session, version):
        kind = Work.MATCH_CITY if change.subject == Subject.CITY else Work.MATCH_LISTING
        work.enqueue(session, kind, change.subject_id)


def _still_there(session: Session, found: Collection[Proposal]) -> list[Proposal]:
    """Leave out what rests on cities or listings that have gone since."""
    cities = {city.city_id for proposal in found for city in proposal.cities}
    texts = {id_ for proposal in found for why in proposal.reasons for id_ in (why.need_id, why.practice_id)}
    there = {row.id for row in rows_of(session, City, cities) if row.state == CityState.REGISTERED}
    there |= {row.id for row in rows_of(session, Listing, texts) if row.state == ListingState.PUBLISHED}
    return [proposal for proposal in found if _rests_on(proposal) <= there]


def _rests_on(proposal: Proposal) -> set[str]:
    """Name all that a proposal rests on."""
    ids = {city.city_id for city in proposal.cities}
    return ids.union(*((why.need_id, why.practice_id) for why in proposal.reasons))


def _summary(
    keeper: Keeper, scope: Scope, found: Sequence[Proposal], unmet: Sequence[str]
) -> dict[str, object]:
    """Count what came of a round; a city is without when it learns in no suggestion."""
    learners = {one.learner_city_id for proposal in found for one in proposal.directions}
    shown = Counter(city.city_id for proposal in found for city in proposal.cities)
    corpus = keeper.corpus
    offering = [str(city) for city in corpus.cities if corpus.listings(city, PRACTICE)]
    return RoundSummary(
        cities=len(scope.learners),
        cities_without_suggestion=len(set(scope.learners) - learners),
        exposure_gini=gini([shown[city] for city in offering]),
        unmet_needs=len(unmet),
    ).model_dump()


def gini(counts: Sequence[int]) -> float:
    """Measure how unevenly something is shared out: 0 when all have the same, towards 1 when one has all.

    The mean absolute difference of all pairs over twice the mean (Gini, 1912), by the sorted form.
    """
    total = sum(counts)
    if not total:
        return 0.0
    weighted = sum(place * count for place, count in enumerate(sorted(counts), 1))
    return 2 * weighted / (len(counts) * total) - (len(counts) + 1) / len(counts)
