# SPDX-License-Identifier: Apache-2.0
"""Metrics as Prometheus reads them: this process's requests, and the house as the database tells of it.

What happens in other processes is read from the database at each scrape, so that every API process gives the
same figures for it; requests and streams are this process's own. No label ever holds an id.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from services.api.envelope import method_of, route_of
from twinning import measures, tallies
from twinning.database import Database
from twinning.measures import MOST_LOOKED_AT, Measures
from twinning.tallies import LAG_EDGES_S

PREFIX: Final = "twinning"
EDGES_S: Final = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0)
LABELS: Final = ("method", "route", "status")

log = structlog.get_logger(__name__)


class Metrics:
    """What one process counts, and what it reads when it is asked."""

    def __init__(self, database: Database, streams: Callable[[], int]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            f"{PREFIX}_http_requests_total", "Answered requests.", LABELS, registry=self.registry
        )
        self._seconds = Histogram(
            f"{PREFIX}_http_request_duration_seconds",
            "Time from a request to the beginning of its answer.",
            LABELS,
            buckets=EDGES_S,
            registry=self.registry,
        )
        self._series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        ProcessCollector(namespace=PREFIX, registry=self.registry)
        self.registry.register(HouseCollector(database, streams))

    def answered(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Count a request by its method, its route's template and its status."""
        labels = (method_of(scope), route_of(scope), str(status))
        # Kept here: the library checks the labels at each look-up, under a lock.
        known = self._series.get(labels)
        if known is None:
            known = self._series[labels] = (self._requests.labels(*labels), self._seconds.labels(*labels))
        requests, took = known
        requests.inc()
        took.observe(seconds)


class HouseCollector(Collector):
    """Reads the house from the database whenever the metrics are asked for."""

    def __init__(self, database: Database, streams: Callable[[], int]) -> None:
        self._database = database
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        """Give the house's figures; without a database only that it is away."""
        begun = time.perf_counter()
        yield _gauge("event_streams", "Streams of events that are open in this process.", self._streams())
        try:
            with self._database.snapshot() as session:
                found = measures.measure(session)
        except SQLAlchemyError as error:
            log.warning("no figures without the database", error=type(error).__name__)
            yield _gauge("database_up", "Whether the database answers.", 0)
            return
        yield _gauge("database_up", "Whether the database answers.", 1)
        yield from _deliveries(found)
        yield from _work(found)
        seconds = time.perf_counter() - begun
        yield _gauge("scrape_seconds", "How long reading the database for this answer took.", seconds)


def _deliveries(found: Measures) -> Iterator[Metric]:
    yield _gauge("deliveries_due", "Deliveries that wait to be sent now.", found.deliveries_due)
    yield _gauge("oldest_due_seconds", "How long the oldest of them has been due.", found.oldest_due_s)
    yield _gauge(
        "outbox_unpublished",
        f"Due deliveries that no dispatcher has begun yet, among the newest {MOST_LOOKED_AT}.",
        found.unpublished,
    )
    attempts = CounterMetricFamily(
        f"{PREFIX}_attempts", "Ended attempts at deliveries, by what came of them.", labels=["class"]
    )
    for name, count in sorted(found.tallies.get(tallies.ATTEMPTS, {}).items()):
        attempts.add_metric([name], count)
    yield attempts
    expired = found.tallies.get(tallies.LEASES_EXPIRED, {}).get("", 0)
    yield CounterMetricFamily(
        f"{PREFIX}_leases_expired", "Deliveries taken back from dispatchers that were gone.", value=expired
    )
    yield _lag(found)


def _lag(found: Measures) -> Metric:
    """Lay the tallied buckets out as Prometheus counts them: each with all that are below it."""
    counts = found.tallies.get(tallies.LAG, {})
    edges = [*(f"{edge:g}" for edge in LAG_EDGES_S), tallies.BEYOND]
    total, buckets = 0, []
    for edge in edges:
        total += counts.get(edge, 0)
        buckets.append((edge, float(total)))
    return HistogramMetricFamily(
        f"{PREFIX}_delivery_lag_seconds",
        "Time from an event to its arrival, for deliveries that arrived.",
        buckets=buckets,
        sum_value=found.tallies.get(tallies.LAG_MS, {}).get("", 0) / 1000,
    )


def _work(found: Measures) -> Iterator[Metric]:
    due = GaugeMetricFamily(f"{PREFIX}_work_due", "Units of matching work that wait.", labels=["kind"])
    for kind, count in found.work_due.items():
        due.add_metric([kind], count)
    yield due
    living = GaugeMetricFamily(f"{PREFIX}_workers", "Workers that say they live.", labels=["service"])
    for service, count in sorted(found.workers.items()):
        living.add_metric([service], count)
    yield living


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)
