# SPDX-License-Identifier: Apache-2.0
"""From a text to the terms it is matched by, and back to the words its author wrote.

Words are cut after the text was made normal (see `normal`), stop words go, the rest becomes English Snowball
stems. Scripts that put no spaces between words, or hang particles on them (Han, Kana, Hangul, Thai, Lao,
Khmer, Burmese), are taken as groups of two or three letters instead, marks staying with their letter. In
languages other than English pieces of words or pairs of syllables are counted beside the words.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import chain, pairwise

import Stemmer
import yaml

from services.matcher.engine.american import american

ANALYSIS = "american.snowball-en.pieces-4.3"
"""Names the way texts are cut; counts kept under another name are to be counted anew."""

LONGEST_TERM = 64
"""Characters of a word that count; longer ones are blobs of data, and no stem is."""

_STOP_LISTS = yaml.safe_load((files(__package__) / "stop_words.yaml").read_text(encoding="utf-8"))
STOP_WORDS = frozenset(_STOP_LISTS["en"].split())
"""English words too common to tell one text from another."""

PIECE = 4
"""Characters of a piece of a word. Shorter ones make all texts of a language alike."""

# Pieces help where words are compounds or have endings; these languages are cut otherwise.
_WHOLE_WORDS = frozenset({"en", "ja", "km", "ko", "lo", "my", "th", "vi", "zh"})
_SYLLABLES = frozenset({"vi"})

# Blocks of the scripts that are cut into groups of letters; what is no letter in them is left out below.
_UNSPACED_BLOCKS = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x19E0, 0x19FF),
    (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xA960, 0xA97F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xAC00, 0xD7FF), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip


def _character_class(ranges: Iterable[tuple[int, int]]) -> str:
    """The inside of a regular expression's brackets for some ranges of code points."""
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _spaced_marks() -> str:
    """Combining marks of the scripts that do put spaces between words; they belong to the word."""
    unspaced = {code for first, last in _UNSPACED_BLOCKS for code in range(first, min(last, 0x1800) + 1)}
    marks = (code for code in range(0x0300, 0x1AFF) if unicodedata.category(chr(code))[0] == "M")
    return _character_class((code, code) for code in marks if code not in unspaced)


_UNSPACED = _character_class(_UNSPACED_BLOCKS)
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# So few letters make up Thai and Lao that two of them say nothing.
_THREE_BY_THREE = re.compile(r"[\u0e00-\u0eff]")
_WORD = re.compile(rf"[\w{_spaced_marks()}]{{2,}}")
_RUN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[\w{_spaced_marks()}])+")
# Its own cache costs more than a stem; `_term` remembers what is asked for often.
_STEMMER = Stemmer.Stemmer("english", 0)

# Latin, Greek and Cyrillic: there an accent is what a hurried writer leaves out. Elsewhere marks are letters.
_ACCENTED = _character_class(
    ((0x0041, 0x005A), (0x0061, 0x007A), (0x00AA, 0x02AF), (0x0370, 0x052F), (0x1C80, 0x1C8F),
     (0x1D00, 0x1DBF), (0x1E00, 0x1FFF), (0x2C60, 0x2C7F), (0xA640, 0xA69F), (0xA720, 0xA7FF),
     (0xAB30, 0xAB6F))
)  # fmt: skip
_ACCENTS = re.compile(rf"[\u0300-\u036f](?<=[{_ACCENTED}].)[\u0300-\u036f]*")
_PLAIN_LETTERS = {
    "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "ŧ": "t", "þ": "th", "æ": "ae", "œ": "oe",  # noqa: RUF001
}  # fmt: skip
_COMPOSED_LOOKING = re.compile(f"[{''.join(_PLAIN_LETTERS)}]")


