# SPDX-License-Identifier: Apache-2.0
"""The commands that match without a server: `match` over listing files, `search` over plain texts.

Both run the very engine that the matching workers run. Heavy libraries are imported inside the commands, so
that asking for help stays quick.
"""

import gc
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from twinning.terms import Assignment, Band, SuggestionKind

if TYPE_CHECKING:
    from services.cli.listing_files import Listed
    from services.matcher.engine.corpus import Corpus
    from services.matcher.engine.index import Match
    from services.matcher.engine.pairing import Pair


SEARCHED = 2048
"""Queries that are searched for at once."""


class LeastBand(StrEnum):
    """The lowest band that is shown; `all` shows what lies below the bands, too."""

    STRONG = Band.STRONG.value
    POSSIBLE = Band.POSSIBLE.value
    WEAK = Band.WEAK.value
    ALL = "all"


class MatchFormat(StrEnum):
    """How matches are printed."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    TREC = "trec"


class SearchFormat(StrEnum):
    """How a search run is printed."""

    TREC = "trec"
    JSONL = "jsonl"


class Stopwatch:
    """Seconds of each stage of a command, printed when asked for."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside, on top of what the stage took before."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - begun

    def tell(self) -> None:
        """Print the stages on standard error."""
        for name, seconds in self._seconds.items():
            print(f"{name}: {seconds:.3f} s", file=sys.stderr)


def _stop(error: Exception) -> NoReturn:
    """End with the exit code of bad input."""
    print(error, file=sys.stderr)
    raise typer.Exit(2) from error


