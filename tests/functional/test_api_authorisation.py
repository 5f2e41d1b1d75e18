# SPDX-License-Identifier: Apache-2.0
"""The rules of access, walked in full: every operation, every role, own and others' things."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from services.api import asking
from tests.authorisation import BODIES, FILES, KEYLESS, MATRIX, ROLES, UNTOLD, Makers
from tests.factories import Door
from twinning.database import new_id
from twinning.terms import Role

BRACE = re.compile(r"\{(\w+)(?::(\w+))?\}")


class Line(NamedTuple):
    """An operation with its path as the document names it, and the status of each role."""

    method: str
    path: str
    template: str
    statuses: dict[str, int]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _lines() -> Iterator[Line]:
    for line in MATRIX.strip().splitlines():
        method, path, *statuses = line.split()
        template = BRACE.sub(r"{\1}", path)
        yield Line(method, path, template, dict(zip(ROLES, map(int, statuses), strict=True)))


LINES = list(_lines())
STREAM = "/v1/events/stream"


@pytest.fixture(scope="module")
def makers(shared: Door) -> Iterator[Makers]:
    """An Irish city and a Korean one, keys of each role, and all that a path may name."""
    with pytest.MonkeyPatch.context() as patch:
        # No worker and no dispatcher is there who would answer.
        patch.setattr(asking, "PREVIEW_S", 0.01)
        patch.setattr(asking, "PING_SLACK_S", -shared.settings.webhook_timeout_s)
        yield Makers(shared)


def ask(door: Door, line: Line, path: str, headers: dict[str, str]) -> Any:
    """Send an operation's request."""
    body = BODIES.get((line.method, line.template))
    content: dict[str, Any] = {} if body is None else {"json": body()}
    if files := FILES.get((line.method, line.template)):
        content = {"files": files}
    if line.template == STREAM:
        path += "?after=" + new_id()
    return door.client.request(line.method, path, headers=headers, **content)


def _filled(makers: Makers, line: Line) -> str:
    """Name things that are there, made for this request alone."""
    return BRACE.sub(lambda found: makers.make(found[2] or found[1]), line.path)


def _marks(door: Door) -> tuple[int, int]:
    """Count what has been done so far, as the audit log and the events tell of it."""
    with door.database.snapshot() as session:
        return (
            session.execute(text("SELECT count(*) FROM audit")).scalar_one(),
            session.execute(text("SELECT count(*) FROM event")).scalar_one(),
        )


def test_the_matrix_has_every_operation(shared: Door) -> None:
    """An operation of the document that has no line, or a line without an operation, is an error here."""
    document = shared.client.get("/openapi.json").json()
    offered = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}

    assert offered - KEYLESS == {(line.method, line.template) for line in LINES}


@pytest.mark.parametrize("line", LINES, ids=str)
def test_each_role_may_do_what_the_matrix_says(shared: Door, makers: Makers, line: Line) -> None:
    """What a key may not see is not there, what it may see and not change is forbidden, the rest is done.

    What is refused changes nothing, and what is done has its entry in the audit log.
    """
    for role, status in line.statuses.items():
        path = _filled(makers, line)
        before = _marks(shared)
        answer = ask(shared, line, path, makers.keys[role])
        audited = _marks(shared)[0] - before[0]

        assert (role, answer.status_code) == (role, status), answer.text
        if line.method == "GET" or status >= 400:
            assert _marks(shared) == before, role
        elif (line.method, line.template) not in UNTOLD:
            assert audited >= 1, role


@pytest.mark.parametrize("line", [line for line in LINES if 404 in line.statuses.values()], ids=str)
def test_what_may_not_be_seen_is_as_if_it_were_not_there(shared: Door, makers: Makers, line: Line) -> None:
    """The answer about another's object is that about one which never was, to the byte and the header."""
    for role in (role for role, status in line.statuses.items() if status == 404):
        hidden = ask(shared, line, _filled(makers, line), makers.keys[role])
        nowhere = ask(shared, line, BRACE.sub(new_id(), line.path), makers.keys[role])

        assert (hidden.status_code, hidden.content) == (nowhere.status_code, nowhere.content)
        assert _telling(hidden.headers) == _telling(nowhere.headers)


def _telling(headers: Any) -> dict[str, str]:
    """Give the headers of an answer but the request's own id."""
    return {name: value for name, value in headers.items() if name != "x-request-id"}


def test_every_operation_wants_a_good_key(shared: Door, makers: Makers) -> None:
    """Each operation answers 401, and in the same words to a key that never was, has ended or was revoked."""
    made = shared.client.post(
        "/v1/api-keys", json={"role": "staff", "name": "x"}, headers=shared.staff
    ).json()
    shared.client.delete(f"/v1/api-keys/{made['id']}", headers=shared.staff)
    bad = {
        "wrong": {"Authorization": "Bearer asem_wrong"},
        "expired": shared.key(Role.STAFF, expires_at="2020-01-01T00:00:00Z"),
        "revoked": {"Authorization": f"Bearer {made['key']}"},
    }
    before = _marks(shared)
    for line in LINES:
        path = BRACE.sub(new_id(), line.path)
        refused = {name: ask(shared, line, path, headers) for name, headers in bad.items()}
        none = ask(shared, line, path, {})

        assert none.status_code == 401, line
        assert {answer.status_code for answer in refused.values()} == {401}, line
        assert len({answer.content for answer in refused.values()}) == 1, line
    assert _marks(shared) == before
