# SPDX-License-Identifier: Apache-2.0
"""JSON Lines: an object a line, as RFC 8259 writes it and no wider."""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Final, Never

from twinning.plain_text import LONGEST_LINE, text_of
from twinning.plain_text import lines as text_lines
from twinning.rows import BadFile, Row, wrong

_MARKS_OF_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LONGEST_NUMBER: Final = 30


def read(file: IO[bytes]) -> Iterator[Row]:
    """Read the rows of a JSON Lines file; blank lines are passed over. Raises `BadFile`."""
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            text = line if isinstance(line, str) else line.decode("utf-8-sig" if number == 1 else "utf-8")
            found = _DECODER.decode(text.strip())
        except UnicodeDecodeError:
            yield Row(number, number, wrong=(wrong("row", None, "is not UTF-8"),))
        except (ValueError, RecursionError) as error:
            reason = str(error) or "it is nested too deeply"
            yield Row(number, number, wrong=(wrong("row", None, f"is not JSON: {reason}"),))
        else:
            if isinstance(found, dict):
                yield Row(number, number, found)
            else:
                yield Row(number, number, wrong=(wrong("row", None, "is not a JSON object"),))


def _lines(file: IO[bytes]) -> Iterator[bytes | str]:
    """Give the lines, each to be decoded by itself, so that one wrong byte spoils one row."""
    file.seek(0)
    if file.read(2) in _MARKS_OF_UTF16:
        yield from text_lines(text_of(file))
        return
    file.seek(0)
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise BadFile(f"is longer than {LONGEST_LINE} bytes", line=number)
        yield line


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object names something twice")
    return made


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no number")


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number has {len(digits)} digits; {LONGEST_NUMBER} are taken at most")
    return int(digits)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_whole)


def write(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Write objects, one a line."""
    for row in rows:
        yield (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n").encode("utf-8", "replace")
