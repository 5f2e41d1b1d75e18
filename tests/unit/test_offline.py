# SPDX-License-Identifier: Apache-2.0
"""Matching and searching files without a server."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from services.cli import offline
from services.cli.demo_data import DEMO

CITIES = [
    {"kind": "city", "ref": "suwon", "name": "Suwon", "country": "KR"},
    {"kind": "city", "ref": "cork", "name": "Cork", "country": "IE"},
    {"kind": "city", "ref": "espoo", "name": "Espoo", "country": "FI"},
]
NEED = {
    "kind": "need",
    "ref": "n1",
    "city_ref": "suwon",
    "title": "Family literacy",
    "description": "We want family literacy in our libraries.",
    "themes": ["sdg-4"],
}
PRACTICE = {
    "kind": "practice",
    "ref": "p1",
    "city_ref": "cork",
    "title": "Reading festival",
    "description": "Families read together. Literacy grows in libraries.",
    "themes": ["sdg-4"],
}
BACK = [
    NEED | {"ref": "n2", "city_ref": "cork", "title": "Computers", "description": "Older people ask."},
    PRACTICE | {"ref": "p2", "city_ref": "suwon", "title": "Seniors", "description": "Older people's."},
]
ROWS = [*CITIES, NEED, PRACTICE, *BACK]


def run(*arguments: object) -> Result:
    """One call of the command line."""
    app = typer.Typer()
    app.command()(offline.match)
    app.command()(offline.search)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A JSON Lines file of these rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_study_visits_come_as_suggestions(tmp_path: Path) -> None:
    """A JSON line is a suggestion with references as ids, and its reasons add up."""
    result = run("match", jsonl(tmp_path / "in.jsonl", ROWS), "--kind", "study_visit", "--format", "jsonl")

    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    visit = next(each for each in found if each["cities"][0]["city_id"] == "cork")
    roles = [(city["city_id"], city["role"]) for city in visit["cities"]]
    assert roles == [("cork", "host"), ("suwon", "visitor")]
    (reason,) = visit["reasons"]
    assert (reason["need_id"], reason["practice_id"], reason["themes"]) == ("n1", "p1", ["sdg-4"])
    assert reason["need_quote"] == "We want family literacy in our libraries."
    total = sum(term["contribution"] for term in reason["terms"]) + reason["other"]
    assert total == pytest.approx(reason["score"], abs=1e-9)
    assert visit["score"] == pytest.approx(reason["score"], abs=1e-9)


def test_a_twinning_goes_both_ways(tmp_path: Path) -> None:
    """Two cities that answer each other are one twinning with a reason in each direction."""
    result = run("match", jsonl(tmp_path / "in.jsonl", ROWS), "--kind", "twinning", "--format", "jsonl")

    (found,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(city["city_id"], city["region"]) for city in found["cities"]] == [
        ("suwon", "asia"),
        ("cork", "europe"),
    ]
    assert {reason["need_city_id"] for reason in found["reasons"]} == {"suwon", "cork"}
    assert {way["learner_city_id"] for way in found["directions"]} == {"suwon", "cork"}


def test_a_run_file_ranks_within_each_need(tmp_path: Path) -> None:
    """A TREC line has six fields and ranks start at 1 for each need."""
    result = run("match", jsonl(tmp_path / "in.jsonl", ROWS), "--kind", "study_visit", "--format", "trec")

    lines = [line.split() for line in result.stdout.splitlines()]
    assert [(need, q0, practice, rank, name) for need, q0, practice, rank, _, name in lines] == [
        ("n1", "Q0", "p1", "1", "twinning"),
        ("n2", "Q0", "p2", "1", "twinning"),
    ]


def test_csv_goes_in_and_out(tmp_path: Path) -> None:
    """A CSV file with lists in bars says what its JSON twin says, and CSV out has a header."""
    names = [
        "kind",
        "ref",
        "name",
        "country",
        "city_ref",
        "title",
        "description",
        "themes",
        "existing_partners",
    ]
    path = tmp_path / "in.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({**row, "themes": "|".join(row.get("themes", []))} for row in ROWS)

    from_csv = run("match", path, "--kind", "study_visit", "--format", "csv")
    from_json = run("match", jsonl(tmp_path / "in.jsonl", ROWS), "--kind", "study_visit", "--format", "csv")

    assert from_csv.stdout == from_json.stdout
    rows = list(csv.DictReader(io.StringIO(from_csv.stdout)))
    assert {row["need"] for row in rows} == {"Family literacy", "Computers"}
    assert all(row["words"] and row["band"] for row in rows)
    assert {row["need_ref"] for row in rows} <= {row["ref"] for row in ROWS if row["kind"] == "need"}
    assert {row["practice_ref"] for row in rows} <= {row["ref"] for row in ROWS if row["kind"] == "practice"}


def test_the_table_is_for_people(tmp_path: Path) -> None:
    """The default output is a table; when nothing matches it says what to try."""
    path = jsonl(tmp_path / "in.jsonl", ROWS)

    table = run("match", path, "--kind", "study_visit").stdout
    assert all(word in table for word in ("Reading festival", "(Suwon)", "(Cork)", "strong"))
    only = jsonl(tmp_path / "none.jsonl", [*CITIES, NEED])
    assert "--min-band" in run("match", only, "--kind", "study_visit").stdout


def test_top_counts_per_need(tmp_path: Path) -> None:
    """With `--top 1` each need keeps its best practice alone."""
    second = {**PRACTICE, "ref": "p3", "city_ref": "espoo"}
    path = jsonl(tmp_path / "in.jsonl", [*ROWS, second])

    def lines(top: int) -> int:
        given = ("--kind", "study_visit", "--format", "trec", "--min-band", "all", "--top", top)
        return run("match", path, *given).stdout.count("n1 Q0")

    assert (lines(1), lines(5)) == (1, 2)


def readers(learners: int = 4, **hosting: Any) -> list[dict[str, Any]]:
    """Two cities that show reading, so many that want to learn it, and other wishes."""
    names = [(f"c{number}", ("KR", "IE")[number % 2]) for number in range(learners + 2)]
    rows = [{"kind": "city", "ref": ref, "name": ref.upper(), "country": land} for ref, land in names]
    for place, (ref, _) in enumerate(names):
        if place < 2:
            rows.append({**PRACTICE, "ref": f"p{place}", "city_ref": ref, "hosting": hosting or None})
        else:
            rows.append({**NEED, "ref": f"n{place}", "city_ref": ref})
    others = ["Older people ask for computers", "Rain gardens against floods", "Apprentices find employers"]
    rows += [
        {**NEED, "ref": f"o{place}", "city_ref": "c0", "title": text, "description": text, "themes": []}
        for place, text in enumerate(others)
    ]
    return rows


@pytest.mark.parametrize("output", ["table", "jsonl", "csv", "trec"])
def test_seminars_are_found_without_a_server(tmp_path: Path, output: str) -> None:
    """A seminar has its hosts first and the others as participants; every format tells its matches."""
    path = jsonl(tmp_path / "in.jsonl", readers())

    result = run("match", path, "--kind", "seminar", "--format", output)

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) >= {"jsonl": 1, "trec": 4, "csv": 5, "table": 5}[output]
    if output == "jsonl":
        (found,) = [json.loads(line) for line in result.stdout.splitlines()]
        participants = [(ref, "participant") for ref in ("c2", "c4", "c3", "c5")]
        cities = [(city["city_id"], city["role"]) for city in found["cities"]]
        assert cities == [("c0", "host"), ("c1", "host"), *participants]
        assert {way["learner_city_id"] for way in found["directions"]} == {"c2", "c3", "c4", "c5"}
    if output == "trec":
        pairs = {(line.split()[0], line.split()[2]) for line in result.stdout.splitlines()}
        assert pairs == {("n2", "p1"), ("n4", "p1"), ("n3", "p0"), ("n5", "p0")}


@pytest.mark.parametrize("kind", ["study_visit", "twinning"])
@pytest.mark.parametrize("output", ["table", "jsonl", "csv", "trec"])
def test_partners_are_shared_out_without_a_server(tmp_path: Path, kind: str, output: str) -> None:
    """With `balanced` and one partner a city nobody is asked twice in a role, and everybody has one."""
    back = [{**NEED, "ref": f"b{place}", "city_ref": f"c{place}"} for place in (0, 1)]
    more = [{**PRACTICE, "ref": f"q{place}", "city_ref": f"c{place}"} for place in range(2, 8)]
    path = jsonl(tmp_path / "in.jsonl", [*readers(6), *back, *more])
    given = ("--kind", kind, "--assignment", "balanced", "--top", 1, "--min-band", "all", "--format", output)

    result = run("match", path, *given)

    assert result.exit_code == 0
    assert result.stdout.strip()
    if output == "jsonl":
        found = [json.loads(line) for line in result.stdout.splitlines()]
        roles = [(city["city_id"], city["role"]) for each in found for city in each["cities"]]
        assert len(roles) == len(set(roles))
        assert {city for city, role in roles if role != "host"} == {f"c{place}" for place in range(8)}


def test_a_host_takes_as_many_as_it_says(tmp_path: Path) -> None:
    """What a practice's hosting states holds offline, too: visits a year, and whether it is shown at all."""
    given = ("--kind", "study_visit", "--assignment", "balanced", "--top", 2, "--format", "trec")

    def pairs(**hosting: Any) -> int:
        path = jsonl(tmp_path / "in.jsonl", readers(8, **hosting))
        return len(run("match", path, *given).stdout.splitlines())

    assert (pairs(), pairs(visits_per_year=1), pairs(visits_per_year=3)) == (4, 2, 6)
    assert pairs(offers_visits=False) == 0


