# SPDX-License-Identifier: Apache-2.0
"""`twinning import` and `twinning export` as an office runs them, against a served house."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from geojson_pydantic import FeatureCollection
from typer.testing import CliRunner, Result

from services.cli.demo_data import DEMO
from services.cli.main import app
from services.matcher.importing import Importer
from services.matcher.matching import Matcher
from services.watch import Watch
from tests.streams import Street, street
from twinning import catalogue_examples
from twinning.settings import Settings


@pytest.fixture
def house(database_url: str) -> Iterator[Street]:
    """A served house whose worker imports."""
    with street(database_url) as place:
        importer = Importer(place.database, Settings(), "i1")
        watch = Watch("importing", importer.go_on, 0.05, at_the_end=importer.let_go)
        watch.start()
        yield place
        watch.stop(10)


def run(house: Street, *words: object) -> Result:
    """One call of the command line."""
    told = [*map(str, words), "--url", house.url, "--key", house.key]
    return CliRunner().invoke(app, told)


def register(house: Street, path: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Register something over HTTP."""
    answer = httpx.post(f"{house.url}/v1{path}", json=wanted, headers=house.staff, trust_env=False)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def read(house: Street, path: str) -> list[dict[str, Any]]:
    """Read a list over HTTP."""
    answer = httpx.get(f"{house.url}/v1{path}", headers=house.staff, trust_env=False)
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def populate(house: Street) -> None:
    """A city with a reference and a contact, one without, and listings with texts that are hard to write."""
    cork = register(house, "/cities", {**catalogue_examples.CITY_REQUEST, "networks": ["a|b", " c ", "=x"]})
    bare = register(
        house, "/cities", {"name": "Suwon", "country": "KR", "latitude": -1.5, "longitude": 127.03}
    )
    hard = "- one\r\n- two _x000D_ \\| 'x\n\n=1+1"
    register(
        house, f"/cities/{cork['id']}/practices", {**catalogue_examples.PRACTICE_REQUEST, "description": hard}
    )
    register(
        house,
        f"/cities/{bare['id']}/needs",
        {**catalogue_examples.NEED_REQUEST, "external_ref": None, "title": "+1 ÷ 한"},
    )
    register(house, f"/cities/{bare['id']}/needs", {"title": "Draft", "description": "d", "state": "draft"})


@pytest.mark.parametrize("form", ["csv", "xlsx", "jsonl"])
def test_an_export_is_imported_without_a_change(house: Street, tmp_path: Path, form: str) -> None:
    """What `export` writes `import` reads back as it was: nothing new, nothing changed, no contact lost."""
    populate(house)
    before = [read(house, path) for path in ("/cities", "/practices", "/needs", "/events")]
    path = tmp_path / f"all.{form}"
    exported = run(house, "export", "--output", path)
    imported = run(house, "import", path)
    after = [read(house, path) for path in ("/cities", "/practices", "/needs", "/events")]

    assert (exported.exit_code, imported.exit_code) == (0, 0), imported.output
    assert "completed, 5 rows: 0 created, 0 updated, 5 unchanged, 0 refused" in imported.stdout
    assert after[:3] == before[:3]
    assert [event["type"] for event in after[3]] == [
        *(event["type"] for event in before[3]),
        "import.completed",
    ]
    assert b"learning@" not in path.read_bytes()
    assert not path.with_name(f"{path.name}.part").exists()


def test_what_is_refused_is_printed_and_the_exit_code_tells(house: Street, tmp_path: Path) -> None:
    """Each refused row stands on standard error with file, row and column; the exit code is 2 then."""
    names = ("good.csv", "bad.csv", "broken.xlsx", "odd.jsonl")
    good, bad, broken, odd = (tmp_path / name for name in names)
    good.write_text("kind;ref;name;country\ncity;cork;Cork;IE\n", encoding="utf-16")
    bad.write_text("kind,ref,name,country\ncity,x,X,US\ncity,y,Y,IE\n", encoding="utf-8")
    broken.write_bytes(b"no workbook")
    odd.write_text('{"kind": "city"\n', encoding="utf-8")

    both = run(house, "import", good, bad)
    alone = run(house, "import", good)
    failed = run(house, "import", broken)
    half = run(house, "import", odd)
    unknown = run(house, "import", tmp_path)

    assert (both.exit_code, alone.exit_code, failed.exit_code, unknown.exit_code) == (2, 0, 2, 2)
    assert f"{good}: completed, 1 rows: 1 created, 0 updated" in both.stdout
    assert f"{bad}: completed, 2 rows: 1 created, 0 updated, 0 unchanged, 1 refused" in both.stdout
    # The value stands there once, whether or not the reason names it.
    assert f"{bad}, row 2, country: 'US' is not " in both.stderr
    assert "not an XLSX workbook" in failed.stderr
    assert half.stderr.startswith(f"{odd}, row 1: is not JSON: ")


