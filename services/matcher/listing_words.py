# SPDX-License-Identifier: Apache-2.0
"""The words of a listing that the matching reads: what its city wrote, and what it chose from our lists."""

from twinning.listings import WRITTEN, Listing
from twinning.reference import THEMES


def body_of(listing: Listing) -> str:
    """Lay out what was written under a listing's title."""
    parts: list[str | None] = [getattr(listing, name) for name in WRITTEN[1:]]
    return "\n".join(part for part in parts if part)


def labels_of(listing: Listing) -> tuple[str, ...]:
    """Give the labels of a listing's themes and its target groups, which are matched as words."""
    return (
        *(THEMES[theme].label for theme in listing.themes if theme in THEMES),
        *listing.target_groups,
    )


def text_of(listing: Listing) -> str:
    """Lay out all that is matched of a listing, each part once."""
    return "\n".join((listing.title, body_of(listing), *labels_of(listing)))
