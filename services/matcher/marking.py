# SPDX-License-Identifier: Apache-2.0
"""The marks of many texts, as imports need them: those of `repeats`, in a third of the time."""

from services.matcher.engine.neighbours import smallest_sums
from twinning import repeats


def marks_of(city_id: str, kind: str, text: str) -> tuple[int, ...]:
    """Mark a text of a city's practice or need, as `repeats.marks_of` does."""
    return repeats.spread(city_id, kind, smallest_sums(repeats.spoken(text), repeats.MARKS))
