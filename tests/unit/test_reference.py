# SPDX-License-Identifier: Apache-2.0
"""The rules of the reference lists: who is a partner, on which side, and what a theme is called."""

from collections import Counter
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinning.reference import COUNTRIES, THEMES, asia_and_europe, region_of


def test_fifty_one_countries_take_part() -> None:
    """Twenty-one countries sit on the Asian side and thirty on the European one."""
    assert Counter(country.region for country in COUNTRIES.values()) == {"asia": 21, "europe": 30}


@pytest.mark.parametrize(
    ("code", "region"),
    [
        ("AU", "asia"), ("NZ", "asia"), ("RU", "asia"), ("KZ", "asia"), ("MN", "asia"), ("PK", "asia"),
        ("GB", "europe"), ("NO", "europe"), ("CH", "europe"), ("CY", "europe"), ("IE", "europe"),
    ],
)  # fmt: skip
def test_region_is_asems_not_the_atlas(code: str, region: str) -> None:
    """The region is the side of ASEM on which a country sits, whatever continent it lies on."""
    assert region_of(code) == region


@pytest.mark.parametrize(
    "code", ["TR", "TL", "US", "UA", "IL", "EU", "", "Ireland", "ie", "IRL", " IE", "I\x00"]
)
def test_what_is_no_partners_code_is_refused_by_name(code: str) -> None:
    """A country outside ASEM, and anything but an alpha-2 code in capitals, is refused, and named."""
    with pytest.raises(ValueError, match="ASEM partner") as refusal:
        region_of(code)
    assert repr(code) in str(refusal.value)


@given(st.text(max_size=4))
def test_every_string_has_a_region_or_a_refusal(code: str) -> None:
    """Whatever is asked, the answer is one of two regions for a partner and a ValueError for the rest."""
    if code in COUNTRIES:
        assert region_of(code) in {"asia", "europe"}
    else:
        with pytest.raises(ValueError, match="ASEM partner"):
            region_of(code)


def test_each_group_of_themes_is_whole() -> None:
    """The themes are six building blocks, twelve focal areas, seven clusters and seventeen goals."""
    groups = Counter(theme.group for theme in THEMES.values())
    assert groups == {"building_block": 6, "focal_area": 12, "cluster": 7, "sdg": 17}


def test_theme_ids_are_in_lower_case_and_their_own_keys() -> None:
    """A theme is found under its own id, which is in lower case."""
    assert all(key == theme.id == theme.id.lower() for key, theme in THEMES.items())


def test_a_focal_area_that_is_a_building_block_bears_its_label() -> None:
    """Where the taxonomy says that a focal area is a building block, both are called the same."""
    assert THEMES["kf2.3"].label == THEMES["bb3"].label == "Effective learning for and in the workplace"
    assert THEMES["sdg-4"].label == "Quality education"
    assert THEMES["cl7"].label == "Literacy"
    assert THEMES["kf1.1"].label == "Individual empowerment and social cohesion"


def test_reference_lists_cannot_be_changed() -> None:
    """Neither a list nor an entry of it can be changed by the one who reads it."""
    with pytest.raises(TypeError):
        COUNTRIES["TR"] = COUNTRIES["GR"]  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        COUNTRIES["GR"].region = "asia"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("latitude", "longitude", "x", "y"),
    [(0, -26, 0.0, 429.6), (0, 77, 500.0, 429.6), (72, 180, 1000.0, 0.0), (-48, 180, 1000.0, 682.0)],
)
def test_the_map_places_known_points(latitude: float, longitude: float, x: float, y: float) -> None:
    """The corners of the frame and the equator fall where Miller's projection puts them."""
    assert asia_and_europe().place(latitude, longitude) == pytest.approx((x, y), abs=0.5)


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_every_city_has_a_place_in_the_drawing(latitude: float, longitude: float) -> None:
    """A place anywhere on the globe is drawn inside the frame, at its edge if need be."""
    drawn = asia_and_europe()
    x, y = drawn.place(latitude, longitude)
    assert 0 <= x <= drawn.width
    assert 0 <= y <= drawn.height


def test_the_drawing_is_two_elements_and_small_enough_to_inline() -> None:
    """The map is land and borders, loads nothing, and stays under 150 kB."""
    drawing = asia_and_europe().drawing
    assert drawing.count("<path") == 2
    assert "Natural Earth" in drawing
    assert "<svg" not in drawing
    assert "href" not in drawing
    assert len(drawing) < 150_000
