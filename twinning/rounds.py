# SPDX-License-Identifier: Apache-2.0
"""Matching rounds: a request to match the whole catalogue, or a part of it, at once.

A round is cut into blocks of learners, each a unit of work; the last block to end asks for the assembly.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field as ShapeField
from pydantic import Strict, ValidationInfo, field_validator
from sqlalchemy import BigInteger, LargeBinary, and_, func, or_, update
from sqlmodel import Field, Session, SQLModel, col, select

from twinning import work
from twinning.database import HELD, new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.errors import Conflict, NotFound
from twinning.fields import Countries, Flag, Ids, Shape, Themes
from twinning.keys import Caller
from twinning.pages import page
from twinning.suggestions import GONE, Suggestion, naming
from twinning.terms import Assignment, Band, RoundState, SuggestionKind, Work

ENDED = (RoundState.COMPLETED, RoundState.FAILED, RoundState.CANCELLED)


class MatchingRound(SQLModel, table=True):
    """A round: what was asked, how far it is, what came of it."""

    __tablename__ = "matching_round"

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    asked_by: str = Field(sa_type=Id)
    parameters: dict[str, Any] = Field(sa_type=Json)
    state: str = Field(default=RoundState.QUEUED, max_length=20, index=True)
    catalogue_version: int | None = Field(default=None, sa_type=BigInteger)
    engine_version: str | None = None
    summary: dict[str, Any] | None = Field(default=None, sa_type=Json)
    error: str | None = None
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


class RoundBlock(SQLModel, table=True):
    """A part of a round: some learners, and what was found for them."""

    __tablename__ = "round_block"

    round_id: str = Field(primary_key=True, foreign_key="matching_round.id", sa_type=Id)
    number: int = Field(primary_key=True)
    learners: list[str] = Field(sa_type=Json)
    catalogue_version: int | None = Field(default=None, sa_type=BigInteger)
    found: bytes | None = Field(default=None, sa_type=LargeBinary)


class RoundSuggestion(SQLModel, table=True):
    """A suggestion that a round proposes, and its place."""

    __tablename__ = "round_suggestion"

    round_id: str = Field(primary_key=True, foreign_key="matching_round.id", sa_type=Id)
    place: int = Field(primary_key=True)
    suggestion_id: str = Field(foreign_key="suggestion.id", sa_type=Id, index=True)


class RoundRequest(Shape):
    """A round to be run; empty lists mean all."""

    kind: SuggestionKind
    per_city: Annotated[int, Strict(), ShapeField(ge=1, le=50)] = 3
    min_band: Band = Band.POSSIBLE
    themes: Themes = []
    countries: Countries = []
    city_ids: Ids = []
    assignment: Assignment = Assignment.TOP
    cross_region: Flag = True
    callback_url: str | None = ShapeField(default=None, max_length=2100)

    @field_validator("cross_region")
    @classmethod
    def _fits(cls, cross_region: bool, info: ValidationInfo) -> bool:
        """Refuse what has no meaning: balanced twinnings within a region have no two sides to balance."""
        asked = info.data.get("kind"), info.data.get("assignment")
        if not cross_region and asked == (SuggestionKind.TWINNING, Assignment.BALANCED):
            raise ValueError("twinning, balanced and cross_region false do not go together")
        return cross_region


class Progress(Shape):
    """How many learners' lists are done."""

    done: int
    total: int


class RoundSummary(Shape):
    """What came of a round: `score_loss` is the share of the `top` lists' total score that balance costs.

    `optimality_gap` is how far a balanced choice can be from the best one, as a share: 0 when none is better.
    """

    cities: int
    cities_without_suggestion: int
    exposure_gini: float
    unmet_needs: int
    # Rounds of before these were counted have none.
    total_score: float | None = None
    score_loss: float | None = None
    optimality_gap: float | None = None


class RoundPublic(Shape):
    """A round as it is read and as its events carry it."""

    id: str
    kind: SuggestionKind
    per_city: int
    min_band: Band
    themes: list[str]
    countries: list[str]
    city_ids: list[str]
    assignment: Assignment
    cross_region: bool
    callback_url: str | None
    state: RoundState
    progress: Progress
    catalogue_version: int | None
    engine_version: str | None
    summary: RoundSummary | None
    error: str | None
    created_at: datetime
    updated_at: datetime


class RoundAsked(RoundPublic):
    """A new round; the secret that signs its callback is shown this once."""

    callback_secret: str | None = None


def ask(session: Session, wanted: RoundRequest, asked_by: str) -> MatchingRound:
    """Ask for a round; its first unit of work cuts it into blocks."""
    row = MatchingRound(asked_by=asked_by, parameters=wanted.model_dump(mode="json"))
    session.add(row)
    work.enqueue(session, Work.ROUND_ASSEMBLY, row.id)
    return row


def listed(
    session: Session,
    asked_by: str | None,
    most: int,
    after: str | None = None,
    *,
    state: RoundState | None = None,
) -> Sequence[MatchingRound]:
    """Give the rounds that a key asked for (None: all), in the order of their ids."""
    equal = {MatchingRound.asked_by: asked_by, MatchingRound.state: state}
    return page(session, select(MatchingRound), col(MatchingRound.id), most, after, equal)


def get(session: Session, round_id: str, *, hold: bool = False) -> MatchingRound:
    """Find a round, held until the commit when it is to be changed; raises `NotFound`."""
    row = session.get(MatchingRound, round_id, with_for_update=hold and HELD)
    if row is None:
        raise NotFound("There is no such matching round.")
    return row


