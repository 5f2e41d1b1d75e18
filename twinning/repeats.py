# SPDX-License-Identifier: Apache-2.0
"""Listings of one city that say nearly the same: found by a few marks of their texts, told by their words.

A text's marks are the smallest hashes of its pairs of neighbouring words (a bottom-k sketch; A. Z. Broder, On
the resemblance and containment of documents, 1997). Texts that share most of their pairs share a mark; what
shares one is compared word by word. So the cost does not grow with the number of a city's listings.
"""

import re
import zlib
from collections.abc import Callable, Collection, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import islice, pairwise
from operator import itemgetter
from typing import Any, Final

from rapidfuzz.distance import Indel
from sqlalchemy import BigInteger, BindParameter, Delete, Select, bindparam, delete, select, union
from sqlmodel import Field, Session, SQLModel, col

from twinning.database import before_commit
from twinning.dialects import Id, first_of_each
from twinning.inserting import insert_all, put_all
from twinning.many_rows import table_of

# Gives the smallest few different sums of neighbouring words, of which blanks part each two.
SumsOf = Callable[[bytes, int], Sequence[int]]
# The listings of a transaction, each with the marks that it is to bear and those that the table has of it.
_Marked = dict[str, tuple[Sequence[int], Sequence[int]]]
# Two texts that share so much of their words, in order, say nearly the same.
NEARLY: Final = 0.8
MARKS: Final = 4
# A text of this length takes some 200 kB as its words, at most.
LONGEST_REMEMBERED: Final = 4_000
# Who sends one text a hundred times hears of the first few.
MOST: Final = 5
# In scripts without blanks each letter is a word.
_WORD: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|\w+")
# The two letters of Latin-1 whose fold is none: it is two letters, or a Greek one.
_SHARP_S: Final = "ß".encode("latin-1")
_MICRO: Final = "µ".encode("latin-1")


def _western(place: int) -> int:
    """Fold a letter of Latin-1; what is no part of a word becomes a blank."""
    letter = chr(place)
    folded = letter.casefold().encode("latin-1", "replace") if _WORD.match(letter) else b" "
    return folded[0]


_WESTERN: Final = bytes(map(_western, range(256)))


class ListingMark(SQLModel, table=True):
    """A mark of a listing's text, different for each city and kind."""

    __tablename__ = "listing_mark"
    # Those with one mark stand side by side, the oldest first, and nowhere else.
    __table_args__ = {"sqlite_with_rowid": False}

    mark: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    listing_id: str = Field(foreign_key="listing.id", primary_key=True, sa_type=Id, ondelete="CASCADE")


def smallest_sums(words: bytes, most: int) -> list[int]:
    """Give the smallest few different sums of a text's neighbouring words, in their order.

    The sum of a pair is its CRC-32, with a blank between; a word alone has its own, and no word at all 0.
    """
    each = words.split()
    # Without a step of ours for each pair.
    sums = list(map(zlib.crc32, map(b" ".join, pairwise(each)))) or [zlib.crc32(b" ".join(each))]
    # Of numbers spread evenly some four times as many are below this: to sort them takes next to no time.
    enough = (4 * most << 32) // len(sums)
    small = {number for number in sums if number < enough}
    return sorted(small if len(small) >= most else set(sums))[:most]


def marks_of(city_id: str, kind: str, text: str, sums_of: SumsOf = smallest_sums) -> tuple[int, ...]:
    """Mark a text of a city's practice or need; who marks many may bring a quicker way to the same sums."""
    spoken = (f"{city_id}/{kind}/{number}".encode() for number in sums_of(_spoken(text), MARKS))
    return tuple(int.from_bytes(blake2b(each, digest_size=8).digest(), "big") >> 1 for each in spoken)


# For those who ask of the same text twice in a moment, as is done for writes in company.
remembered_marks_of: Final = lru_cache(maxsize=64)(marks_of)


def is_repeat(text: str, other: str) -> bool:
    """Say whether two texts are nearly the same, word by word."""
    similarity = Indel.normalized_similarity(_compared(text), _compared(other), score_cutoff=NEARLY)
    return similarity >= NEARLY


def marked(session: Session, listing_id: str) -> Sequence[int]:
    """Give the marks that this transaction has given a listing; there may be none."""
    marks: Sequence[int] = session.info["marks"][listing_id][0]
    return marks


def is_marked(session: Session, listing_id: str) -> bool:
    """Say whether a listing was marked in this transaction: then `sharing_now` knows of it."""
    return listing_id in session.info["marks"]


