# SPDX-License-Identifier: Apache-2.0
"""The body of a request, read and judged before anything else is done with it.

JSON is taken as RFC 8259 writes it and no wider: UTF-8, each name once in an object, no NaN, numbers
that every reader understands. What is wrong is kept and told later, once the key is known to be good.
"""

import json
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from itertools import accumulate
from typing import Any, Never

from fastapi import Request
from starlette.exceptions import HTTPException

from twinning.errors import Flaw, Invalid

LONGEST_BODY = 256 * 1024
LONGEST_NUMBER = 30
LONGEST_FRACTION = 100
# No shape of ours comes near these; more would only cost time before it is refused.
DEEPEST = 32
MOST_NAMES = 1000
# A text to its end, or to that of the body: one that does not end is passed over once, not from each quote.
_TEXT = re.compile(r'"(?>(?:[^"\\]++|\\.)*)(?:"|\\?\Z)', re.DOTALL)
# How a bracket changes the depth, as a signed byte; nothing else does.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS = bytes(set(range(256)) - set(b"[{]}"))
# What no database can store: NUL, and halves of surrogate pairs. JSON can spell them only by escapes.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Body:
    """A body as it came, and what it says or why it says nothing."""

    raw: bytes
    value: Any = None
    wrong: HTTPException | Invalid | None = None


class ReadRequest(Request):
    """A request whose body has been read and judged already."""

    def __init__(self, request: Request, body: Body) -> None:
        super().__init__(request.scope, request.receive)
        self._read = body

    @property
    def cookies(self) -> dict[str, str]:
        """Give none: FastAPI asks every request for its cookies, and no route of ours takes one."""
        return {}

    async def body(self) -> bytes:
        """Give the body as it came."""
        return self._read.raw

    async def json(self) -> Any:
        """Give what the body says."""
        return self._read.value


async def read(request: Request, wanted: bool) -> Body:
    """Read a body, and its JSON when one is `wanted`; 413 for one that is too long."""
    chunks, size = [], 0
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > LONGEST_BODY:
        _too_large()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "Send the body as it is, without a Content-Encoding.")
    async for chunk in request.stream():
        size += len(chunk)
        if size > LONGEST_BODY:
            _too_large()
        chunks.append(chunk)
    raw = b"".join(chunks)
    if not wanted and not raw:
        return Body(raw)
    try:
        _must_be_json(request.headers.get("content-type", ""))
        value = parse(raw)
        if not wanted:
            _must_be_empty(value)
        return Body(raw, value)
    except (HTTPException, Invalid) as error:
        return Body(raw, wrong=error)


def _too_large() -> Never:
    raise HTTPException(413, f"A body may have {LONGEST_BODY} bytes at most.", {"Connection": "close"})


def _must_be_empty(value: Any) -> None:
    """Refuse all but an empty object where nothing is asked for, as unknown fields are anywhere else."""
    if not isinstance(value, dict):
        raise Invalid.field("", "This takes no body.")
    if value:
        flaws = [Flaw(f"/{escape(name)}", "This takes no such field; it takes none.") for name in value]
        raise Invalid("This takes no body.", flaws[:20])


@lru_cache(maxsize=64)
def _must_be_json(content_type: str) -> None:
    """Refuse every other media type by 415, and JSON in another encoding than UTF-8."""
    message = Message()
    message["content-type"] = content_type
    charset = message.get_content_charset("utf-8")
    if message.get_content_type() != "application/json" or charset not in {"utf-8", "utf8"}:
        raise HTTPException(415, "Send application/json in UTF-8.")


def parse(raw: bytes) -> Any:
    """Read JSON strictly: `HTTPException` 400 for what is none, `Invalid` for what nobody could store."""
    try:
        text = raw.decode("utf-8")
        _must_be_flat(text)
        value = json.loads(
            text,
            object_pairs_hook=_each_name_once,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except UnicodeDecodeError:
        raise HTTPException(400, "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    if "\\u" in text and (flaws := [Flaw(*found) for found in _unstorable(value)]):
        raise Invalid("The body holds characters that cannot be stored.", flaws[:20])
    return value


def _must_be_flat(text: str) -> None:
    """Refuse what is nested too deeply, before it is parsed; brackets inside texts do not count."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return
    steps = array("b", _TEXT.sub("", text).encode().translate(_STEPS, _OTHERS))
    if max(accumulate(steps), default=0) > DEEPEST:
        raise HTTPException(400, f"The body is nested too deeply; {DEEPEST} levels are taken.")


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_NAMES:
        raise Invalid.field("", f"An object has {len(pairs)} names; {MOST_NAMES} are taken at most.")
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise Invalid.field("", f"An object names {twice[:100]!a} twice.")
    return made


def _no_constant(name: str) -> Never:
    raise HTTPException(400, f"The body is not JSON: {name} is no number.")


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise Invalid.field("", f"A number has {len(digits)} digits; {LONGEST_NUMBER} are taken at most.")
    return int(digits)


def _number(digits: str) -> float:
    if len(digits) > LONGEST_FRACTION:
        raise Invalid.field("", f"A number has {len(digits)} digits; {LONGEST_FRACTION} are taken at most.")
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        raise Invalid.field("", f"The number {digits[:LONGEST_NUMBER]} is out of range.")
    return value


def _unstorable(value: Any) -> Iterator[tuple[str, str]]:
    """Walk to every text that cannot be stored; gives its JSON Pointer and what it holds."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        pointer, each = waiting.pop()
        if isinstance(each, str) and (found := _UNSTORABLE.search(each)):
            yield pointer, f"holds the character U+{ord(found.group()):04X}, which cannot be stored"
        elif isinstance(each, list):
            waiting += [(f"{pointer}/{place}", item) for place, item in enumerate(each)]
        elif isinstance(each, dict):
            waiting += [(f"{pointer}/{escape(name)}", item) for name, item in each.items()]
            waiting += [(pointer, name) for name in each]


def escape(name: object) -> str:
    """Spell a member's name as a JSON Pointer does (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")
