# SPDX-License-Identifier: Apache-2.0
"""What a field of a form takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from twinning import fields

TEXT: TypeAdapter[str] = TypeAdapter(fields.Text)
# Whatever parts words and may be stored: all four of ASCII, and some of the many others.
BLANKS = [" ", "\n", "\r", "\t", "\u0085", "\u00a0", "\u2003", "\u3000"]


def _takes(text: str) -> bool:
    try:
        TEXT.validate_python(text)
    except ValidationError:
        return False
    return True


@given(
    st.integers(fields.MOST_WORDS - 2, fields.MOST_WORDS + 2),
    st.lists(st.sampled_from(BLANKS), min_size=1, max_size=3),
    st.lists(st.sampled_from(BLANKS[:4]), min_size=1, max_size=2),
    st.sampled_from(["word", "of", "où"]),
)
def test_a_text_has_so_many_words_at_most(count: int, blanks: list[str], plain: list[str], word: str) -> None:
    """Whichever blanks part the words, and however many of them, the limit of words is the same."""
    for between in ("".join(blanks), "".join(plain)):
        assert _takes(between.join([word] * count)) == (count <= fields.MOST_WORDS)


@pytest.mark.parametrize("blank", BLANKS[:4])
def test_blanks_alone_are_no_words(blank: str) -> None:
    """A text of few words and many blanks has few words."""
    assert _takes("word" + 3 * fields.MOST_WORDS * blank + "word")
