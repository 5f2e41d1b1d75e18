# SPDX-License-Identifier: Apache-2.0
"""Files on their way in: what is taken as one, what is refused before it is read, and the templates."""

import io
from typing import Any

import pytest

from tests.factories import Door
from tests.imports import ROWS, done, file_of, send
from twinning import catalogue_examples, table_files
from twinning.imports import LONGEST_FILE
from twinning.table_files import TableFormat


@pytest.mark.parametrize(
    ("request_", "status", "pointer"),
    [
        ({"json": {"file": "x"}}, 415, None),
        ({"files": {"file": ("a.xls", b"x")}}, 415, None),
        ({"files": {"other": ("a.csv", b"x")}}, 422, "/other"),
        ({"files": {"file": ("a.csv", b"x")}, "data": {"more": "x"}}, 422, "/more"),
        ({"files": {"file": (None, b"x")}}, 422, "/file"),
        ({"files": [("file", ("a.csv", b"x")), ("file", ("b.csv", b"x"))]}, 400, None),
        (
            {"content": b"--x\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            422,
            "/file",
        ),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, None),
    ],
)
def test_what_is_no_file_is_refused(
    shared: Door, request_: dict[str, Any], status: int, pointer: str | None
) -> None:
    """A body that is no form with one file of a known format is refused in the words of the problem."""
    headers = {**shared.staff, **request_.pop("headers", {})}
    answer = shared.client.post("/v1/imports", headers=headers, **request_)

    assert answer.status_code == status, answer.text
    assert [flaw["pointer"] for flaw in answer.json().get("errors", ())] == ([pointer] if pointer else [])


def test_a_file_of_a_gigabyte_is_refused_before_it_is_read(shared: Door) -> None:
    """Its announced length is enough; one that announces nothing is cut off where the limit is."""
    sent = 0

    def endless() -> Any:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        for _ in range(1024):
            sent += 1024 * 1024
            yield b"a" * 1024 * 1024

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    announced = shared.client.post(
        "/v1/imports", content=b"", headers={**shared.staff, **kind, "Content-Length": str(1024**3)}
    )
    streamed = shared.client.post("/v1/imports", content=endless(), headers={**shared.staff, **kind})

    assert (announced.status_code, streamed.status_code) == (413, 413)
    assert announced.json()["type"].endswith("/too-large")
    assert str(LONGEST_FILE) in announced.json()["detail"]


def test_nobody_uploads_without_a_key(shared: Door) -> None:
    """A bad key is told before the file is looked at."""
    answers = [
        shared.client.post("/v1/imports", files={"file": ("a.csv", b"x")}, headers=headers)
        for headers in ({}, {"Authorization": "Bearer asem_wrong"})
    ]

    assert [answer.status_code for answer in answers] == [401, 401]


def test_a_file_sent_twice_under_one_idempotency_key_is_one_import(front: Door) -> None:
    """The boundary between the parts may differ, the file may not."""
    headers = {**front.staff, "Idempotency-Key": "nightly-1"}
    first, again = (send(front, file_of(ROWS), headers=headers) for _ in range(2))
    other = send(front, file_of(ROWS[:1]), headers=headers)

    assert [answer.status_code for answer in (first, again, other)] == [202, 202, 422]
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert len(front.client.get("/v1/imports", headers=front.staff).json()["items"]) == 1


@pytest.mark.parametrize("form", list(TableFormat))
def test_templates_are_there_to_download(shared: Door, form: TableFormat) -> None:
    """Each format has a template with its media type, which every key may read."""
    answer = shared.client.get(f"/v1/imports/templates/{form}", headers=shared.staff)
    unknown = shared.client.get("/v1/imports/templates/pdf", headers=shared.staff)

    assert answer.headers["content-type"].startswith(table_files.MEDIA_TYPES[form])
    assert len(answer.content) == int(answer.headers["content-length"])
    assert "attachment" in answer.headers["content-disposition"]
    assert list(table_files.read(form, io.BytesIO(answer.content)))
    assert unknown.status_code == 422


def test_the_examples_of_the_documents_can_be_imported(front: Door) -> None:
    """The template lands as it is; it says the examples of the documents."""
    answer = front.client.get("/v1/imports/templates/csv", headers=front.staff)
    report = done(front, send(front, answer.content, "template.csv"))
    (practice,) = front.client.get("/v1/practices", headers=front.staff).json()["items"]

    assert report["counts"]["created"] == 3
    for name, value in catalogue_examples.PRACTICE_REQUEST.items():
        assert practice[name] == value
