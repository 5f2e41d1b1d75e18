# SPDX-License-Identifier: Apache-2.0
"""Running matching rounds: cut into blocks of learners, and match each.

Any number of workers take the blocks; a killed one's block is taken again. `assembling` puts them together.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlmodel import Session

from services.matcher.engine.gathering import answers
from services.matcher.engine.pairing import propose
from services.matcher.engine.store import NEED
from services.matcher.keeping import Keeper, rows_of
from services.matcher.proposing import proposals
from twinning import outbox, rounds
from twinning.cities import City
from twinning.events import MatchingRoundFailed
from twinning.listing_search import needs_about
from twinning.proposals import Direction, Proposal, Reason, SuggestedCity
from twinning.rounds import MatchingRound, RoundRequest
from twinning.terms import Assignment, Band, RoundState, SuggestionKind

# So many needs make a block: a few seconds of work, well inside a lease.
NEEDS_IN_A_BLOCK = 200


@dataclass(frozen=True)
class Scope:
    """Whose lists a round makes, by which of their needs; `only` narrows the needs of partners, too."""

    learners: list[str]
    needs: frozenset[str]
    only: frozenset[str] | None


@dataclass(frozen=True)
class BlockFound:
    """What one block found, and the needs that nothing answers.

    Lists that stand by themselves are found as `proposals`. Where blocks must meet before anything can be
    chosen they find its stuff: the scores of `candidates` by their cities, or for each need the `answers`
    by city as (score, strong).
    """

    proposals: list[Proposal] = field(default_factory=list)
    candidates: list[tuple[list[str], float]] = field(default_factory=list)
    answers: dict[str, dict[str, tuple[float, bool]]] = field(default_factory=dict)
    unmet: list[str] = field(default_factory=list)

    def pack(self) -> bytes:
        """Write it as it is kept until the assembly."""
        told = vars(self) | {"proposals": [_spread(proposal) for proposal in self.proposals]}
        return zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> "BlockFound":
        """Read it back."""
        told = json.loads(zlib.decompress(packed))
        return cls(**told | {"proposals": [_gather(fields) for fields in told["proposals"]]})


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
    """Find whose lists a round makes: cities in scope with a published need in scope that seeks its kind."""
    corpus = keeper.corpus
    cities = [str(city) for city in corpus.cities]
    if wanted.city_ids:
        chosen = frozenset(wanted.city_ids)
        cities = [city for city in cities if city in chosen]
    if wanted.countries:
        rows = rows_of(session, City, cities)
        cities = sorted(row.id for row in rows if row.country in wanted.countries)
    only = needs_about(session, wanted.themes) if wanted.themes else None
    needs = {str(need) for city in cities for need in corpus.listings(city, NEED)}
    needs = needs if only is None else needs & only
    needs = {need for need in needs if corpus.exchange(need).takes_part(wanted.kind)}
    learners = sorted({str(corpus.city_of(need)) for need in needs})
    return Scope(learners, frozenset(needs), only)


def cut(keeper: Keeper, session: Session, row: MatchingRound) -> list[list[str]]:
    """Cut a round into blocks of learners, each with so many needs at the most."""
    keeper.cut(session)
    blocks: list[list[str]] = []
    room = 0
    for learner in scope_of(keeper, session, _looked_at(rounds.request_of(row))).learners:
        size = len(keeper.corpus.listings(learner, NEED))
        if size > room:
            blocks.append([])
            room = NEEDS_IN_A_BLOCK
        blocks[-1].append(learner)
        room -= size
    return blocks


def _looked_at(wanted: RoundRequest) -> RoundRequest:
    """Whose needs a round must look at: a seminar's cluster holds the needs of cities out of scope, too."""
    if wanted.kind is not SuggestionKind.SEMINAR:
        return wanted
    return wanted.model_copy(update={"city_ids": [], "countries": []})


def match_block(
    keeper: Keeper, session: Session, wanted: RoundRequest, learners: Sequence[str]
) -> BlockFound:
    """Find what the needs of a block's learners bring."""
    keeper.cut(session)
    here = [learner for learner in learners if keeper.corpus.knows(learner)]
    narrowed = _looked_at(wanted).model_copy(update={"city_ids": here or [""]})
    scope = scope_of(keeper, session, narrowed)
    least, crossing = wanted.min_band, wanted.cross_region
    keeper.corpus.prepare(sorted(scope.needs), least, crossing, wanted.kind)
    unmet = [
        need
        for need in sorted(scope.needs)
        if not keeper.corpus.matches(need, least, crossing, None, wanted.kind)
    ]
    if wanted.kind is SuggestionKind.SEMINAR:
        return BlockFound(answers=_answers(keeper, scope, wanted), unmet=unmet)
    balanced = wanted.assignment is Assignment.BALANCED
    depth = None if balanced else wanted.per_city
    pairs = propose(keeper.corpus, wanted.kind, scope.learners, depth, least, crossing, scope.only)
    if balanced:
        candidates = [([str(city) for city in pair.cities], pair.score) for pair in pairs]
        return BlockFound(candidates=candidates, unmet=unmet)
    explained = proposals(keeper, session, [(pair, least) for pair in pairs])
    return BlockFound(proposals=explained, unmet=unmet)


def _answers(keeper: Keeper, scope: Scope, wanted: RoundRequest) -> dict[str, dict[str, tuple[float, bool]]]:
    """Lay out what answers a block's needs, by the city that would host."""
    found = answers(keeper.corpus, sorted(scope.needs), wanted.min_band, wanted.cross_region)
    return {
        str(need): {str(city): (answer.score, answer.strong) for city, answer in by_city.items()}
        for need, by_city in found.items()
    }


def fail(session: Session, row: MatchingRound, error: str) -> None:
    """End a round that cannot be done, and tell who asked."""
    row.error = error
    rounds.set_state(session, row, RoundState.FAILED)
    session.flush()
    outbox.record(session, MatchingRoundFailed(data=rounds.public(session, row), asked_by=row.asked_by))
