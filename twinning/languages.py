# SPDX-License-Identifier: Apache-2.0
"""In which language a text is written: the script says it where it can, a small model where it cannot.

Matching treats English and other languages differently, and English is what most listings are in. So a text
is taken for English unless much speaks against it: a short English title must never become something else.
"""

import re
from collections.abc import Collection, Mapping
from functools import cache
from threading import Lock
from typing import Any, Final

ENGLISH: Final = "en"

FEWEST_WORDS: Final = 6
"""Shorter texts are not told apart by the model: their letters are too few."""

LEAST_CONFIDENCE: Final = 0.6
"""How sure the model has to be that a text is in another language than English, from 0 to 1."""

SCRIPT_SHARE: Final = 0.3
"""Share of a text's letters from which on a script of its own decides; names and quotes stay below."""

_MOST_CHARACTERS: Final = 2000

# Scripts in which, among ASEM's partners, one language is written. Kana stands with Han in Japanese texts.
_SCRIPTS: Mapping[str, re.Pattern[str]] = {
    "ko": re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    "ja": re.compile(r"[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]"),
    "zh": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"),
    "th": re.compile(r"[\u0e01-\u0e5b]"),
    "lo": re.compile(r"[\u0e81-\u0edf]"),
    "km": re.compile(r"[\u1780-\u17ff]"),
    "my": re.compile(r"[\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f]"),
}
_LETTER = re.compile(r"[^\W\d_]")
_OWN_SCRIPT = re.compile("|".join(pattern.pattern for pattern in _SCRIPTS.values()))
# From this share of kana in Han and kana together on a text is Japanese; Chinese ones only quote some.
_KANA_SHARE: Final = 0.1

# The other official languages of ASEM's partner countries that the model knows.
_MODELLED = [
    "bg", "bn", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "ga", "hi", "hr", "hu", "id", "it",
    "kk", "lb", "lt", "lv", "mn", "ms", "mt", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "ta",
    "tl", "ur", "vi",
]  # fmt: skip

# Near twins share most of their words, so the model's certainty is divided between them.
_TWINS: Mapping[str, str] = {"id": "ms", "ms": "id", "da": "no", "no": "da", "cs": "sk", "sk": "cs"}

# Words that English has alone and every text in it has often; they spare it the model.
_ENGLISH_WORDS = frozenset(
    """
    and are been each from how into its many our people that the their these they this what when where which
    who with
    """.split()  # noqa: SIM905  (as they would stand in a text)
)
_PLAINLY_ENGLISH: Final = 1 / 12
_WORDS_LOOKED_AT: Final = 60

_loading = Lock()


def detect(text: str, likely: Collection[str] = ()) -> str:
    """Give the ISO 639-1 code of the language of a text; English where it cannot be told.

    Of near twins (Indonesian and Malay, Danish and Norwegian, Czech and Slovak) the one counts that `likely`
    names, where it names just one.
    """
    text = text[:_MOST_CHARACTERS]
    by_script = _by_script(text)
    if by_script is not None:
        return by_script
    if _is_plainly_english(text.lower()):
        return ENGLISH
    sure: dict[str, float] = dict(_model().rank(text))
    found = max(sure, key=lambda language: (sure[language], language))
    twin = _TWINS.get(found)
    if sure[found] + sure.get(twin or "", 0.0) < LEAST_CONFIDENCE:
        return ENGLISH
    return twin if twin and twin in likely and found not in likely else found


def _is_plainly_english(lowered: str) -> bool:
    """Say whether a text is short, or has a good share of words that English has alone."""
    words: list[str] = []
    # Half of them mostly have as many English ones as all would need.
    for most in (_WORDS_LOOKED_AT // 2, _WORDS_LOOKED_AT):
        words = lowered.split(maxsplit=most)[:most]
        english = sum(map(_ENGLISH_WORDS.__contains__, words))
        if english >= _PLAINLY_ENGLISH * _WORDS_LOOKED_AT:
            return True
    return len(words) < FEWEST_WORDS or english >= _PLAINLY_ENGLISH * len(words)


def _by_script(text: str) -> str | None:
    """The language that a text's script decides; None for Latin, Greek, Cyrillic and others."""
    if _is_western(text) or not _OWN_SCRIPT.search(text):
        return None
    letters = len(_LETTER.findall(text)) or 1
    count = {language: len(pattern.findall(text)) for language, pattern in _SCRIPTS.items()}
    if count["ja"] and count["ja"] >= _KANA_SHARE * (count["ja"] + count["zh"]):
        count["ja"] += count.pop("zh")
    found = max(count, key=lambda language: count[language])
    return found if count[found] >= SCRIPT_SHARE * letters else None


def _is_western(text: str) -> bool:
    """Say whether a text has letters of Western Europe alone: a tenth of the time of a search for others."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _model() -> Any:
    """The model, read once by whoever needs it first: about a second, and 100 MB."""
    with _loading:
        return _read_model()


@cache
def _read_model() -> Any:
    # The library and its arrays are for those processes only that meet a text.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model.set_languages(_MODELLED)
    return model
