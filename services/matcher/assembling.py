# SPDX-License-Identifier: Apache-2.0
"""Putting a round together: what its blocks found becomes what it proposes.

`gather` reads one state of the database, chooses and explains, and may take its time. `assemble` writes in
one transaction: it links to what stands, adds what does not, and withdraws nothing.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import fsum

from sqlmodel import Session

from services.matcher.announcing import Writer, take_turn
from services.matcher.engine.assignment import gain_lost
from services.matcher.engine.balance import Cities, share, share_seminars
from services.matcher.engine.gathering import Answer, Answers, gatherings
from services.matcher.engine.pairing import Pair, pairs_among, propose
from services.matcher.engine.seminars import listed, seminars_of
from services.matcher.engine.store import PRACTICE
from services.matcher.keeping import ENGINE_VERSION, Keeper, rows_of
from services.matcher.proposing import proposals
from services.matcher.rounds import BlockFound, Scope, scope_of
from twinning import catalogue, outbox, rounds, standing, suggestions, work
from twinning.catalogue import Subject
from twinning.cities import City
from twinning.events import MatchingRoundCompleted, RoundResult
from twinning.listings import Listing
from twinning.proposals import Proposal
from twinning.rounds import MatchingRound, RoundBlock, RoundRequest, RoundSummary
from twinning.terms import Assignment, CityState, ListingState, RoundState, SuggestionKind, Work

BEST_TOLD = 10


@dataclass(frozen=True)
class Gathered:
    """What a round proposes, best first, and what its summary counts."""

    proposals: list[Proposal]
    scope: Scope
    unmet: int
    offering: list[str]
    # The total score of everybody's best lists, of which sharing out costs a part.
    unconstrained: float
    # How far what was shared out can be from the best choice; None where nothing was.
    gap: float | None
    # The first state of the catalogue that a block saw, and the one that the round tells.
    since: int
    version: int


@dataclass(frozen=True)
class _Chosen:
    """Proposals, the unconstrained total, the version of the catalogue that they belong to, and the gap."""

    proposals: list[Proposal]
    unconstrained: float
    version: int
    gap: float | None = None


def gather(keeper: Keeper, session: Session, wanted: RoundRequest, blocks: Sequence[RoundBlock]) -> Gathered:
    """Choose among what the blocks found, and explain what has not been explained."""
    keeper.cut(session)
    found = [BlockFound.unpack(block.found) for block in blocks if block.found is not None]
    versions = [block.catalogue_version for block in blocks if block.catalogue_version is not None]
    scope = scope_of(keeper, session, wanted)
    if wanted.kind is SuggestionKind.SEMINAR:
        chosen = _seminars(keeper, session, wanted, scope, found)
    elif wanted.assignment is Assignment.BALANCED:
        chosen = _balanced(keeper, session, wanted, scope, found)
    else:
        chosen = _top(found, max(versions, default=keeper.version))
    corpus = keeper.corpus
    return Gathered(
        proposals=sorted(
            chosen.proposals,
            key=lambda proposal: (-proposal.score, [city.city_id for city in proposal.cities]),
        ),
        scope=scope,
        unmet=len(scope.needs & {need for block in found for need in block.unmet}),
        offering=[str(city) for city in corpus.cities if corpus.listings(city, PRACTICE)],
        unconstrained=chosen.unconstrained,
        gap=chosen.gap,
        since=min(versions, default=keeper.version),
        version=chosen.version,
    )


def _top(found: Sequence[BlockFound], version: int) -> _Chosen:
    """Lay the lists together, each set of cities once."""
    once = {proposal.pair_key: proposal for block in found for proposal in block.proposals}
    return _Chosen(list(once.values()), fsum(proposal.score for proposal in once.values()), version)


def _balanced(
    keeper: Keeper, session: Session, wanted: RoundRequest, scope: Scope, found: Sequence[BlockFound]
) -> _Chosen:
    """Hand out pairs among all candidates, and find what was chosen again with its grounds."""
    candidates: dict[Cities, float] = {
        tuple(cities): score for block in found for cities, score in block.candidates
    }
    shared = share(keeper.corpus, wanted.kind, candidates, scope.learners, wanted.per_city)
    learners = {str(city) for cities in shared.chosen for city in cities}.intersection(scope.learners)
    pairs = propose(
        keeper.corpus, wanted.kind, learners, None, wanted.min_band, wanted.cross_region, scope.only
    )
    chosen = pairs_among(pairs, shared.chosen)
    return _explained(keeper, session, wanted, chosen, shared.unconstrained, 0.0)


def _seminars(
    keeper: Keeper, session: Session, wanted: RoundRequest, scope: Scope, found: Sequence[BlockFound]
) -> _Chosen:
    """Cluster the needs of all blocks, and list or share out the seminars that come of them."""
    answered: Answers = {
        need: {city: Answer(score, strong=strong) for city, (score, strong) in by_city.items()}
        for block in found
        for need, by_city in block.answers.items()
    }
    made = gatherings(keeper.corpus, answered)
    chosen, gap = listed(made, scope.learners, wanted.per_city), None
    unconstrained = fsum(one.score for one in chosen)
    if wanted.assignment is Assignment.BALANCED:
        seating = share_seminars(keeper.corpus, answered, made, scope.learners, wanted.per_city)
        chosen, gap = seating.chosen, seating.gap
    pairs = seminars_of(keeper.corpus, chosen, wanted.min_band, wanted.cross_region)
    return _explained(keeper, session, wanted, pairs, unconstrained, gap)


def _explained(
    keeper: Keeper,
    session: Session,
    wanted: RoundRequest,
    pairs: Sequence[Pair],
    unconstrained: float,
    gap: float | None,
) -> _Chosen:
    told = proposals(keeper, session, [(pair, wanted.min_band) for pair in pairs])
    return _Chosen(told, unconstrained, keeper.version, gap)


def assemble(session: Session, row: MatchingRound, gathered: Gathered, url: str) -> None:
    """Link to what stands, keep what does not yet, and tell who asked."""
    wanted = rounds.request_of(row)
    _match_again(session, gathered.since)
    work.write(session)
    take_turn(session)
    ordered = _still_there(session, gathered.proposals)
    writer = Writer(session)
    live = standing.live_pairs(session, wanted.kind, [each.pair_key for each in ordered])
    kept = [live.get(each.pair_key) or writer.put(each, None, row.id) for each in ordered]
    # What stands may have another score than this round found, and every list is in the order of its scores.
    kept.sort(key=lambda each: (-each.score, each.pair_key))
    rounds.propose(session, row.id, kept)
    row.catalogue_version = gathered.version
    row.engine_version = ENGINE_VERSION
    row.summary = _summary(gathered, ordered).model_dump()
    rounds.set_state(session, row, RoundState.COMPLETED)
    session.flush()
    result = RoundResult(
        **rounds.public(session, row).model_dump(),
        suggestions=[suggestions.public(each) for each in kept[:BEST_TOLD]],
        suggestions_url=f"{url}/v1/matching-rounds/{row.id}/suggestions",
    )
    outbox.record(session, MatchingRoundCompleted(data=result, asked_by=row.asked_by))


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


def _summary(gathered: Gathered, found: Sequence[Proposal]) -> RoundSummary:
    """Count what came of a round; a city is without when it learns in no suggestion."""
    learning = {one.learner_city_id for proposal in found for one in proposal.directions}
    shown = Counter(city.city_id for proposal in found for city in proposal.cities)
    total = fsum(proposal.score for proposal in found)
    return RoundSummary(
        cities=len(gathered.scope.learners),
        cities_without_suggestion=len(set(gathered.scope.learners) - learning),
        exposure_gini=gini([shown[city] for city in gathered.offering]),
        unmet_needs=gathered.unmet,
        total_score=total,
        score_loss=gain_lost(total, gathered.unconstrained),
        optimality_gap=gathered.gap,
    )


def gini(counts: Sequence[int]) -> float:
    """Measure how unevenly something is shared out: 0 when all have the same, towards 1 when one has all.

    The mean absolute difference of all pairs over twice the mean (Gini, 1912), by the sorted form.
    """
    total = sum(counts)
    if not total:
        return 0.0
    weighted = sum(place * count for place, count in enumerate(sorted(counts), 1))
    return 2 * weighted / (len(counts) * total) - (len(counts) + 1) / len(counts)