def test_the_demos_own_files_are_imported(house: Street) -> None:
    """The shipped files of the demo land whole, though each row names its source beside its fields."""
    files = [str(DEMO / f"{name}.jsonl") for name in ("cities", "practices", "needs")]

    imported = run(house, "import", *files)

    assert (imported.exit_code, imported.stderr) == (0, "")
    assert imported.stdout.count(" 0 refused") == 3


def test_a_house_that_is_away_or_refuses_is_a_failure(house: Street, tmp_path: Path) -> None:
    """Nobody at the address, or a wrong key, is one line and the exit code 1."""
    path = tmp_path / "a.csv"
    path.write_text("kind,ref\n", encoding="utf-8")
    away = CliRunner().invoke(app, ["import", str(path), "--url", "http://127.0.0.1:1", "--key", "x"])
    refused = CliRunner().invoke(app, ["import", str(path), "--url", house.url, "--key", "x"])

    assert "cannot reach http://127.0.0.1:1" in str(away.exception)
    assert "401" in str(refused.exception)


def test_a_template_is_written_without_a_house(tmp_path: Path) -> None:
    """The ending decides the format; a name without one is a bad argument."""
    paths = [tmp_path / f"start.{form}" for form in ("csv", "xlsx", "jsonl")]
    codes = [CliRunner().invoke(app, ["import", "--template", str(path)]).exit_code for path in paths]
    wrong = CliRunner().invoke(app, ["import", "--template", str(tmp_path / "start.pdf")])
    nothing = CliRunner().invoke(app, ["import"])

    assert codes == [0, 0, 0]
    assert all(path.stat().st_size > 500 for path in paths)
    assert (wrong.exit_code, nothing.exit_code) == (2, 2)


def test_a_map_and_a_round_are_exported(house: Street, tmp_path: Path) -> None:
    """Cities are points of GeoJSON, and --round writes what the round proposes."""
    populate(house)
    asked = httpx.post(
        f"{house.url}/v1/matching-rounds", json={"kind": "study_visit"}, headers=house.staff, trust_env=False
    ).json()
    Matcher(house.database, Settings(), "m1").take()
    map_, lines = tmp_path / "cities.geojson", tmp_path / "round.jsonl"

    assert run(house, "export", "--output", map_).exit_code == 0
    assert run(house, "export", "--output", lines, "--round", asked["id"]).exit_code == 0
    found = FeatureCollection.model_validate_json(map_.read_text(encoding="utf-8"))
    assert [feature.geometry.type for feature in found.features if feature.geometry] == ["Point", "Point"]
    assert "learning@" not in map_.read_text(encoding="utf-8")
    assert [json.loads(line)["kind"] for line in lines.read_text().splitlines()] in ([], ["study_visit"])


def test_an_export_is_read_page_by_page(house: Street, tmp_path: Path) -> None:
    """More than a page of cities is exported whole, and one kind alone when asked."""
    source = tmp_path / "many.jsonl"
    rows = [
        {"kind": "city", "ref": f"c{number}", "name": f"City {number}", "country": "IE"}
        for number in range(450)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    imported = run(house, "import", source)
    path = tmp_path / "out.jsonl"
    run(house, "export", "--output", path, "--kind", "city")

    assert "450 created" in imported.stdout
    assert [json.loads(line)["ref"] for line in path.read_text().splitlines()] == [row["ref"] for row in rows]
    assert threading.active_count() < 50
