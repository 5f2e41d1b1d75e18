# SPDX-License-Identifier: Apache-2.0
"""The kinds of field that requests are made of: what they take, and the sentence that refuses the rest."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from twinning.reference import COUNTRIES, THEMES, region_of

Item = TypeVar("Item")

MOST_WORDS = 500
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# ISO 639-1, all of its codes.
_LANGUAGES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv
    dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie
    ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv
    mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm
    rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts
    tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()  # noqa: SIM905  (one word a code reads better than 183 literals)
)
_REFERENCE = re.compile(r"[^\s/?#]{1,200}\Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    rf"{_DAY.pattern}[Tt ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}([.][0-9]+)?([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})"
)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,253}\Z")


class Shape(BaseModel):
    """The base of every request and answer: unknown fields are refused by name."""

    # An error of ours that reaches the log must not quote what somebody wrote.
    model_config = ConfigDict(extra="forbid", from_attributes=True, hide_input_in_errors=True)


def unfit(words: str, *at: str) -> PydanticCustomError:
    """Say what is wrong with a part of what is looked at, or between parts, and which has to change."""
    return PydanticCustomError("unfit", "{words}", {"words": words, "at": at})


def _storable(text: str) -> str:
    """Refuse what no database or terminal should be handed: control characters and lone surrogates."""
    # What can be printed holds none of them, which is told in a fifth of the time of a search.
    if not text.isprintable() and (found := _CONTROL.search(text)):
        raise ValueError(f"holds the character U+{ord(found.group()):04X}, which cannot be stored")
    return text


def _said(text: str) -> str:
    """Refuse a text that says nothing."""
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _within_words(text: str) -> str:
    """Hold the limit of words that the forms of city networks know, too."""
    # A short text cannot have so many, with a blank between any two.
    if len(text) > 2 * MOST_WORDS and (words := len(text.split())) > MOST_WORDS:
        raise ValueError(f"has {words} words; at most {MOST_WORDS} are taken")
    return text


def _partner_country(code: str) -> str:
    """Take ISO 3166-1 alpha-2 codes of ASEM partners only, and say so by name."""
    region_of(code)
    return code


def _language(code: str) -> str:
    if code not in _LANGUAGES:
        raise ValueError(f"{code!r} is not a language code of two small letters (ISO 639-1)")
    return code


def _theme(identifier: str) -> str:
    if identifier not in THEMES:
        raise ValueError(f"{identifier!r} is not a theme; GET /v1/reference/themes lists them")
    return identifier


def _reference(text: str) -> str:
    if not _REFERENCE.match(text):
        raise ValueError("takes 1 to 200 characters without blanks, '/', '?' and '#'")
    return text


def _email(text: str) -> str:
    if not _EMAIL.match(text):
        raise ValueError("is not an e-mail address")
    return text


def _day(value: object) -> object:
    """Take a day as RFC 3339 writes it; a mere number is none, whatever it could be counted from."""
    if isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value)):
        return value
    raise ValueError("is not a day such as 2027-01-31")


def _moment(value: object) -> object:
    """Take a moment as RFC 3339 writes it, with its zone."""
    if isinstance(value, datetime) or (isinstance(value, str) and _MOMENT.fullmatch(value)):
        return value
    raise ValueError("is not a moment with its time zone, such as 2027-01-31T00:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    """Give a moment in UTC; refuses those at the ends of time, which another zone could not name."""
    if not 1 < moment.year < 9999:
        raise ValueError("is no moment that every time zone can name")
    return moment.astimezone(UTC)


def once(values: list[Item]) -> list[Item]:
    """Refuse a list that names a thing twice."""
    if len(set(values)) != len(values):
        raise ValueError("names something twice")
    return values


def _months(values: list[int]) -> list[int]:
    if len(set(values)) != len(values):
        raise ValueError("names a month twice")
    return sorted(values)


def _shown(**keywords: Any) -> FieldInfo:
    """Say in the JSON Schema what a validator of ours asks for, so that readers and generators know it."""
    info: FieldInfo = Field(json_schema_extra=keywords)
    return info


_PLAIN = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_STORABLE = _shown(pattern=rf"^{_PLAIN}*$")
_SAID = _shown(pattern=rf"^{_PLAIN}*[^\s\x00-\x1f\x7f]{_PLAIN}*$")
_UNIQUE = _shown(uniqueItems=True)

_Clean = Annotated[str, AfterValidator(_storable)]

Line = Annotated[
    str, StringConstraints(max_length=300), AfterValidator(_storable), AfterValidator(_said), _SAID
]
Note = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_storable), _STORABLE]
Text = Annotated[
    str,
    StringConstraints(max_length=20_000),
    AfterValidator(_storable),
    AfterValidator(_within_words),
    _STORABLE,
]
SaidText = Annotated[Text, AfterValidator(_said), _SAID]
Reference = Annotated[
    _Clean, AfterValidator(_reference), _shown(pattern=_REFERENCE.pattern.replace(r"\Z", "$"))
]
CountryCode = Annotated[_Clean, AfterValidator(_partner_country), _shown(enum=sorted(COUNTRIES))]
Language = Annotated[_Clean, AfterValidator(_language), _shown(enum=sorted(_LANGUAGES))]
Languages = Annotated[list[Language], Field(max_length=20), AfterValidator(once), _UNIQUE]
Theme = Annotated[_Clean, AfterValidator(_theme), _shown(enum=list(THEMES))]
Themes = Annotated[list[Theme], Field(max_length=20), AfterValidator(once), _UNIQUE]
Lines = Annotated[list[Line], Field(max_length=50), AfterValidator(once), _UNIQUE]
Countries = Annotated[list[CountryCode], Field(max_length=60), AfterValidator(once), _UNIQUE]
Ids = Annotated[list[Annotated[_Clean, StringConstraints(max_length=64)]], Field(max_length=1000)]
Email = Annotated[_Clean, AfterValidator(_email)]
Website = Annotated[
    str,
    StringConstraints(max_length=2000, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+([/?#]\S*)?$"),
    AfterValidator(_storable),
]
Count = Annotated[int, Strict(), Field(ge=0, le=1_000_000_000)]
Latitude = Annotated[float, Strict(), Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Strict(), Field(ge=-180, le=180, allow_inf_nan=False)]
Months = Annotated[
    list[Annotated[int, Strict(), Field(ge=1, le=12)]], Field(max_length=12), AfterValidator(_months), _UNIQUE
]
Flag = Annotated[bool, Strict()]
Day = Annotated[date, BeforeValidator(_day)]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment), AfterValidator(_in_utc)]
