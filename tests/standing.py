# SPDX-License-Identifier: Apache-2.0
"""Reads what the matching has written, whole, as no part of the product ever does."""

from collections.abc import Sequence

from sqlmodel import Session, col, select

from twinning.rounds import RoundSuggestion
from twinning.suggestions import Suggestion, SuggestionCity


def all_listed(session: Session) -> Sequence[Suggestion]:
    """Give every suggestion that some city's list holds."""
    listed = select(SuggestionCity.suggestion_id).where(col(SuggestionCity.listed).is_(True))
    return session.exec(
        select(Suggestion).where(col(Suggestion.id).in_(listed)).order_by(col(Suggestion.id))
    ).all()


def suggestions_of(session: Session, round_id: str) -> Sequence[Suggestion]:
    """Give what a round proposes, best first."""
    query = (
        select(Suggestion)
        .join(RoundSuggestion, col(RoundSuggestion.suggestion_id) == Suggestion.id)
        .where(RoundSuggestion.round_id == round_id)
        .order_by(col(RoundSuggestion.place))
    )
    return session.exec(query).all()