def sharing_now(session: Session, listing_id: str) -> list[str]:
    """Give the ids of a few others that share a mark with one, of those marked in this transaction alone."""
    marked: _Marked = session.info["marks"]
    mine = frozenset(marked[listing_id][0])
    sharing = (other for other, (marks, _) in marked.items() if not mine.isdisjoint(marks))
    return list(islice((other for other in sharing if other != listing_id), MOST))


def sharing() -> Select[Any]:
    """Lay out the question for the ids of a few others that share a mark with one, the oldest."""
    others = union(*(_few(bindparam(f"mark_{place}", type_=BigInteger)) for place in range(MARKS))).subquery()
    return select(others.c.listing_id).order_by(others.c.listing_id).limit(MOST)


def _few(mark: BindParameter[int]) -> Select[Any]:
    """Ask for the oldest few others that bear a mark: those with one stand in their order."""
    bearing = select(col(ListingMark.listing_id)).where(
        col(ListingMark.mark) == mark, col(ListingMark.listing_id) != bindparam("besides")
    )
    few = bearing.order_by(col(ListingMark.listing_id)).limit(MOST).subquery()
    return select(few.c.listing_id)


def asked(marks: Sequence[int], besides: str) -> dict[str, Any]:
    """Give what `sharing` asks with: the marks of a listing, of which there are some, and its id."""
    return {"besides": besides} | {f"mark_{place}": marks[place % len(marks)] for place in range(MARKS)}


def bearing(session: Session, marks: Collection[int]) -> dict[int, list[str]]:
    """Give for each mark the ids of a few listings that bear it, the oldest; for PostgreSQL alone."""
    found: dict[int, list[str]] = {each: [] for each in marks}
    for each, listing_id in session.connection().execute(_bearing(), {"values": list(found)}):
        found[each].append(listing_id)
    return found


@cache
def _bearing() -> Select[Any]:
    """Build the statement once that asks for the oldest few of each mark."""
    return first_of_each(col(ListingMark.mark), col(ListingMark.listing_id), MOST)


def mark(session: Session, listing_id: str, marks: Sequence[int], was: Sequence[int] = ()) -> None:
    """Have a listing bear these marks in place of those that it had; none for one that is withdrawn.

    What it had is told from its words, so that nothing has to find a listing's marks by the listing.
    """
    marked: _Marked = session.info.setdefault("marks", {})
    # Of what changes twice in a transaction the table has only the first.
    stored = marked[listing_id][1] if listing_id in marked else was
    marked[listing_id] = (marks, stored)
    before_commit(session, "marks", _write)


def _write(session: Session) -> None:
    """Write the transaction's marks at once, for an import's sake."""
    marked: _Marked = session.info.pop("marks")
    gone: list[dict[str, Any]] = []
    new: list[dict[str, Any]] = []
    more: list[dict[str, Any]] = []
    for listing_id, (marks, was) in marked.items():
        rows = [{"mark": each, "listing_id": listing_id} for each in marks if each not in was]
        gone += [{"gone": each, "of": listing_id} for each in was if each not in marks]
        (more if was else new).extend(rows)
    if gone:
        session.connection().execute(_forgetting(), gone)
    # In the order of the marks: all of their index is touched, but then no page of it twice.
    insert_all(session, ListingMark, sorted(new, key=itemgetter("mark")))
    # What was marked by another version's idea of a word may bear one of these already.
    put_all(session, ListingMark, sorted(more, key=itemgetter("mark")), ["mark", "listing_id"], [])


@cache
def _forgetting() -> Delete:
    """Build the statement once that takes a mark from a listing."""
    theirs = col(ListingMark.mark) == bindparam("gone"), col(ListingMark.listing_id) == bindparam("of")
    return delete(table_of(ListingMark)).where(*theirs)


def _encoded(text: str) -> list[bytes]:
    """Give the words of a text in UTF-8."""
    return _spoken(text).split()


def _spoken(text: str) -> bytes:
    """Lay out the words of a text in UTF-8, parted by blanks.

    In Western letters, as most texts are, they are told without a search for them.
    """
    try:
        western = text.encode("latin-1")
    except UnicodeEncodeError:
        western = _MICRO
    if _MICRO in western:
        return " ".join(_words(text)).encode()
    folded = western.replace(_SHARP_S, b"ss").translate(_WESTERN)
    return folded if text.isascii() else folded.decode("latin-1").encode()


def _compared(text: str) -> list[bytes]:
    """Give the words of a text that is compared, remembered unless it is long.

    Who is compared with one is soon compared with another: the oldest few that bear a mark.
    """
    return _remembered(text) if len(text) <= LONGEST_REMEMBERED else _encoded(text)


_remembered: Final = lru_cache(maxsize=64)(_encoded)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
