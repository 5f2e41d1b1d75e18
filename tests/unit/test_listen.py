# SPDX-License-Identifier: Apache-2.0
"""The rules of what `webhooks listen` reads and prints: blocks as the standard says, lines that are safe."""

import io
import json
import os
import signal
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from services.cli.client import Client
from services.cli.event_stream import Event, EventSource, NoStream, read_blocks
from services.cli.forwarding import Forwarded, Forwarder, NoAddress
from services.cli.webhooks import Listener, ListenFormat, _print_json, gist, line, plain
from twinning import examples, hook_examples, match_examples
from twinning.signing import SecretMalformed, new_secret

SUGGESTION = Event("0198", "suggestion.created", hook_examples.MOMENT, match_examples.SUGGESTION_SHOWN)


def read(text: str) -> list[dict[str, str]]:
    """The blocks of a stream."""
    return list(read_blocks(io.BytesIO(text.encode())))


def test_blocks_are_read_as_the_standard_says() -> None:
    """Comments are left out, one blank after the colon goes, data lines join, a half block is dropped."""
    text = "retry: 5\n: a comment\n\n:x\n\nid: 1\nevent:a\r\ndata:  {\ndata: }\n\nid: 2\n\nid: 3\ndata: half"

    assert read(text) == [{"retry": "5"}, {"id": "1", "event": "a", "data": " {\n}"}, {"id": "2"}]


def test_an_endless_line_is_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never ends its line is given up rather than kept in memory."""
    monkeypatch.setattr("services.cli.event_stream.LONGEST_LINE", 100)
    with pytest.raises(NoStream):
        read("data: " + "x" * 200)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07here", "here"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x1bPq a device string\x1b\\x", "x"),
        ("\x1bc", ""),
        ("a\x00b\x08c\x7f", "abc"),
        ("two\nlines\ttab", "two lines tab"),
        ("abc\u202etxt.exe", "abctxt.exe"),
        ("수원 Łódź বাংলাদেশ", "수원 Łódź বাংলাদেশ"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(text: str, kept: str) -> None:
    """Colours, titles, links, resets and reordering marks go; the words of every language stay."""
    assert plain(text) == kept


class Canned(EventSource):
    """A source that has some events at once, and then is told to stop by whoever presses Ctrl-C."""

    def __iter__(self) -> Iterator[Event]:
        """Give two events."""
        for number in ("01", "02"):
            yield Event(number, "city.registered", hook_examples.MOMENT, {"name": number})


def test_ctrl_c_while_an_event_is_written_counts_it_as_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted in the middle of a line, the listener ends behind it, and says to go on after its event."""

    class Interrupting(io.StringIO):
        def flush(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    notes, out = io.StringIO(), Interrupting()
    source = Canned(Client("http://127.0.0.1:9", "key"), (), "latest", notes.write)
    monkeypatch.setattr("sys.stdout", out)
    try:
        code = Listener(source, None, ListenFormat.JSONL, Console(file=notes)).run()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)

    assert code == 0
    assert [json.loads(row)["id"] for row in out.getvalue().splitlines()] == ["01"]
    assert "1 events; go on with --after 01" in notes.getvalue()


@given(st.text())
def test_no_text_gets_a_control_character_through(text: str) -> None:
    """Whatever the data holds, a printed line has one line's worth of printable characters."""
    assert not [each for each in plain(text) if unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"}]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_json_lines_are_one_line_and_safe_to_show(text: str) -> None:
    """A JSON line gives the data back exactly and holds nothing that a terminal obeys."""
    from contextlib import redirect_stdout

    out = io.StringIO()
    with redirect_stdout(out):
        _print_json(Event("1", "city.updated", hook_examples.MOMENT, {"name": text}), None)
    (printed,) = out.getvalue().split("\n")[:-1]

    assert json.loads(printed)["data"] == {"name": text}
    assert not [each for each in printed if unicodedata.category(each) == "Cc" or each in "\u2028\u202e"]


def test_a_line_tells_what_matters() -> None:
    """Time, type, cities, score, band, id and the program's answer stand in one line."""
    told = line(SUGGESTION, Forwarded(204, None, 1, 3.5)).plain

    assert told.startswith("09:30:00  suggestion.created")
    assert all(part in told for part in ("Suwon + Limerick", "71.4", "strong", "0198", "→ 204 (3.5 ms)"))
    assert (
        "→ Connection refused after 4 attempts"
        in line(SUGGESTION, Forwarded(None, "Connection refused", 4, 1.0)).plain
    )


@pytest.mark.parametrize("kind", list(examples.EVENT_DATA))
def test_every_event_has_a_gist(kind: str) -> None:
    """Each kind of event says in a few words what it is about."""
    assert gist(examples.EVENT_DATA[kind]).strip()


@pytest.mark.parametrize(
    "url", ["localhost:3000", "ftp://a/", "http://", "http://a:99999/", "http://u:p@a/", "http://a/ b"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """An address that cannot be posted to is refused before anything is read."""
    with pytest.raises(NoAddress):
        Forwarder(url, new_secret())


def test_a_secret_that_is_none_is_refused() -> None:
    """A secret that no library could verify with is refused at the start."""
    with pytest.raises(SecretMalformed):
        Forwarder("http://localhost/", "hunter2")
