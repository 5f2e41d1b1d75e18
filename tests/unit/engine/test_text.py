# SPDX-License-Identifier: Apache-2.0
"""How texts become terms."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.matcher.engine.sentences import sentences
from services.matcher.engine.text import STOP_WORDS, count_terms, normal, surfaces

TERMS = [
    pytest.param("", {}, id="empty"),
    pytest.param("the of and", {}, id="stop words only"),
    pytest.param("Learning, learned LEARNS a x", {"learn": 3}, id="stems, case, single letters"),
    pytest.param("ｌｉｂｒａｒｙ libraries", {"librari": 2}, id="full-width letters"),  # noqa: RUF001 the letters are the point
    pytest.param("người", {"nguoi": 1}, id="Vietnamese"),
    pytest.param("学习城市", {"学习": 1, "习城": 1, "城市": 1}, id="Chinese as bigrams"),
    pytest.param("学习，城市", {"学习": 1, "城市": 1}, id="no bigram across punctuation"),  # noqa: RUF001 its mark
    pytest.param("水", {"水": 1}, id="one letter alone"),
    pytest.param("평생학습", {"평생": 1, "생학": 1, "학습": 1}, id="Korean"),
    pytest.param("เรียน", {"เรีย": 1, "รียน": 1}, id="Thai marks stay with their letter"),
    pytest.param("ASEM회의 city", {"asem": 1, "회의": 1, "citi": 1}, id="two scripts in one word"),
    pytest.param("हिन्दी भाषा", {"हिन्दी": 1, "भाषा": 1}, id="Hindi words keep their vowel signs"),
]


@pytest.mark.parametrize(("text", "counts"), TERMS)
def test_terms_are_those_a_person_would_count(text: str, counts: dict[str, int]) -> None:
    """Words become stems, unspaced scripts bigrams, and each is counted."""
    assert count_terms(text) == counts


NORMAL = [
    pytest.param("Die GRÖSSE, die Größe", "die grosse, die grosse", id="German"),
    pytest.param("Đường phố", "duong pho", id="Vietnamese"),
    pytest.param(unicodedata.normalize("NFD", "Đường phố"), "duong pho", id="Vietnamese, decomposed"),
    pytest.param("Łódź Ærø cœur İstanbul ılık Þór", "lodz aero coeur istanbul ilik thor", id="plain"),  # noqa: RUF001
    pytest.param("ΆΝΘΡΩΠΟΣ άνθρωπος", "ανθρωποσ ανθρωποσ", id="Greek and its last sigma"),
    pytest.param("Ёлка, Їжак", "елка, іжак", id="Cyrillic"),
    pytest.param("เรียนรู้ น้ำ ຮຽນຮູ້ ນ້ຳ ការសិក្សា သင်ယူမှု हिन्दी", None, id="marks that are letters"),
    pytest.param("ガ が 학습", None, id="Japanese and Korean"),
    pytest.param("ｶﾞ ﬁ Ⅳ", "ガ fi iv", id="compatibility forms"),
]


@pytest.mark.parametrize(("text", "plain"), NORMAL)
def test_texts_are_compared_without_accents(text: str, plain: str | None) -> None:
    """What may be left out in typing is left out; what makes another letter stays."""
    assert normal(text) == (text if plain is None else plain)


def test_each_character_is_made_normal_once() -> None:
    """A second time changes nothing, whichever character it is."""
    for code in range(0x20000):
        once = normal(chr(code))
        assert normal(once) == once, hex(code)


@given(st.text())
def test_a_normal_text_stays_as_it_is(text: str) -> None:
    """A second time changes nothing, whatever stands beside each other."""
    assert normal(normal(text)) == normal(text)


def test_the_stop_list_is_whole() -> None:
    """The list has the 153 words that quality was measured with."""
    assert len(STOP_WORDS) == 153


@given(st.text())
@example("\ud800 lone \udfff")
@example("\x00\u0301\u0301")
def test_no_text_is_refused(text: str) -> None:
    """Whatever Unicode holds is counted, named and cut without an error."""
    counts = count_terms(text)

    assert all(times > 0 for times in counts.values())
    assert counts.keys() <= surfaces(text).keys()
    assert all(sentence in text for sentence in sentences(text))


@given(st.text(), st.text())
def test_a_text_counts_as_much_as_its_lines(first: str, second: str) -> None:
    """Counts of two lines together are the sums of their counts."""
    whole, one, two = count_terms(f"{first}\n{second}"), count_terms(first), count_terms(second)

    assert whole == {term: one.get(term, 0) + two.get(term, 0) for term in one.keys() | two.keys()}


def test_terms_are_shown_as_their_author_wrote_them() -> None:
    """A term's word is the first form in the text, one without capitals before one with."""
    shown = surfaces("Libraries teach. Our libraries and the Forest; UNESCO 学习")

    assert shown["librari"] == "libraries"
    assert shown["forest"] == "Forest"
    assert shown["unesco"] == "UNESCO"
    assert shown["学习"] == "学习"


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("One. Two!  Three", ["One.", "Two!", "Three"]),
        ("Visits, e.g. to schools. Then home.", ["Visits, e.g. to schools.", "Then home."]),
        ("Ask Dr. Kim of St. Pölten, i.e. us. Yes.", ["Ask Dr. Kim of St. Pölten, i.e. us.", "Yes."]),
        ("Schools etc. UNESCO's list, e.g. No. 5. Go.", ["Schools etc. UNESCO's list, e.g. No. 5. Go."]),
        ("Lessons, e.g.\nNone", ["Lessons, e.g.", "None"]),
        ("学习。城市。", ["学习。", "城市。"]),
        ("ប្រជាជន។ សិស្ស", ["ប្រជាជន។", "សិស្ស"]),
        ("A heading\n\nA text", ["A heading", "A text"]),
        (" ", []),
    ],
)
def test_sentences_are_slices(text: str, cut: list[str]) -> None:
    """Sentences end at their marks or their lines and stay as written."""
    assert sentences(text) == cut