def test_seminars_are_shared_out_without_a_server(tmp_path: Path) -> None:
    """Balanced seminars are those within everybody's room: a host that takes one visit a year hosts one."""
    given = ("--kind", "seminar", "--assignment", "balanced", "--format", "jsonl")

    def found(**hosting: Any) -> list[dict[str, Any]]:
        path = jsonl(tmp_path / "in.jsonl", readers(**hosting))
        result = run("match", path, *given)
        assert result.exit_code == 0
        return [json.loads(line) for line in result.stdout.splitlines()]

    [alone] = found()
    assert {city["city_id"] for city in alone["cities"]} == {f"c{place}" for place in range(6)}
    assert found(visits_per_year=1) == [alone]
    assert found(visits_per_year=0) == []


def test_what_is_not_published_or_already_paired_stays_out(tmp_path: Path) -> None:
    """A paused listing is not matched, and partners by name are left to themselves."""
    paused = [*CITIES, NEED, {**PRACTICE, "state": "paused"}]
    partners = [{**CITIES[0], "existing_partners": ["CORK"]}, *CITIES[1:], NEED, PRACTICE]

    for name, rows in (("paused", paused), ("partners", partners)):
        path = jsonl(tmp_path / f"{name}.jsonl", rows)
        result = run("match", path, "--kind", "study_visit", "--format", "trec", "--min-band", "all")
        assert (result.exit_code, result.stdout) == (0, "")


