# SPDX-License-Identifier: Apache-2.0
"""When all is done after a fault: matched, delivered, and as a round over the same catalogue has it."""

from collections import Counter

import pytest
from sqlmodel import col, func, select

from services.matcher.engine.pairing import propose
from services.matcher.keeping import Keeper
from services.matcher.matching import ALL
from services.matcher.proposing import pair_key
from tests.faults.house import House
from tests.faults.parts import eventually
from tests.standing import all_listed
from twinning import work
from twinning.database import now
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.settings import Settings
from twinning.terms import SuggestionKind, Work
from twinning.turns import IS_PENDING
from twinning.work import WorkUnit

# What stands in the queue for its hour, whatever happens.
PLANNED = (Work.REFRESH, Work.TIDY, Work.DEADLINES)


def work_left(house: House) -> int:
    """Count the units of work not done, those set aside too; what is planned for later is left out."""
    to_come = col(WorkUnit.leased_by).is_(None) & (col(WorkUnit.due_at) > now())
    planned = col(WorkUnit.kind).in_(PLANNED) & to_come
    with house.database.snapshot() as session:
        return session.exec(select(func.count()).select_from(WorkUnit).where(~planned)).one()


def undelivered(house: House) -> int:
    """Count the deliveries that are still on their way."""
    with house.database.snapshot() as session:
        return session.exec(select(func.count()).select_from(Delivery).where(IS_PENDING)).one()


def wait_until_done(house: House, timeout_s: float = 40.0) -> None:
    """Wait until all is matched and all is delivered."""
    wait_until_matched(house, timeout_s)
    wait_until_delivered(house, timeout_s)
    # What was matched last may have told of something.
    eventually(lambda: not work_left(house) and not undelivered(house), "all is done", timeout_s)


def wait_until_matched(house: House, timeout_s: float = 40.0) -> None:
    """Wait until no work is left for a matcher; says what is, when it takes too long."""
    try:
        eventually(lambda: not work_left(house), "all is matched", timeout_s)
    except AssertionError as error:
        with house.database.snapshot() as session:
            left = Counter(
                f"{unit.kind}, {unit.tries} tries, due {unit.due_at}, by {unit.leased_by}, {unit.error}"
                for unit in session.exec(select(WorkUnit))
            )
        raise AssertionError(f"{error}, but {left.most_common(10)}") from None


def wait_until_delivered(house: House, timeout_s: float = 40.0) -> None:
    """Wait until nothing is on its way, where no matcher is at work; says what is, when it takes too long."""
    try:
        eventually(lambda: not undelivered(house), "all is delivered", timeout_s)
    except AssertionError as error:
        raise AssertionError(f"{error}, but {_on_their_way(house)}") from None


def _on_their_way(house: House) -> Counter[str]:
    """Count what is on its way, by its endpoint, attempts and holder."""
    query = select(Delivery, WebhookEndpoint.url).join(
        WebhookEndpoint, col(WebhookEndpoint.id) == col(Delivery.endpoint_id)
    )
    with house.database.snapshot() as session:
        return Counter(
            f"to {url} after {row.tries} attempts, {'held by a sender' if row.leased_by else 'waiting'}"
            for row, url in session.exec(query.where(IS_PENDING))
        )


def refresh(house: House) -> None:
    """Have everything that stands scored again, and wait for it and its events."""
    with house.database.transaction() as session:
        work.enqueue(session, Work.REFRESH, ALL)
    wait_until_done(house)


def assert_as_from_nothing(house: House) -> int:
    """Hold what stands, after a refresh, against a round over the same catalogue; gives how many stand."""
    defaults = Settings()
    keeper = Keeper()
    with house.database.snapshot() as session:
        keeper.cut(session)
        stands = {(row.kind, row.pair_key): row.score for row in all_listed(session)}
    expected = {
        (pair.kind, pair_key(pair)): pair.score
        for kind in (SuggestionKind.STUDY_VISIT, SuggestionKind.TWINNING)
        for pair in propose(keeper.corpus, kind, keeper.corpus.cities, defaults.per_city, defaults.min_band)
    }
    assert stands == pytest.approx(expected, abs=1e-9)
    return len(stands)
