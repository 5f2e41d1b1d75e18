# SPDX-License-Identifier: Apache-2.0
"""The join: the same answers as brute force and as ranking one by one, to the last bit."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import random_array

from services.matcher.engine import join, joining, many
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.join import Join, Rows
from services.matcher.engine.store import Entry


def drawn(seed: int, rows: int, width: int, copies: int) -> Rows:
    """A sparse matrix with frequent and rare terms, empty rows, and copies of its first rows at its end."""
    rng = np.random.default_rng(seed)
    dense = random_array((rows, width), density=0.05, rng=rng).toarray()
    dense[:, : width // 20] = rng.random((rows, width // 20)) * 0.3
    dense[rows // 2] = 0.0
    dense[rows - copies :] = dense[:copies]
    columns = [np.flatnonzero(row) for row in dense]
    ptr = np.append(0, np.cumsum([len(each) for each in columns]))
    values = np.concatenate([row[each] for row, each in zip(dense, columns, strict=True)])
    return Rows(ptr, np.concatenate(columns).astype(np.int32), values.astype(np.float32))


def spread(rows: Rows, width: int) -> np.ndarray:
    """The matrix in full, in double precision."""
    full = np.zeros((len(rows), width))
    for row in range(len(rows)):
        inside = slice(rows.ptr[row], rows.ptr[row + 1])
        full[row, rows.terms[inside]] = rows.values[inside]
    return full


@pytest.mark.parametrize(
    ("rows", "width", "copies"), [(1, 40, 0), (70, 40, 30), (900, 300, 0), (3000, 6000, 500)]
)
def test_the_join_equals_brute_force(rows: int, width: int, copies: int) -> None:
    """Scores are those of the full product to 1e-9, sets differ in nothing but ties, ties stand by row.

    Whose city a row belongs to plays no part.
    """
    queries, practices = drawn(1, 60, width, 5), drawn(2, rows, width, copies)
    products = spread(queries, width) @ spread(practices, width).T
    city = np.random.default_rng(3).integers(0, 1 << 20, rows).astype(np.int32)

    scores, found = Join(practices, width, city).top(queries, 10)

    for query, line in enumerate(products):
        reached = min(10, int((line > 0.0).sum()))
        best = np.lexsort((np.arange(rows), -line.round(12)))[:reached]
        assert scores[query, :reached] == pytest.approx(line[best], abs=1e-9)
        assert line[found[query, :reached]] == pytest.approx(scores[query, :reached], abs=1e-9)
        assert (found[query, reached:] == -1).all()
        equal = scores[query, 1:reached] == scores[query, : max(0, reached - 1)]
        assert (np.diff(found[query, :reached])[equal] > 0).all()
        if copies:
            assert found[query, :reached].tolist() == best.tolist()


def test_small_blocks_and_bold_levels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """How rows are cut into blocks, and how much is left to the bound, is a matter of speed alone."""
    queries, practices = drawn(3, 80, 5000, 0), drawn(4, 2500, 5000, 100)
    expected = Join(practices, 5000).top(queries, 10)

    for block, boldness in ((64, 0.0), (256, 0.9), (8192, 5.0)):
        monkeypatch.setattr(join, "BLOCK", block)
        monkeypatch.setattr(join, "BOLDNESS", boldness)
        scores, rows = Join(practices, 5000).top(queries, 10)
        assert (scores == expected[0]).all()
        assert (rows == expected[1]).all()


def test_rows_on_a_query_s_theme_raise_its_bar_and_lose_nothing() -> None:
    """Where rows share their heaviest terms the bar starts high; the answers stay those of brute force."""
    rng = np.random.default_rng(5)
    width, sides = 400, []
    for rows in (90, 2000):
        dense = np.zeros((rows, width))
        dense[:, :20] = rng.random((rows, 20)) * 0.2
        themes = rng.integers(0, 40, rows)
        dense[np.arange(rows), 20 + themes] = 0.9
        dense[np.arange(rows), rng.integers(60, width, rows)] = 0.3
        ptr = np.append(0, np.cumsum((dense > 0).sum(axis=1)))
        sides.append(Rows(ptr, np.nonzero(dense)[1].astype(np.int32), dense[dense > 0].astype(np.float32)))
    queries, practices = sides
    products = spread(queries, width) @ spread(practices, width).T

    scores, found = Join(practices, width).top(queries, 10)

    assert scores == pytest.approx(-np.sort(-products, axis=1)[:, :10], abs=1e-9)
    assert np.take_along_axis(products, found, axis=1) == pytest.approx(scores, abs=1e-9)


def test_masks_and_floors_lose_nothing_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """In small and large blocks alike the best allowed rows are selected, and all that reach the floor."""
    queries, practices = drawn(6, 40, 800, 0), drawn(7, 2300, 800, 200)
    products = spread(queries, 800) @ spread(practices, 800).T
    rng = np.random.default_rng(8)
    city = rng.integers(0, 9, 2300).astype(np.int32)
    masks = np.vstack([np.ones(9, np.bool_), rng.random((4, 9)) < 0.5])
    mask_of = np.arange(40) % 5
    allowed = masks[mask_of][:, city]
    floors = np.maximum(np.quantile(products, np.linspace(0.97, 1.0, 40), axis=1).diagonal(), 1e-6)

    for opening, block in ((64, 64), (128, 512), (1024, 16_384)):
        monkeypatch.setattr(join, "OPENING", opening)
        monkeypatch.setattr(join, "BLOCK", block)
        found = Join(practices, 800, city).select(queries, 8, join.Asked(floors, masks, mask_of), 300)

        for query, line in enumerate(np.where(allowed, products, 0.0)):
            held = found.rows[query][found.rows[query] >= 0]
            assert allowed[query, held].all()
            assert np.delete(line, held).max() <= found.lost[query] <= np.sort(line)[-8] * (1.0 + 1e-3)
            reached = found.above[query, : found.above_count[query]]
            assert set(np.flatnonzero(line >= floors[query])) <= set(reached.tolist())
            assert allowed[query, reached].all()


@given(st.lists(st.floats(0, 1, width=32), max_size=200), st.lists(st.floats(0, 1, width=32), min_size=1))
def test_a_raised_bar_is_exceeded_by_as_many_as_a_heap_holds(scores: list[float], heap: list[float]) -> None:
    """The bar never lies above the last of the best, so none of them is lost to it."""
    held, others = np.array(sorted(heap), np.float32), np.zeros(256, np.float32)
    others[: len(scores)] = scores
    others[len(scores) :] = 9.0

    bar = joining._raised(others, len(scores), held)

    both = np.sort(np.append(held, np.array(scores, np.float32)))
    assert held[0] <= bar <= both[-len(held)]


# Two of them are synonyms, which widen a need.
WORDS = [*(f"w{number}" for number in range(38)), "kindergarten", "preschool"]
COUNTS = st.dictionaries(st.sampled_from(WORDS), st.integers(1, 4), max_size=8)
TEXTS = st.lists(st.tuples(COUNTS, st.integers(1, 4)), max_size=25)


def catalogue(
    needs: list[tuple[dict[str, int], int]], practices: list[tuple[dict[str, int], int]]
) -> list[Entry]:
    """Texts of six cities, each as often as its number says."""
    entries: list[Entry] = []
    for kind, texts in (("need", needs), ("practice", practices)):
        for counts, times in texts:
            entries.extend((f"{kind}{len(entries)}", kind, len(entries) % 6, counts) for _ in range(times))
    # Keys in another order than slots: ties must go by keys.
    return [
        (f"{number * 7919 % 1009:04}{key}", kind, city, counts)
        for number, (key, kind, city, counts) in enumerate(entries)
    ]


@given(
    TEXTS,
    TEXTS,
    st.floats(0.001, 1.2),
    st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=3),
    st.randoms(),
)
@settings(max_examples=150, deadline=None)
def test_many_needs_at_once_rank_as_one_by_one(
    needs: list[tuple[dict[str, int], int]],
    practices: list[tuple[dict[str, int], int]],
    floor: float,
    allowed: list[set[int]],
    chance: random.Random,
) -> None:
    """A block gives the very matches of `rank`, bits and order included, under masks, ties and removals."""
    entries = catalogue(needs, practices)
    index = MatchIndex(entries)
    for key, *_ in chance.sample(entries, len(entries) // 4):
        index.drop(key)
    masks = [None, *(index.mask(cities) for cities in allowed)]
    keys = index.keys("need")
    chosen = [masks[place % len(masks)] for place in range(len(keys))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many, "FEWEST_NEEDS", 0)
        patch.setattr(many, "FEWEST_PRACTICES", 0)
        patch.setattr(many, "PRACTICES_A_NEED", 10**9)
        found = index.rank_many(keys, chosen, floor)
        first = index.rank_many(keys, chosen, floor, 2)
        patch.setattr(many, "PRACTICES_A_PLACE", 0)
        best = {limit: index.rank_many(keys, chosen, 0.0, limit) for limit in (1, 3, 40)}

    assert found == {key: index.rank(key, mask, None, floor) for key, mask in zip(keys, chosen, strict=True)}
    assert first == {key: matches[:2] for key, matches in found.items()}
    for limit, matches in best.items():
        assert matches == {key: index.rank(key, mask, limit) for key, mask in zip(keys, chosen, strict=True)}