BAD = [
    pytest.param([{**CITIES[0], "country": "US"}], 1, "country", "US", id="country outside ASEM"),
    pytest.param([{"kind": "city", "ref": "x", "country": "KR"}], 1, "name", "missing", id="missing field"),
    pytest.param([{"kind": "town", "ref": "x"}], 1, "kind", "town", id="unknown kind"),
    pytest.param([{"kind": ["city"], "ref": "x"}], 1, "kind", "city", id="kind that is no text"),
    pytest.param([{"kind": "city"}], 1, "ref", "missing", id="no ref"),
    pytest.param([*CITIES, {**NEED, "description": " "}], 4, "description", "empty", id="empty text"),
    pytest.param([*CITIES, {**NEED, "city_ref": "x"}], 4, "city_ref", "'x'", id="unknown city"),
    pytest.param([*CITIES, {**NEED, "themes": ["x"]}], 4, "themes.0", "theme", id="unknown theme"),
    pytest.param([*CITIES, {**NEED, "colour": "red"}], 4, "colour", "not a field", id="unknown field"),
    pytest.param([*CITIES, NEED, NEED], 5, "ref", "line 4", id="duplicate ref"),
]


@pytest.mark.parametrize(("rows", "line", "field", "detail"), BAD)
def test_bad_rows_are_named(
    tmp_path: Path, rows: list[dict[str, Any]], line: int, field: str, detail: str
) -> None:
    """Bad input ends with 2, nothing on standard output, and a sentence with file, line and field."""
    path = jsonl(tmp_path / "in.jsonl", rows)

    result = run("match", path, "--kind", "study_visit")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{path}, line {line}, {field}: " in result.stderr
    assert detail in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "line", "field"),
    [
        ("in.jsonl", b'{"kind": "city"\n', 1, ""),
        ("in.jsonl", b"\n[1]\n", 2, ""),
        ("in.jsonl", b"\xff\n", 1, ""),
        ("in.jsonl", b"[" * 100_000, 1, ""),
        ("in.csv", b"kind,name\ncity,Suwon\n", 1, "ref"),
        ("in.csv", b"kind,ref,name,country\ncity,a,A,KR,too much\n", 2, ""),
        ("in.csv", b"kind,ref,name,country,population\ncity,a,A,KR,many\n", 2, "population"),
        ("in.csv", b'kind,ref,name\ncity,a,"A"x\n', 2, ""),
        ("in.csv", b"", 1, "kind"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes, line: int, field: str) -> None:
    """A file that cannot be read as what it should be says where; a whole row is no field of its own."""
    path = tmp_path / name
    path.write_bytes(content)

    result = run("match", path, "--kind", "study_visit")

    assert result.exit_code == 2
    where = f"{path}, line {line}" + (f", {field}" if field else "")
    assert result.stderr.startswith(f"{where}: ")


def test_the_demos_own_files_are_matched() -> None:
    """The shipped files of the demo go in as they are, though each row names its source beside its fields."""
    files = [Path(str(DEMO / f"{name}.jsonl")) for name in ("cities", "practices", "needs")]

    result = run("match", *files, "--kind", "study_visit", "--format", "csv")

    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) > 10