def _watched(items: Sequence[Any], name: str) -> Iterable[Any]:
    """The items, with a progress bar on a terminal and nothing in a pipe."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description=name, console=Console(stderr=True), transient=True)


InputFile = Annotated[Path, typer.Option(exists=True, dir_okay=False, readable=True)]
Timings = Annotated[bool, typer.Option("--timings", help="Print the seconds of each stage on stderr.")]


def match(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="CSV, XLSX, JSON Lines."),
    ],
    kind: Annotated[SuggestionKind, typer.Option(help="What to propose.")],
    top: Annotated[
        int, typer.Option(min=1, help="So many for each need (twinnings, seminars, balanced: for each city).")
    ] = 10,
    assignment: Annotated[Assignment, typer.Option(help="How partners are handed out.")] = Assignment.TOP,
    min_band: Annotated[LeastBand, typer.Option(help="The lowest band to show.")] = LeastBand.POSSIBLE,
    output: Annotated[MatchFormat, typer.Option("--format", help="How to print.")] = MatchFormat.TABLE,
    timings: Timings = False,
) -> None:
    """Match the practices and needs of some files, without a server."""
    from services.cli.input_files import BadInput
    from services.cli.listing_files import read_listings
    from services.cli.printing import PAIR_PRINTERS

    watch = Stopwatch()
    with watch.stage("read"):
        try:
            listed = read_listings(files)
        except BadInput as error:
            _stop(error)
    with watch.stage("index"):
        corpus = _corpus_of(listed)
    with watch.stage("match"):
        least = None if min_band is LeastBand.ALL else min_band.value
        pairs = _found(corpus, kind, assignment, top, least)
    with watch.stage("write"):
        PAIR_PRINTERS[output](corpus, listed, pairs)
    if timings:
        watch.tell()


def _corpus_of(listed: "Listed") -> "Corpus":
    """The engine's catalogue of what the files hold; a listing's key is its kind and reference."""
    from services.matcher.engine.corpus import CityFacts, Corpus
    from services.matcher.engine.text import count_terms
    from twinning.reference import region_of

    corpus = Corpus()
    for city in listed.cities.values():
        partners = {name for told in city.facts.existing_partners for name in (told, told.strip().casefold())}
        corpus.put_city(
            CityFacts(city.ref, city.facts.name, region_of(city.facts.country), frozenset(partners))
        )
    corpus.put_listings(
        (
            (key, text.kind, text.city_ref, count_terms(text.text, text.language))
            for key, text in _watched(list(listed.texts.items()), "Reading")
        ),
        {key: text.exchange for key, text in listed.texts.items()},
    )
    corpus.recut()
    return corpus


def _found(
    corpus: "Corpus", kind: SuggestionKind, assignment: Assignment, top: int, min_band: str | None
) -> list["Pair"]:
    """What is proposed, best first."""
    from services.matcher.engine.balance import propose_balanced, propose_balanced_seminars
    from services.matcher.engine.pairing import propose
    from services.matcher.engine.seminars import propose_seminars

    if kind is SuggestionKind.SEMINAR and assignment is Assignment.BALANCED:
        return propose_balanced_seminars(corpus, corpus.cities, top, min_band)
    if kind is SuggestionKind.SEMINAR:
        return propose_seminars(corpus, corpus.cities, top, min_band)
    if assignment is Assignment.BALANCED:
        return propose_balanced(corpus, kind, _watched(corpus.cities, "Matching"), top, min_band)
    if kind is SuggestionKind.STUDY_VISIT:
        return _study_visits(corpus, top, min_band)
    return propose(corpus, kind, _watched(corpus.cities, "Matching"), top, min_band)


def _study_visits(corpus: "Corpus", top: int, min_band: str | None) -> list["Pair"]:
    """The best practices of each need, gathered into visits."""
    from services.matcher.engine.pairing import best_pairs, study_visit
    from services.matcher.engine.store import NEED

    grounds: dict[tuple[Any, Any], list[Match]] = {}
    for need in _watched(sorted(corpus.index.keys(NEED), key=str), "Matching"):
        for found in corpus.matches(need, min_band, depth=top, kind=SuggestionKind.STUDY_VISIT):
            cities = corpus.city_of(found.practice), corpus.city_of(need)
            grounds.setdefault(cities, []).append(found)
    return best_pairs(study_visit(*cities, matches) for cities, matches in grounds.items())


def _texts(path: Path) -> dict[str, str]:
    """The texts of a file by id, a title once before its text."""
    from services.cli.input_files import json_rows

    texts: dict[str, str] = {}
    for place, row in json_rows(path):
        for name in ("id", "text"):
            if name not in row:
                raise place.refuse(name, "is missing")
        told = {"title": row.get("title") or "", "text": row["text"]}
        for name, part in told.items():
            if not isinstance(part, str):
                raise place.refuse(name, "is not a text")
        key = str(row["id"])
        if not key or key.split() != [key]:
            raise place.refuse("id", f"{key!r} is empty or holds a blank")
        if key in texts:
            raise place.refuse("id", f"{key!r} stands twice")
        texts[key] = "\n".join(part for part in told.values() if part)
    return texts


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no cycles: there is none among hundreds of thousands of matches, and looking takes long."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@_uncollected()
def search(
    corpus: InputFile,
    queries: InputFile,
    top: Annotated[int, typer.Option(min=1, help="So many for each query.")] = 100,
    output: Annotated[SearchFormat, typer.Option("--format", help="How to print.")] = SearchFormat.TREC,
    timings: Timings = False,
) -> None:
    """Search plain {"id", "text"} JSON Lines with the engine: for measuring it on public collections."""
    from services.cli.input_files import BadInput
    from services.cli.rankings import RANKING_PRINTERS
    from services.matcher.engine.index import MatchIndex
    from services.matcher.engine.store import NEED, PRACTICE
    from services.matcher.engine.words import Vocabulary

    watch = Stopwatch()
    with watch.stage("read"):
        try:
            sides = ((PRACTICE, _texts(corpus)), (NEED, _texts(queries)))
        except BadInput as error:
            _stop(error)
    with watch.stage("count"):
        vocabulary = Vocabulary()
        counted = [(kind, texts, vocabulary.count([*texts.values()])) for kind, texts in sides]
    with watch.stage("index"):
        index = MatchIndex()
        for kind, texts, counts in counted:
            # A query may have a document's id; documents keep theirs, which decide between equal scores.
            keys = texts if kind == PRACTICE else ((NEED, query) for query in texts)
            index.put_texts([(key, kind, None) for key in keys], counts)
    asked = list(sides[1][1])
    for first in _watched(range(0, len(asked), SEARCHED), "Searching"):
        some = asked[first : first + SEARCHED]
        with watch.stage("search"):
            found = index.rank_many([(NEED, query) for query in some], limit=top)
        with watch.stage("write"):
            for query, matches in zip(some, found.values(), strict=True):
                RANKING_PRINTERS[output](query, ((str(its.practice), its.score) for its in matches))
    if timings:
        watch.tell()
