# SPDX-License-Identifier: Apache-2.0
"""Announcing: suggestions are written, changed and taken back, each with the event of what is news."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, update

from twinning import outbox, rounds, standing, suggestions
from twinning.database import KEEPING, Log
from twinning.events import SuggestionCreated, SuggestionUpdated, SuggestionWithdrawn
from twinning.proposals import Proposal
from twinning.suggestions import Suggestion
from twinning.terms import SuggestionStatus


@dataclass(frozen=True)
class Told:
    """How many suggestions appeared, changed and fell."""

    created: int
    updated: int
    withdrawn: int


def take_turn(session: Session) -> int:
    """Be the only one who keeps suggestions until the commit; gives the number of the turn."""
    statement = update(Log).where(col(Log.name) == KEEPING).values(value=Log.value + 1)
    return int(session.execute(statement.returning(col(Log.value))).scalar_one())


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

    def put(self, proposal: Proposal, live: Suggestion | None, round_id: str | None = None) -> Suggestion:
        """Make a suggestion of a proposal, or bring the one that stands to it."""
        if live is None:
            row = suggestions.create(self._session, proposal, round_id)
            self.created.add(row.id)
            outbox.record(self._session, SuggestionCreated(data=suggestions.public(row)))
            return row
        if live.status not in suggestions.OPEN:
            # What has been introduced, held or declined is history and is not written anew.
            return live
        if suggestions.revise(self._session, live, proposal) and live.id not in self.updated:
            self.updated.add(live.id)
            outbox.record(self._session, SuggestionUpdated(data=suggestions.public(live)))
        return live

    def list_on(self, city: str, rows: Sequence[Suggestion], listed: Collection[str]) -> None:
        """Put suggestions on a city's list of best partners, which holds some of them already."""
        for row in rows:
            if row.id not in listed:
                standing.set_listed(self._session, row, city, listed=True)

    def drop_from(self, city: str, rows: Sequence[Suggestion]) -> None:
        """Take these off a city's list; what falls off every list is withdrawn."""
        for row in rows:
            standing.set_listed(self._session, row, city, listed=False)
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
        if row.status != SuggestionStatus.PROPOSED or standing.is_standing(self._session, row):
            return
        if not rounds.in_a_round(self._session, row.id):
            self._withdraw(row)

    def _withdraw(self, row: Suggestion) -> None:
        suggestions.withdraw(self._session, row)
        self.withdrawn.add(row.id)
        outbox.record(self._session, SuggestionWithdrawn(data=suggestions.public(row)))
