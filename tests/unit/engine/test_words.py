# SPDX-License-Identifier: Apache-2.0
"""Counting many texts at once finds what counting each finds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.matcher.engine import spelling, words
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.lists import HIGHEST_COUNT
from services.matcher.engine.spelling import Spellings
from services.matcher.engine.text import STOP_WORDS, count_terms
from services.matcher.engine.words import Vocabulary, gathered

# Characters whose treatment differs, many of them beside plain ones, so that words arise.
MIXED = st.text(
    st.one_of(
        st.sampled_from("aábcdeEß ıİiIſſŁłØøæŒσΣς.,_-'’\n\t\u00a0\u00ad\u200b\u0301\u0308\u00b4½ﬁ™…Ⅳ"),  # noqa: RUF001 the letters are the point
        st.sampled_from("ёЁйїאבעשّعحนี้กา習慣学习가각\u1100\u1161ｱﾞガ😀👩\u200d👧𝐀\ud800\udfff\x00\x7f\ue000"),  # noqa: RUF001 as above
        st.characters(max_codepoint=0x24FF),
        st.characters(categories=("L", "M", "N", "P", "S", "Z", "C")),
    ),
    max_size=40,
)
PLAIN = st.lists(
    st.sampled_from(["Learning", "learned", "the", "of", "cities,", "city", "x", "café", "a_b"]), max_size=9
)
TEXTS = st.lists(st.one_of(MIXED, PLAIN.map(" ".join), st.text()), max_size=8)
STEMS = st.dictionaries(
    st.one_of(
        st.sampled_from(["a", "b", "", "\n", "a\nb", "\x00", "\x01", "\ud800", "😀"]), st.text(max_size=3)
    ),
    st.integers(1, 70_000),
    max_size=6,
)


def capped(counts: dict[str, int]) -> dict[str, int]:
    """Counts as the index keeps them."""
    return {stem: min(times, HIGHEST_COUNT) for stem, times in counts.items()}


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS)
@example(["ΟΔΟΣ ΣΑΣ", "aΣ", "Σ a'Σ"], ["", "."])
@example(["\u0301\u0308a", "e\u0301t", "a\u0338 =\u0338"], ["STRASSE Straße"])
@example(["x" * 64, "x" * 65, "x" * 63 + "ing", "x" * 90 + "\u0301"], [])
def test_each_text_counts_as_if_it_were_alone(first: list[str], second: list[str]) -> None:
    """Any Unicode, in any company, with any words met before: the terms and counts of `count_terms`."""
    vocabulary = Vocabulary()

    for texts in (first, second, first):
        assert list(vocabulary.count(texts)) == [capped(count_terms(text)) for text in texts]


def test_each_text_is_counted_in_its_language() -> None:
    """A language other than English is cut as `count_terms` cuts it, in its place among the others."""
    texts, languages = ["Lebenslanges Lernen", "lifelong learning", "học tập suốt đời"], ["de", "en", "vi"]

    counted = Vocabulary().count(texts, languages)

    assert list(counted) == [*map(count_terms, texts, languages)]


@pytest.mark.parametrize("code", [0x2000, 0x3100])
def test_each_character_is_read_as_it_is_counted(code: int) -> None:
    """Between two letters, and beside one, each character up to a bound does what it does alone."""
    texts = [f"ab{chr(each)}cd {chr(each)}ef gh{chr(each)}" for each in range(code - 0x2000, code)]

    assert list(Vocabulary().count(texts)) == [count_terms(text) for text in texts]


def test_most_texts_need_no_python() -> None:
    """English, French, Polish, Greek and Russian letters are all in the table, quotes and dashes too."""
    texts = ["“Learning” – it’s fun", "forêt à côté", "ząb żółw", "Άνθρωπος και ΠΟΛΗ", "Учёба, йод"]  # noqa: RUF001 the letters are the point

    _, sizes = Spellings().read(texts, words._plain())

    assert (sizes > 0).all()


def test_the_table_of_words_grows() -> None:
    """Tens of thousands of words, met over many calls, keep their numbers apart."""
    texts = [" ".join(f"w{place}x{number}" for number in range(500)) for place in range(100)]
    vocabulary = Vocabulary()

    for _ in range(2):
        counted = vocabulary.count(texts)
        assert list(counted) == [count_terms(text) for text in texts]
    assert len(set(vocabulary.stems)) == len(vocabulary.stems)


def test_no_hash_is_trusted() -> None:
    """Words of one hash stay different words, and each is found again."""
    slots, hashes, starts = (np.zeros(size, np.int64) for size in (64, 8, 9))
    pool, known, found = np.zeros(99, np.uint64), 0, []

    for word in ("one", "two", "ones", "one", "two", "ones", "on"):
        letters = np.frombuffer(word.ljust(8).encode("utf-16-le"), "<u8")
        length = len(word) // 4 + 1
        pool[starts[known] : starts[known] + length] = letters[:length]
        found.append(spelling._number(length, -1, known, slots, hashes, starts, pool))
        known = max(known, found[-1] + 1)

    assert found == [0, 1, 2, 0, 1, 2, 3]


def test_no_texts_have_no_terms() -> None:
    """Nothing, and texts with nothing in them, count as nothing."""
    assert list(Vocabulary().count([])) == []
    assert list(Vocabulary().count([" ".join(STOP_WORDS), ""])) == [{}, {}]
    assert list(gathered([])) == []


@settings(max_examples=200, deadline=None)
@given(st.lists(STEMS, max_size=6), st.booleans())
def test_kept_counts_come_back(counts: list[dict[str, int]], many: bool) -> None:
    """Counts by stem are gathered whatever their stems are, in the way for few and in the way for many."""
    assert list(gathered(counts, -1 if many else 1000)) == [capped(each) for each in counts]


@settings(max_examples=60, deadline=None)
@given(st.lists(PLAIN.map(" ".join), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_both_ways_in_store_the_same(texts: list[str], chance: object) -> None:
    """Stored from a bulk count or one by one in any order, every score is the same to the last bit."""
    entries = [
        (number, "need" if number % 2 else "practice", number % 3, count_terms(text))
        for number, text in enumerate(texts)
    ]
    bulk, single = MatchIndex(), MatchIndex()
    bulk.put_texts([entry[:3] for entry in entries], Vocabulary().count(texts))
    chance.shuffle(entries)  # type: ignore[attr-defined]
    for entry in entries:
        single.put(*entry)

    for need in bulk.keys("need"):
        assert bulk.rank(need) == single.rank(need)
    assert all(bulk.frequency(stem) == single.frequency(stem) for *_, counts in entries for stem in counts)


def test_of_two_texts_with_one_key_the_later_stays() -> None:
    """A bulk call may hold a key twice, and one that is stored already."""
    index = MatchIndex([("p", "need", 0, {"old": 1})])

    index.put_texts(
        [("p", "practice", 0), ("q", "need", 1), ("p", "practice", 0)],
        gathered([{"first": 1}, {"second": 1}, {"second": 2}]),
    )

    assert (len(index), index.kind("p")) == (2, "practice")
    assert [index.frequency(stem) for stem in ("old", "first", "second")] == [0, 0, 2]
    assert [match.practice for match in index.rank("q")] == ["p"]


@pytest.mark.slow
def test_it_works_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Without any folder for compiled loops they are compiled each time, and nothing fails."""
    root = Path(words.__file__).parents[3]
    for name in ("services/matcher/engine", "twinning"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("services", "services/matcher"):
        shutil.copy(root / name / "__init__.py", tmp_path / name / "__init__.py")
    # A file where a folder is wanted keeps out even the system's owner.
    (tmp_path / "services/matcher/engine/__pycache__").touch()
    code = "from services.matcher.engine.words import Vocabulary; print(*Vocabulary().count(['Cities']))"
    command = [sys.executable, "-B", "-c", code]
    homeless = {**os.environ, "HOME": os.devnull, "XDG_CACHE_HOME": os.devnull}

    told = subprocess.run(command, cwd=tmp_path, env=homeless, capture_output=True, text=True)

    assert told.stdout.strip() == "{'citi': 1}", told.stderr
