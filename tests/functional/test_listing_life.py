# SPDX-License-Identifier: Apache-2.0
"""The whole life of a listing at the front door, in every order: what stands, what is told, what is refused.

A machine that draws requests of a city and its coordinator, nights and years, beside a model of a page that
says what must come of each. Events match changes one to one, and nothing is told where nothing changed.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlmodel import col, select, update

from tests.factories import Door, door, need, practice
from twinning import deadlines
from twinning.database import now
from twinning.lifecycle import PATIENCE
from twinning.listings import Listing, marks_of
from twinning.repeats import ListingMark

YEAR = timedelta(days=365)
ROLES = st.sampled_from(["city", "coordinator"])
WORDS = st.sampled_from(["Reading circles", "Rain gardens", "Digital helpers"])
STATES = st.sampled_from(["draft", "submitted", "published", "returned", "paused"])
TAGS = st.sampled_from(["none", "present", "old"])


@dataclass(frozen=True)
class Life:
    """What must stand of the listing."""

    id: str
    words: str
    state: str
    version: int = 1
    approved: bool = True
    comment: str | None = None
    stale: bool = False
    until: date | None = None


class Machine(RuleBasedStateMachine):
    """One listing of one city, by its reference."""

    front: ClassVar[Door]
    kind: ClassVar[str]
    moderated: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.city = self.front.city()["id"]
        self.keys = {
            "city": self.front.of_city(self.city),
            "coordinator": self.front.coordinator("IE"),
        }
        self.life: Life | None = None
        self.told = ["city.registered"]

    # What is asked.

    @rule(words=WORDS, state=STATES, role=ROLES)
    def register(self, words: str, state: str, role: str) -> None:
        """Register the listing; a second of its reference is refused."""
        path = f"/v1/cities/{self.city}/{self.kind}s"
        answer = self._ask("POST", path, role, {**self._body(words, state), "external_ref": "own"})
        if self.life is not None:
            assert answer.status_code == 409
        elif self._waits(role) and state == "returned":
            assert answer.status_code == 403
        else:
            self._begun(answer, words, state, role)

    @rule(words=WORDS, state=STATES, role=ROLES, tag=TAGS)
    def put(self, words: str, state: str, role: str, tag: str) -> None:
        """Send the whole listing, as each night."""
        path = f"/v1/cities/{self.city}/{self.kind}s/own"
        answer = self._ask("PUT", path, role, self._body(words, state), tag)
        if tag == "old":
            assert answer.status_code == 412
        elif self.life is None:
            if tag == "present" or (self._waits(role) and state == "returned"):
                assert answer.status_code == (412 if tag == "present" else 403)
            else:
                self._begun(answer, words, state, role)
        else:
            wanted: str | None = self.life.state if self._stays(words, state, role) else state
            # The night's list brings no comment, so it cannot return anything in a moderated house.
            self._changed(answer, role, words=words, state=wanted, sent=True)

    @precondition(lambda self: self.life)
    @rule(words=st.none() | WORDS, state=st.none() | STATES, role=ROLES, tag=TAGS, comments=st.booleans())
    def patch(self, words: str | None, state: str | None, role: str, tag: str, comments: bool) -> None:
        """Change words, state or both, a coordinator with or without a comment."""
        body = {"title": words, "state": state}
        sent: dict[str, Any] = {name: value for name, value in body.items() if value is not None}
        if comments and role == "coordinator":
            sent["review_comment"] = "Say more."
        answer = self._ask("PATCH", self._path(), role, sent, tag)
        if tag == "old":
            assert answer.status_code == 412
        else:
            comment = sent.get("review_comment")
            self._changed(answer, role, words=words, state=state, comment=comment)

    @precondition(lambda self: self.life and self.kind == "need")
    @rule(role=ROLES, days=st.sampled_from([-5, 0, 30]))
    def move_the_end(self, role: str, days: int) -> None:
        """Give a need another last day; one that had expired comes back if that day has not passed."""
        life, until = self._life(), now().date() + timedelta(days=days)
        answer = self._ask("PATCH", self._path(), role, {"expires_on": str(until)})
        assert answer.status_code == 200, answer.text
        back = "published" if life.approved or not self._waits(role) else "submitted"
        revived = life.state == "expired" and days >= 0
        after = back if revived else life.state
        comment = None if revived and after == "published" else life.comment
        self._settle(
            replace(
                life,
                until=until,
                state=after,
                comment=comment,
                approved=life.approved or after == "published",
            )
        )

    @precondition(lambda self: self.life)
    @rule(role=ROLES)
    def confirm(self, role: str) -> None:
        """Say that it still holds."""
        life = self._life()
        answer = self._ask("POST", f"{self._path()}/confirm", role)
        if life.state not in {"published", "paused", "expired"}:
            assert answer.status_code == 409
            return
        assert answer.status_code == 200, answer.text
        lapsed = life.state == "expired" or (life.state == "paused" and life.stale)
        back = "published" if life.approved else "submitted"
        self._settle(
            replace(life, state=back if lapsed else life.state, stale=False, until=self._in_a_year())
        )

    @precondition(lambda self: self.life)
    @rule(role=ROLES, by_state=st.booleans(), tag=TAGS)
    def withdraw(self, role: str, by_state: bool, tag: str) -> None:
        """Take it out, in either way."""
        if by_state:
            answer = self._ask("PATCH", self._path(), role, {"state": "withdrawn"}, tag)
        else:
            answer = self._ask("DELETE", self._path(), role, None, tag)
        if tag == "old":
            assert answer.status_code == 412
            return
        assert answer.status_code == (200 if by_state else 204)
        assert self._ask("GET", self._path(), role).status_code == 404
        self.life = None
        self.told.append(f"{self.kind}.withdrawn")

    # What time does.

    @precondition(lambda self: self.life)
    @rule(long=st.booleans())
    def time_passes(self, long: bool) -> None:
        """Let the term end: yesterday, or so long ago that patience is over."""
        life = self._life()
        until = now().date() - timedelta(days=1) - (PATIENCE if long else timedelta())
        column = "expires_on" if self.kind == "need" else "confirm_by"
        with self.front.database.transaction() as session:
            session.execute(update(Listing).where(col(Listing.id) == life.id).values({column: until}))
        deadlines.keep(self.front.database)
        # A worker's looks that find nothing change nothing.
        deadlines.keep(self.front.database)
        life = self.life = replace(life, until=until)
        if life.state != "published":
            return
        if self.kind == "need":
            self._settle(replace(life, state="expired"), "expired")
            return
        if not life.stale:
            self._settle(replace(life, stale=True))
        if long:
            self._settle(replace(self._life(), state="paused"))

    # What must be so.

    @invariant()
    def what_stands(self) -> None:
        """The listing is as the model says, and its feed tells of each change once and of nothing else."""
        events = self.front.client.get("/v1/events?limit=200", headers=self.keys["city"]).json()["items"]
        assert [event["type"] for event in events] == self.told
        if self.life is None:
            return
        answer = self.front.client.get(self._path(), headers=self.keys["city"])
        shown, life = answer.json(), self.life
        assert (shown["title"], shown["state"], shown["review_comment"]) == (
            life.words,
            life.state,
            life.comment,
        )
        assert answer.headers["etag"] == f'"{life.version}"'
        ends = shown["expires_on"] if self.kind == "need" else shown["confirm_by"]
        assert ends == str(life.until)
        assert shown.get("stale", False) is life.stale

    @invariant()
    def what_is_marked(self) -> None:
        """What stands bears the marks of its present words, and what is withdrawn bears none."""
        with self.front.database.snapshot() as session:
            standing = session.exec(select(Listing).where(Listing.city_id == self.city)).all()
            bears = select(ListingMark).join(Listing, col(Listing.id) == ListingMark.listing_id)
            borne = session.exec(bears.where(Listing.city_id == self.city)).all()
        assert {(row.mark, row.listing_id) for row in borne} == {
            (mark, listing.id) for listing in standing for mark in marks_of(listing)
        }

    # The model.

    def _begun(self, answer: Any, words: str, state: str, role: str) -> None:
        assert answer.status_code == 201, answer.text
        waits = self._waits(role)
        state = "submitted" if waits and state == "published" else state
        self.life = Life(answer.json()["id"], words, state, approved=not waits, until=self._in_a_year())
        self.told.append(f"{self.kind}.registered")

    def _stays(self, words: str, state: str, role: str) -> bool:
        """Say whether a night's list leaves the state alone, as what was decided since."""
        life = self._life()
        decided = (self._waits(role) and life.state in {"submitted", "returned"}) or (
            life.state == "paused" and life.stale
        )
        return state == "published" and words == life.words and decided

    def _changed(
        self,
        answer: Any,
        role: str,
        *,
        words: str | None,
        state: str | None,
        comment: str | None = None,
        sent: bool = False,
    ) -> None:
        """Say what must come of a change."""
        life, waits = self._life(), self._waits(role)
        rewritten = words not in {None, life.words}
        approved = life.approved and not (waits and rewritten)
        after = state or life.state
        if after == "published" and waits and not approved:
            after = "submitted"
        moved = after != life.state
        refused = None
        if moved and after == "returned":
            if life.state in {"draft", "expired"}:
                refused = 409
            elif waits:
                refused = 403
            elif self.moderated and comment is None:
                refused = 422
        if refused:
            assert answer.status_code == refused, answer.text
            return
        assert answer.status_code == 200, answer.text
        until = life.until
        over = until is not None and until < now().date()
        if self.kind == "practice" and moved:
            until = self._in_a_year()
        if self.kind == "need" and over and (sent or (life.state == "expired" and state == "published")):
            until = self._in_a_year()
        kept = life.comment if comment is None and not (moved and after == "published") else comment
        self._settle(
            replace(
                life,
                words=words or life.words,
                state=after,
                approved=approved or after == "published",
                comment=kept,
                stale=life.stale and not moved,
                until=until,
            )
        )

    def _settle(self, after: Life, event: str = "updated") -> None:
        """Take over what must stand; a change is a new version, and news unless it is of the review alone."""
        before = self._life()
        if after == before:
            return
        untold = replace(after, comment=before.comment, approved=before.approved) == before
        self.life = replace(after, version=before.version + 1)
        if not untold:
            self.told.append(f"{self.kind}.{event}")

    # Small things.

    def _ask(self, method: str, path: str, role: str, body: Any = None, tag: str = "none") -> Any:
        version = self.life.version if self.life else 7
        tags = {
            "none": {},
            "present": {"If-Match": f'"{version}"'},
            "old": {"If-Match": f'"{version - 1}", "x"'},
        }
        headers = {**self.keys[role], **tags[tag]}
        if self.life is None and tag == "old":
            headers["If-Match"] = '"7"'
        return self.front.client.request(method, path, json=body, headers=headers)

    def _body(self, words: str, state: str) -> dict[str, Any]:
        made = need(expires_on=None) if self.kind == "need" else practice()
        return {**made, "title": words, "state": state}

    def _waits(self, role: str) -> bool:
        return self.moderated and role == "city"

    def _in_a_year(self) -> date:
        return now().date() + YEAR

    def _life(self) -> Life:
        assert self.life is not None
        return self.life

    def _path(self) -> str:
        return f"/v1/{self.kind}s/{self._life().id}"


@pytest.fixture(scope="module", params=[False, True], ids=["open", "moderated"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path
) -> Iterator[tuple[Door, bool]]:
    """A front door that every run of the machine shares, moderated or not."""
    path = shutil.copy(sqlite_file, tmp_path_factory.mktemp("door") / "twinning.db")
    with door(f"sqlite:///{path}", moderation=request.param, rate_per_minute=0) as opened:
        yield opened, request.param


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["practice", "need"])
def test_the_life_of_a_listing(house: tuple[Door, bool], kind: str) -> None:
    """Whatever is asked in whatever order, what stands and what is told are what the model says."""
    front, moderated = house
    machine = type("Its", (Machine,), {"front": front, "kind": kind, "moderated": moderated})
    few = max(12, settings.default.max_examples // 10)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=few, stateful_step_count=20, deadline=None)
    )
