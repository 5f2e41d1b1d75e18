# SPDX-License-Identifier: Apache-2.0
"""What the fault tests draw from, on which databases, and their figures at the end of the report."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.faults.checking import Tell, Verdict
from tests.faults.postgres import OwnPostgres, own_postgres


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What this run draws its faults from."""
    return int(request.config.getoption("seed"))


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether faults last as long as they do out there, rather than as long as it takes to show the rule."""
    return bool(request.config.getoption("long"))


@pytest.fixture
def main_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database: PostgreSQL, and SQLite too in a long run."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def breakable_postgres() -> Iterator[OwnPostgres]:
    """A PostgreSQL for one test alone, which it may kill, hang and start again."""
    with own_postgres() as server:
        yield server


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Put a verdict and other figures of a test at the end of the report."""

    def told(verdict: Verdict | None, *more: str) -> None:
        said = [str(verdict)] if verdict else []
        record_property("figures", ", ".join([*said, *more]))
        if verdict:
            record_property("lost", len(verdict.lost))
            record_property("duplicates", verdict.duplicates)
            record_property("lags_ms", [round(lag * 1000) for lag in verdict.lags_s])

    return told


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on both databases in a long run."""
    if "main_url" in metafunc.fixturenames:
        kinds = ["sqlite", "postgres"] if metafunc.config.getoption("long") else ["postgres"]
        metafunc.parametrize("main_url", kinds, indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each test has measured, and what all of them have together."""
    told: dict[str, list[Any]] = {"lost": [], "duplicates": [], "lags_ms": []}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "figures":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")
                elif name in told:
                    told[name].append(value)
    if told["lost"]:
        lags = np.concatenate([np.asarray(each, dtype=float) for each in told["lags_ms"]])
        p50, p95 = np.percentile(lags, [50, 95]) if lags.size else (np.nan, np.nan)
        terminalreporter.write_line(
            f"all {len(told['lost'])} of seed {config.getoption('seed')}: lost={sum(told['lost'])} "
            f"dup={sum(told['duplicates'])} p50/p95 lag {p50:.0f}/{p95:.0f} ms"
        )
