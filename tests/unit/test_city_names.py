# SPDX-License-Identifier: Apache-2.0
"""The rules by which two names mean one city, and where the gazetteer says that cities lie."""

from collections.abc import Iterable
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinning import gazetteer
from twinning.city_names import Named, is_same
from twinning.reference import COUNTRIES
from twinning.spelling import fold, slipped, slips, spellings

NAMES = st.text(max_size=12) | st.text("abcdeö ", min_size=6, max_size=9)


@pytest.mark.parametrize(
    ("one", "other", "country"),
    [
        ("Okayama", "Okoyama", "JP"),
        ("Okayama", "岡山市", "JP"),
        ("Ho Chi Minh City", "Saigon", "VN"),
        ("Sài Gòn", "Ho Chi Minh", "VN"),
        ("Mumbai", "Bombay", "IN"),
        ("Köln", "Cologne", "DE"),
        ("Köln", "KOELN", "DE"),
        ("Munich", "München", "DE"),
        ("Pécs", "Pecs", "HU"),
        ("Larissa", "Λάρισα", "GR"),
        ("Câmara de Lobos", "Camara-de-Lobos", "PT"),
        ("Suwon", "수원시", "KR"),
        ("Suwon-si", "City of Suwon", "KR"),
        ("Limerick", "Limerick City", "IE"),
        ("Gelsenkirchen", "Gelsenkrichen", "DE"),
        ("A town of no table", "A town of no tabel", "IE"),
    ],
)
def test_one_city_under_two_names(one: str, other: str, country: str) -> None:
    """Accents, other names, other scripts, what offices add and a slip of one letter make no second city."""
    first, second = Named(one, country), Named(other, country)

    assert is_same(first, second)
    assert is_same(second, first)


@pytest.mark.parametrize(
    ("one", "other", "country"),
    [
        ("Suzhou", "Fuzhou", "CN"),
        ("Suzhou", "Suizhou", "CN"),
        ("Fukuyama", "Fukuoka", "JP"),
        ("Bonn", "Born", "DE"),
        ("Aachen", "Achern", "DE"),
        ("Ward 4", "Ward 5", "SG"),
        ("Learning City 11", "Learning City 12", "IE"),
        ("District A", "District B", "IE"),
        ("수원", "수완", "KR"),
        ("Cork", "Limerick", "IE"),
    ],
)
def test_two_cities_of_like_names(one: str, other: str, country: str) -> None:
    """What the table knows as two is two; a number, a lone letter or a first letter is no slip."""
    assert not is_same(Named(one, country), Named(other, country))


def test_cities_that_lie_apart_are_two() -> None:
    """Two cities of one name are two when both say where they lie and that is far apart, and else one."""
    jiangsu, anhui = (31.304, 120.595), (33.636, 116.979)

    assert not is_same(Named("Suzhou", "CN", jiangsu), Named("Suzhou", "CN", anhui))
    assert is_same(Named("Suzhou", "CN", jiangsu), Named("Suzhou", "CN", (31.3, 120.6)))
    assert is_same(Named("Suzhou", "CN", jiangsu), Named("Suzhou", "CN"))


@given(one=NAMES, other=NAMES)
def test_what_is_the_same_shares_a_key(one: str, other: str) -> None:
    """Whatever two names are, if they mean one city they are found by a key in common."""
    first, second = Named(one, "DE"), Named(other, "DE")
    if is_same(first, second):
        assert set(first.found_by()) & set(second.found_by())


def test_wards_are_not_held_against_each_other() -> None:
    """Names that differ in a number share no key, so that a hundred of them cost no more to tell apart."""
    assert not set(Named("Harbour Ward 12", "DE").found_by()) & set(Named("Harbour Ward 13", "DE").found_by())


@given(name=st.text("abcdefö-' ", min_size=7, max_size=12), data=st.data())
def test_every_slip_shares_a_key(name: str, data: st.DataObject) -> None:
    """A letter more, less, other, or two that changed places: a slip is found by a key in common."""
    place = data.draw(st.integers(1, len(name) - 1))
    letter = data.draw(st.sampled_from("abcdef"))
    slip = data.draw(
        st.sampled_from(
            [
                name[:place] + letter + name[place:],
                name[:place] + name[place + 1 :],
                name[:place] + letter + name[place + 1 :],
                name[: place - 1] + name[place : place + 1] + name[place - 1 : place] + name[place + 1 :],
            ]
        )
    )
    one, other = fold(name), fold(slip)
    if slipped(one, other):
        assert ({one} | slips(one)) & ({other} | slips(other))


@given(name=st.text(min_size=1, max_size=40))
def test_every_name_has_a_spelling(name: str) -> None:
    """No name folds to nothing, so that no two cities are alike for want of letters."""
    assert fold(name)
    assert all(spellings(name))
    assert all(len(key) <= 110 for key in Named(name, "DE").found_by())


def test_the_table_is_small_and_of_asem() -> None:
    """It weighs less than 600 kB, knows each partner country, and has each city once."""
    places = gazetteer.places()

    assert len((files("twinning") / "data" / "gazetteer.tsv").read_bytes()) < 600_000
    assert {place.country for place in places} == set(COUNTRIES)
    assert len({place.id for place in places}) == len(places)
    assert all(_is_on_earth(place.point) for place in places)


def _is_on_earth(point: Iterable[float]) -> bool:
    latitude, longitude = point
    return -90 <= latitude <= 90 and -180 <= longitude <= 180


@pytest.mark.parametrize(
    ("name", "country", "place"),
    [
        ("Okayama", "JP", (34.65, 133.93)),
        ("Bombay", "IN", (19.07, 72.88)),
        ("limerick", "IE", (52.66, -8.62)),
        ("Valletta", "MT", (35.90, 14.51)),
        ("Okoyama", "JP", None),
        ("Okayama", "KR", None),
        ("Suzhou", "CN", None),
    ],
)
def test_where_a_name_lies(name: str, country: str, place: tuple[float, float] | None) -> None:
    """A name of the country is found, in any spelling that is its own; what is unsure or unknown is not."""
    found = gazetteer.find(name, country)

    assert (found and tuple(round(each, 2) for each in found.point)) == (
        place and pytest.approx(place, abs=0.02)
    )
