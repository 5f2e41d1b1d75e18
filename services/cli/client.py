# SPDX-License-Identifier: Apache-2.0
"""A small client of our own API, for the commands that talk to one."""

import json
import os
import secrets
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from itertools import chain
from typing import IO, Any

from twinning.errors import TwinningError

BLOCK = 64 * 1024


class Refused(TwinningError):
    """The API answered with a problem."""

    code = "refused"

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        detail = problem.get("detail") or problem.get("title")
        self.flaws = [(str(flaw["pointer"]), str(flaw["detail"])) for flaw in problem.get("errors", ())]
        told = [f"{pointer}: {reason}" for pointer, reason in self.flaws]
        # Where one field is wrong, the whole says the same as the field.
        whole = () if [reason for _, reason in self.flaws] == [detail] else (str(detail),)
        super().__init__(f"{status} " + "; ".join((*whole, *told)))
        self.status = status
        self.code_told = str(problem.get("type", "")).rsplit("/", 1)[-1]


class Client:
    """Speaks to the API at `url` with a key; answers are what the JSON holds."""

    def __init__(self, url: str, key: str, timeout_s: float = 40.0) -> None:
        self.url = url
        self._key = key
        self._timeout_s = timeout_s
        # No proxy from the environment: a key must not pass through one that nobody chose for it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        """Read."""
        return self._send("GET", path, None)

    def post(self, path: str, body: Any = None) -> Any:
        """Make or ask for something."""
        return self._send("POST", path, body)

    def delete(self, path: str) -> None:
        """Take something out."""
        self._send("DELETE", path, None)

    def every(self, path: str) -> list[Any]:
        """Read a list to its end."""
        return list(self.pages(path))

    def pages(self, path: str) -> Iterator[Any]:
        """Read a list to its end, page by page."""
        joint = "&" if "?" in path else "?"
        cursor = ""
        while cursor is not None:
            page = self.get(f"{path}{joint}limit=200" + (f"&cursor={cursor}" if cursor else ""))
            yield from page["items"]
            cursor = page["next_cursor"]

    def send(self, path: str, name: str, file: IO[bytes]) -> Any:
        """Send a file as the part `file` of a form, without reading it into memory."""
        boundary = secrets.token_hex(16)
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n\r\n'
        before, after = head.encode("utf-8", "replace"), f"\r\n--{boundary}--\r\n".encode()
        size = len(before) + file.seek(0, os.SEEK_END) + len(after)
        file.seek(0)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(size),
        }
        body = chain([before], iter(lambda: file.read(BLOCK), b""), [after])
        with self._open("POST", path, body, headers) as answer:
            return json.loads(answer.read())

    def download(self, path: str, file: IO[bytes]) -> None:
        """Read a file."""
        with self._open("GET", path, None, {}) as answer:
            shutil.copyfileobj(answer, file, BLOCK)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[HTTPResponse]:
        """Read an answer as it comes; raises `OSError` when nothing has come for the client's time-out."""
        with self._open("GET", path, None, headers) as answer:
            yield answer

    def _send(self, method: str, path: str, body: Any) -> Any:
        content = None if body is None else json.dumps(body).encode()
        with self._open(method, path, content, {"Content-Type": "application/json"}) as answer:
            return json.loads(answer.read() or b"null")

    def _open(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: Mapping[str, str]
    ) -> HTTPResponse:
        request = urllib.request.Request(  # noqa: S310 - the address is that of our own API
            f"{self.url}/v1{path}",
            method=method,
            data=body,
            headers={"Authorization": f"Bearer {self._key}", **headers},
        )
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _problem(error.read())) from None
        return answer


def _problem(body: bytes) -> dict[str, Any]:
    """Read a problem; an answer that is none still says something."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"title": body[:200].decode(errors="replace")}