def request_of(row: MatchingRound) -> RoundRequest:
    """Read what was asked for."""
    return RoundRequest.model_validate(row.parameters)


def set_state(session: Session, row: MatchingRound, state: RoundState) -> None:
    """Move a round on."""
    row.state = state
    row.version += 1
    row.updated_at = now()
    session.add(row)


def cancel(session: Session, row: MatchingRound) -> None:
    """Stop a round; raises `Conflict` when it has ended already."""
    if row.state in ENDED:
        raise Conflict(f"This round is {row.state} and cannot be cancelled.", code="round-ended")
    set_state(session, row, RoundState.CANCELLED)
    blocks = session.exec(select(RoundBlock.number).where(RoundBlock.round_id == row.id)).all()
    work.strike(session, Work.ROUND_BLOCK, [block_subject(row.id, number) for number in blocks])
    work.strike(session, Work.ROUND_ASSEMBLY, [row.id])


def block_subject(round_id: str, number: int) -> str:
    """Name a block as a unit of work does."""
    return f"{round_id}/{number}"


def cut(session: Session, row: MatchingRound, blocks: Sequence[Sequence[str]]) -> None:
    """Lay a round out in blocks of learners, each a unit of work."""
    for number, learners in enumerate(blocks):
        session.add(RoundBlock(round_id=row.id, number=number, learners=list(learners)))
        work.enqueue(session, Work.ROUND_BLOCK, block_subject(row.id, number))
    set_state(session, row, RoundState.RUNNING)
    if not blocks:
        work.enqueue(session, Work.ROUND_ASSEMBLY, row.id)


def blocks_of(session: Session, round_id: str) -> Sequence[RoundBlock]:
    """Give a round's blocks in order."""
    return session.exec(
        select(RoundBlock).where(RoundBlock.round_id == round_id).order_by(col(RoundBlock.number))
    ).all()


def learners_of(session: Session, round_id: str, number: int) -> list[str]:
    """Give the learners of one block."""
    query = select(RoundBlock.learners).where(RoundBlock.round_id == round_id, RoundBlock.number == number)
    return list(session.exec(query).one())


def end_block(session: Session, round_id: str, number: int, found: bytes, catalogue_version: int) -> None:
    """Keep what a block found; the last one to end asks for the assembly.

    The caller holds the round, which makes one of two blocks that end together the last.
    """
    session.execute(
        update(RoundBlock)
        .where(col(RoundBlock.round_id) == round_id, col(RoundBlock.number) == number)
        .values(found=found, catalogue_version=catalogue_version)
    )
    open_blocks = select(func.count()).where(
        col(RoundBlock.round_id) == round_id, col(RoundBlock.found).is_(None)
    )
    if session.exec(open_blocks).one() == 0:
        work.enqueue(session, Work.ROUND_ASSEMBLY, round_id)


def propose(session: Session, round_id: str, suggestions: Sequence[Suggestion]) -> None:
    """Keep a round's suggestions in order."""
    session.add_all(
        RoundSuggestion(round_id=round_id, place=place, suggestion_id=row.id)
        for place, row in enumerate(suggestions)
    )


def in_a_round(session: Session, suggestion_id: str) -> bool:
    """Say whether any round proposes a suggestion."""
    query = select(RoundSuggestion.round_id).where(RoundSuggestion.suggestion_id == suggestion_id)
    return session.exec(query.limit(1)).first() is not None


def proposed_ids(round_id: str) -> Any:
    """Ask for the ids of what a round proposes, as a part of another question."""
    return select(RoundSuggestion.suggestion_id).where(RoundSuggestion.round_id == round_id)


def proposed(
    session: Session,
    round_id: str,
    most: int,
    after: tuple[float, int] | None = None,
    reader: Caller | None = None,
    *,
    standing: bool = False,
) -> Sequence[tuple[int, Suggestion]]:
    """Give a part of what a round proposes with the places it gave, to a reader just theirs.

    The best come first, as they are now: a suggestion is scored again while it stands. Among equal ones the
    places decide; `standing` leaves out what has fallen since.
    """
    query = (
        select(RoundSuggestion.place, Suggestion)
        .join(Suggestion, col(RoundSuggestion.suggestion_id) == Suggestion.id)
        .where(RoundSuggestion.round_id == round_id)
    )
    score, place = col(Suggestion.score), col(RoundSuggestion.place)
    if after is not None:
        query = query.where(or_(score < after[0], and_(score == after[0], place > after[1])))
    if reader is not None:
        query = query.where(naming(reader.city_id, reader.countries))
    if standing:
        query = query.where(col(Suggestion.status).not_in(GONE))
    return session.exec(query.order_by(score.desc(), place).limit(most)).all()


def progress(session: Session, round_id: str) -> Progress:
    """Count a round's learners, and those whose list is done."""
    blocks = session.exec(
        select(RoundBlock.learners, col(RoundBlock.found).is_not(None)).where(RoundBlock.round_id == round_id)
    ).all()
    return Progress(
        done=sum(len(learners) for learners, done in blocks if done),
        total=sum(len(learners) for learners, _ in blocks),
    )


def public(session: Session, row: MatchingRound) -> RoundPublic:
    """Show a round."""
    return RoundPublic(
        **row.parameters,
        **row.model_dump(include=set(RoundPublic.model_fields) - set(row.parameters) - {"progress"}),
        progress=progress(session, row.id),
    )