def normal(text: str) -> str:
    """A text as it is compared: Unicode NFKC, small letters, and no accents where they may be left out.

    Accents go from Latin, Greek and Cyrillic letters (``người`` and ``nguoi`` are one), and letters that only
    look composed become plain (``ł`` to ``l``, ``ß`` to ``ss``, ``æ`` to ``ae``); the marks of Thai, Lao,
    Khmer, Burmese, Indian scripts and Japanese stay. Making a normal text normal changes nothing. Apart from
    what combines (marks, Hangul in parts), each character becomes the same wherever it stands.
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    bare = unicodedata.normalize("NFKC", _ACCENTS.sub("", apart))
    # NFKC takes a vowel of Thai and one of Lao apart; nobody writes or reads them so.
    whole = bare.replace("\u0e4d\u0e32", "\u0e33").replace("\u0ecd\u0eb2", "\u0eb3")
    return _COMPOSED_LOOKING.sub(lambda letter: _PLAIN_LETTERS[letter[0]], whole)


def stems_of(words: Sequence[str]) -> list[str]:
    """The stems of normal words: those of their American spelling, so that both spellings have one."""
    found: list[str] = _STEMMER.stemWords([american(word[:LONGEST_TERM]) for word in words])
    return found


@lru_cache(maxsize=1 << 16)
def _term(word: str) -> str | None:
    """The stem of one lower-case word, or None when it is a stop word."""
    return None if word in STOP_WORDS else stems_of([word])[0]


def _clusters(run: str) -> Iterator[str]:
    """The letters of a run, each with its combining marks; what is no letter gives an empty string."""
    cluster = ""
    for character in run:
        category = unicodedata.category(character)[0]
        if category == "M" and cluster:
            cluster += character
            continue
        if cluster:
            yield cluster
        cluster = character if category in "LN" else ""
        if not cluster:
            yield ""
    if cluster:
        yield cluster


def _stretches(run: str) -> Iterator[list[str]]:
    """The letters of a run that stand side by side."""
    stretch: list[str] = []
    for cluster in [*_clusters(run), ""]:
        if cluster:
            stretch.append(cluster)
        elif stretch:
            yield stretch
            stretch = []


def _unspaced_terms(run: str) -> Iterator[tuple[str, ...]]:
    """The letters of a run two by two, Thai and Lao three by three; fewer than that together."""
    for stretch in _stretches(run):
        size = 3 if _THREE_BY_THREE.match(stretch[0]) else 2
        for start in range(max(1, len(stretch) - size + 1)):
            yield tuple(stretch[start : start + size])


@dataclass(frozen=True, slots=True)
class _Cut:
    """How the words of one language become terms."""

    stops: frozenset[str]
    pieces: bool = False
    pairs: bool = False

    def terms(self, word: str) -> list[str]:
        """The terms of one normal word: its stem, and its pieces where the language is cut so."""
        if word in self.stops:
            return []
        return [*stems_of([word]), *(_pieces(word) if self.pieces else ())]


@cache
def _cut_of(language: str) -> _Cut:
    """How a language is cut; one that nothing is known of is cut into words and pieces of words."""
    stops = STOP_WORDS.union(*(normal(word).split() for word in _STOP_LISTS.get(language, "").split()))
    return _Cut(stops, pieces=language not in _WHOLE_WORDS, pairs=language in _SYLLABLES)


def _pieces(word: str) -> Iterator[str]:
    """Each four characters of a word, its ends counted as one each; marked, so that no word is one."""
    bounded = f"_{word[:LONGEST_TERM]}_"
    for start in range(max(1, len(bounded) - PIECE + 1)):
        yield f"#{bounded[start : start + PIECE]}"


def _pairs(plain: str, cut: _Cut) -> Iterator[tuple[re.Match[str], re.Match[str]]]:
    """Each two words of a text with nothing but a blank between them, stop words left out."""
    for one, other in pairwise(_WORD.finditer(plain)):
        if plain[one.end() : other.start()].isspace() and not {normal(one[0]), normal(other[0])} & cut.stops:
            yield one, other


def count_terms(text: str, language: str = "en") -> dict[str, int]:
    """How often each term occurs in a text in a language (ISO 639-1); empty for a text without any.

    An English text is counted by its words' stems. In other languages stop words of both go and pieces of
    four characters are counted beside the words, for compounds and endings; in Vietnamese, whose words are
    mostly two syllables with a blank between, pairs of neighbours.
    """
    plain = normal(text)
    if language == "en" and not _HAS_UNSPACED.search(plain):
        counts: dict[str, int] = {}
        for word, times in Counter(_WORD.findall(plain)).items():
            if term := _term(word):
                counts[term] = counts.get(term, 0) + times
        return counts
    return dict(Counter(_terms(plain, _cut_of(language))))


def _terms(plain: str, cut: _Cut) -> Iterator[str]:
    """The terms of a text that is already normal, with repeats."""
    for run in _RUN.findall(plain):
        if _HAS_UNSPACED.match(run):
            yield from map("".join, _unspaced_terms(run))
        elif len(run) > 1:
            yield from cut.terms(run)
    if cut.pairs:
        yield from (_pair(one, other) for one, other in _pairs(plain, cut))


@lru_cache(maxsize=4096)
def words(text: str, language: str = "en") -> list[tuple[str, list[str]]]:
    """The words of a text as they are written, each with its terms; a run of an unspaced script is one."""
    cut = _cut_of(language)
    found = ((run, list(_terms(normal(run), cut))) for run in _RUN.findall(text))
    return [(run, terms) for run, terms in found if terms]


def surfaces(text: str, language: str = "en", among: Collection[str] = ()) -> dict[str, str]:
    """For each term of a text the word, as its author wrote it, that stands for it.

    It is the first form in the text, or the first without capitals. A piece stands for the word that holds
    most of the terms `among`, which are those of a match; letters of an unspaced script, or Vietnamese
    syllables, that follow each other among them stand together, in Unicode NFKC.
    """
    best: dict[str, tuple[int, bool]] = {}
    found: dict[str, str] = {}
    for term, word, held in chain(_holders(text, language, among), _paired(text, language, among)):
        worth = held, word.islower()
        if term not in best or worth > best[term]:
            best[term], found[term] = worth, word
    return found | {term: term.strip("#_") for term in count_terms(text, language) if term not in found}


def _holders(text: str, language: str, among: Collection[str]) -> Iterator[tuple[str, str, int]]:
    """Each term with a word that holds it, and how many of the terms `among` that word holds."""
    for run, terms in words(text, language):
        if not _HAS_UNSPACED.match(run):
            held = sum(term in among for term in terms)
            yield from ((term, run, held) for term in terms)
            continue
        chained: list[tuple[str, ...]] = []
        for letters in [*_unspaced_terms(normal(run)), ()]:
            if chained and ("".join(letters) not in among or chained[-1][1:] != letters[:-1]):
                word = "".join(letters[0] for letters in chained) + "".join(chained[-1][1:])
                yield from (("".join(each), word, len(chained)) for each in chained)
                chained = []
            if "".join(letters) in among:
                chained.append(letters)
            elif letters:
                yield "".join(letters), "".join(letters), 0


def _paired(text: str, language: str, among: Collection[str]) -> Iterator[tuple[str, str, int]]:
    """Pairs of neighbours as they are written; those that follow each other among some terms, together."""
    cut = _cut_of(language)
    if not cut.pairs:
        return
    chained: list[re.Match[str]] = []
    for one, other in _pairs(unicodedata.normalize("NFC", text), cut):
        if _pair(one, other) not in among:
            yield _pair(one, other), f"{one[0]} {other[0]}", 0
            continue
        if chained and chained[-1].start() == one.start():
            chained.append(other)
            continue
        yield from _chained(chained)
        chained = [one, other]
    yield from _chained(chained)


def _chained(words_in_a_row: list[re.Match[str]]) -> Iterator[tuple[str, str, int]]:
    """The terms of words that follow each other, all with the whole of them."""
    whole = " ".join(word[0] for word in words_in_a_row)
    for word in words_in_a_row:
        yield stems_of([normal(word[0])])[0], whole, len(words_in_a_row)
    for one, other in pairwise(words_in_a_row):
        yield _pair(one, other), whole, len(words_in_a_row)


def _pair(one: re.Match[str], other: re.Match[str]) -> str:
    """The term of two neighbours: no word has a blank in it."""
    return f"{normal(one[0])} {normal(other[0])}"


def is_unspaced(term: str) -> bool:
    """Whether a term is some letters of a script that puts no spaces between words."""
    return bool(_HAS_UNSPACED.match(term))