DOCUMENTS = [
    {"id": "1", "title": "Wings", "text": "flow over a wing"},
    {"id": "2", "text": "heat in a wall"},
    {"id": "3", "text": ""},
]
QUERIES = [{"id": "1", "text": "wings in a flow"}, {"id": "q2", "text": "nothing alike"}]


def test_search_prints_a_run(tmp_path: Path) -> None:
    """A query finds the texts that share its words, though the ids are the same on both sides."""
    files = (
        "--corpus",
        jsonl(tmp_path / "d.jsonl", DOCUMENTS),
        "--queries",
        jsonl(tmp_path / "q.jsonl", QUERIES),
    )

    result = run("search", *files, "--timings")
    (line,) = result.stdout.splitlines()
    (row,) = map(json.loads, run("search", *files, "--format", "jsonl").stdout.splitlines())

    query, q0, found, rank, score, name = line.split()
    assert (query, q0, found, rank, name) == ("1", "Q0", "1", "1", "twinning")
    assert row == {"query": "1", "id": "1", "rank": 1, "score": float(score)}
    assert {text.split(":")[0] for text in result.stderr.splitlines()} == {
        "read",
        "count",
        "index",
        "search",
        "write",
    }


@pytest.mark.parametrize(
    ("rows", "line", "field"),
    [
        ([{"id": "1"}], 1, "text"),
        ([{"text": "a"}], 1, "id"),
        ([{"id": "a b", "text": "a"}], 1, "id"),
        ([{"id": "1", "text": 7}], 1, "text"),
        ([{"id": "1", "text": "a", "title": 7}], 1, "title"),
        ([{"id": "1", "text": "a"}, {"id": "1", "text": "b"}], 2, "id"),
    ],
)
def test_search_names_bad_rows(tmp_path: Path, rows: list[dict[str, Any]], line: int, field: str) -> None:
    """A text without id, with a broken one, or twice the same ends with 2."""
    path = jsonl(tmp_path / "d.jsonl", rows)

    result = run("search", "--corpus", path, "--queries", path)

    assert result.exit_code == 2
    assert f"{path}, line {line}, {field}: " in result.stderr


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a process of the command line has loaded when it ends."""
    code = (
        "import atexit, sys, services.cli.main as main; "
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main.app(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_help_stays_quick() -> None:
    """Asking for help loads no numerical or compiled library, no server, no database and no engine."""
    modules = loaded_by("--help")

    assert "services.cli.main" in modules
    heavy = {"numpy", "scipy", "sklearn", "numba", "ortools", "sqlalchemy", "pydantic", "fastapi", "celery"}
    assert not heavy & modules
    assert not [name for name in modules if name.startswith("services.matcher.engine")]


def test_search_loads_the_engine_and_nothing_else_of_weight(tmp_path: Path) -> None:
    """A search of plain texts waits for no database and no solver."""
    files = jsonl(tmp_path / "d.jsonl", DOCUMENTS), jsonl(tmp_path / "q.jsonl", QUERIES)

    modules = loaded_by("search", "--corpus", files[0], "--queries", files[1])

    assert "services.matcher.engine.index" in modules
    # Typer loads pydantic for the types of options, so that one alone is there.
    assert not {"sklearn", "ortools", "sqlalchemy", "sqlmodel", "openpyxl", "fastapi"} & modules
