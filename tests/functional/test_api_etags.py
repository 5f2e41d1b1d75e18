# SPDX-License-Identifier: Apache-2.0
"""The rules of entity tags, walked over the whole document: reads give one, changes honour one."""

from typing import Any

import pytest

from services.api import asking
from tests.authorisation import BODIES, Makers
from tests.factories import Door
from tests.functional.test_api_authorisation import BRACE, LINES, STREAM, Line

# What is streamed has no tag: it would have to be read to its end first.
STREAMED = {
    STREAM,
    "/v1/cities/{city_id}/export",
    "/v1/matching-rounds/{round_id}/export",
    "/v1/imports/templates/{format}",
}
READS = [
    line
    for line in LINES
    if line.method == "GET" and line.statuses["staff"] == 200 and line.template not in STREAMED
]
CHANGES = [
    line
    for line in LINES
    if line.method in {"PATCH", "PUT", "DELETE"}
    and line.statuses["staff"] < 300
    and "staffs_" not in line.path
]
# Where the tag of a thing is read: where it is changed, unless it is told only when it is made.
UNREAD = {"/v1/api-keys/{key_id}": '"1"'}


@pytest.fixture(scope="module")
def makers(shared: Door) -> Any:
    """An Irish city and all that a path may name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "PREVIEW_S", 0.01)
        yield Makers(shared)


def _path(makers: Makers, line: Line) -> str:
    return BRACE.sub(lambda found: makers.make(found[2] or found[1]), line.path)


@pytest.mark.parametrize("line", READS, ids=str)
def test_each_read_gives_a_tag(shared: Door, makers: Makers, line: Line) -> None:
    """Every object and list bears a strong entity tag, and the same one while nothing changes."""
    path = _path(makers, line)
    first, second = (shared.client.get(path, headers=shared.staff) for _ in range(2))

    assert first.headers["etag"].startswith('"')
    assert (first.content != second.content) or first.headers["etag"] == second.headers["etag"]


@pytest.mark.parametrize("line", CHANGES, ids=str)
def test_each_change_honours_if_match(shared: Door, makers: Makers, line: Line) -> None:
    """A stale tag is a 412 that changes nothing; the present one, one of several, or `*`, lets it be done."""
    path = _path(makers, line)
    body = BODIES.get((line.method, line.template))

    def send(match: str) -> Any:
        content = {} if body is None else {"json": body()}
        return shared.client.request(
            line.method, path, headers={**shared.staff, "If-Match": match}, **content
        )

    def tag() -> str:
        if line.template in UNREAD:
            return UNREAD[line.template]
        return str(shared.client.get(where, headers=shared.staff).headers["etag"])

    where = path
    if line.method == "PUT":
        # What is not there has no version that could match; when it has been made it is read by its id.
        assert send('"1"').status_code == 412
        made = shared.client.put(path, json=body() if body else None, headers=shared.staff)
        where = made.headers["location"]
    before = tag()
    stale = [send(match) for match in ('"stale"', 'W/"1"', '"0", "99"', "1")]

    assert {answer.status_code for answer in stale} == {412}
    assert stale[0].json()["type"].endswith("/problems/stale")
    assert tag() == before
    assert send(f'"other", {before}').status_code in {200, 204}
    if line.method != "DELETE":
        assert send("*").status_code == 200
