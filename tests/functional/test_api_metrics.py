# SPDX-License-Identifier: Apache-2.0
"""The rules of the figures: for Prometheus, without a key, by route and never by id."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as families
from sqlalchemy import update

from tests.factories import Door
from twinning import workers
from twinning.database import new_id, now
from twinning.endpoints import Delivery

PROMISED = {
    "twinning_deliveries_due", "twinning_oldest_due_seconds", "twinning_attempts",
    "twinning_delivery_lag_seconds", "twinning_leases_expired", "twinning_outbox_unpublished",
    "twinning_work_due", "twinning_http_requests", "twinning_http_request_duration_seconds",
    "twinning_workers", "twinning_database_up", "twinning_event_streams",
}  # fmt: skip


def scrape(front: Door) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels, as Prometheus's own parser reads it."""
    answer = front.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(answer.text)
        for sample in family.samples
    }


def test_everything_that_was_promised_is_there(front: Door) -> None:
    """Each promised figure is there from the start, in the text format and in OpenMetrics alike."""
    front.client.get("/healthz")
    told = front.client.get("/metrics").text
    spoken = front.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert {family.name for family in families(told)} >= PROMISED
    assert {family.name for family in open_metrics(spoken.text)} >= PROMISED
    assert spoken.headers["content-type"].startswith("application/openmetrics-text")


def test_requests_are_counted_by_route_and_never_by_id(front: Door) -> None:
    """However many objects are asked for, one line counts them; what is nowhere has one line in all."""
    city = front.city()
    for _ in range(3):
        front.client.get(f"/v1/cities/{city['id']}", headers=front.staff)
        front.client.get(f"/v1/cities/{new_id()}", headers=front.staff)
        front.client.get(f"/nowhere/{new_id()}")
    front.client.request("BREW", "/v1/cities")
    found = scrape(front)

    def requests(method: str, route: str, status: int) -> float:
        labels = (("method", method), ("route", route), ("status", str(status)))
        counted = found["twinning_http_requests_total", labels]
        assert found["twinning_http_request_duration_seconds_count", labels] == counted
        return counted

    assert requests("GET", "/v1/cities/{city_id}", 200) == 3
    assert requests("GET", "/v1/cities/{city_id}", 404) == 3
    assert requests("POST", "/v1/cities", 201) == 1
    assert requests("GET", "unmatched", 404) == 3
    labels = {value for _, pairs in found for _, value in pairs}
    assert not [each for each in labels if re.search(r"[0-9a-f]{8}-|BREW", each)]


def test_the_house_is_counted_from_the_database(front: Door) -> None:
    """What waits and who works is read when it is asked for, whichever process did it."""
    front.client.post(
        "/v1/webhook-endpoints", json={"url": "https://hooks.limerick.ie/x"}, headers=front.staff
    )
    city = front.city()
    front.practice(city["id"])
    with front.database.transaction() as session:
        workers.beat(session, "one", "matcher")
        workers.beat(session, "two", "matcher")
    found = scrape(front)

    assert found["twinning_deliveries_due", ()] == found["twinning_outbox_unpublished", ()] == 2
    assert found["twinning_work_due", (("kind", "match_listing"),)] == 1
    assert found["twinning_work_due", (("kind", "preview"),)] == 0
    assert found["twinning_workers", (("service", "matcher"),)] == 2
    assert found["twinning_database_up", ()] == 1


def test_without_the_database_the_rest_is_still_told(embedded: Door) -> None:
    """The process's own figures come also when the database is away, with a line that says so."""
    embedded.client.get("/healthz")
    embedded.database.close()
    Path(embedded.settings.database_url.removeprefix("sqlite:///")).write_bytes(b"no database" * 1000)
    found = scrape(embedded)

    assert found["twinning_database_up", ()] == 0
    assert not [name for name, _ in found if name == "twinning_deliveries_due"]
    assert [name for name, _ in found if name == "twinning_http_requests_total"]


def test_workers_that_live_and_do_not_send_degrade_the_house(
    front: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both kinds of worker alive the house is degraded once a delivery that could go waits a minute."""
    monkeypatch.setattr("services.broker.broker_alive", lambda _url: True)
    object.__setattr__(front.settings, "broker_url", "redis://here/0")
    front.client.post(
        "/v1/webhook-endpoints", json={"url": "https://hooks.limerick.ie/x"}, headers=front.staff
    )
    front.city()
    with front.database.transaction() as session:
        workers.beat(session, "one", "matcher")
        workers.beat(session, "two", "dispatcher")
    fresh = front.client.get("/readyz").json()
    with front.database.transaction() as session:
        session.execute(update(Delivery).values(due_at=now() - timedelta(seconds=61)))
    late = front.client.get("/readyz").json()

    assert (fresh["status"], fresh["workers"]) == ("ok", "ok")
    assert (late["status"], late["workers"]) == ("degraded", "stuck")
    assert late["oldest_undelivered_event_age_s"] > 60
