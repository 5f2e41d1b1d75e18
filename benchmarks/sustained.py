# SPDX-License-Identifier: Apache-2.0
"""Deliveries that go on and on: whether a dispatcher keeps up with a rate, how late it is, and what grows.

    ./run bench sustained [--rates 50,200,1000] [--seconds 30] [--database URL]

The dispatcher is `twinning dispatcher` as shipped, with a broker of its own; events are recorded at an even
rate and rung for, as the services do it. Lag is from an event's row to the note that it was delivered.
Memory is that of the dispatcher at the end against that after the first third.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sqlmodel import col, select

from benchmarks._processes import broker, cost, cpu_s, receiver, running
from benchmarks.deliver import record, subscribe, waiting
from services.doorbell import Doorbell
from twinning.database import Database, made_at
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.migrating import migrate
from twinning.settings import PREFIX, Settings

ENDPOINTS = 16
TICK_S = 0.02
PATIENCE_S = 60.0
MUST_RATE, MUST_LAG_S, MUST_LAG_RATE = 200, 2.0, 50
MOST_GROWTH_MB = 5.0
SETTINGS = {"WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8", "WEBHOOK_ALLOW_HTTP": "true"}


def lags_s(database: Database, after: str) -> list[float]:
    """How long each delivery since `after` took, sorted."""
    query = select(Delivery.id, Delivery.updated_at).where(col(Delivery.id) > after)
    with database.snapshot() as session:
        rows = session.exec(query.where(Delivery.state == "delivered")).all()
    return sorted((moment - made_at(id_)).total_seconds() for id_, moment in rows)


def last(database: Database) -> str:
    """The id of the newest delivery."""
    with database.snapshot() as session:
        return session.exec(select(Delivery.id).order_by(col(Delivery.id).desc()).limit(1)).first() or ""


def keep_up(database: Database, rows: Sequence[WebhookEndpoint], rate: int, seconds: float, pid: int) -> bool:
    """Record events at a rate, print how the dispatcher does, and say whether it keeps up."""
    after, total = last(database), int(rate * seconds)
    begun, made, backlog, early = time.perf_counter(), 0, 0, 0.0
    cpu = cpu_s(pid)
    while made < total:
        due = min(total, int((time.perf_counter() - begun) * rate) + 1) - made
        if due > 0:
            record(database, rows, due, made)
            made += due
        if not early and made > total / 3:
            early, backlog = cost(pid)["rss_mb"], waiting(database)
        time.sleep(TICK_S)
    behind, spent = waiting(database), time.perf_counter() - begun
    cpu, grown = cpu_s(pid) - cpu, cost(pid)["rss_mb"] - early
    deadline = time.perf_counter() + PATIENCE_S
    while waiting(database) and time.perf_counter() < deadline:
        time.sleep(TICK_S)
    lags = lags_s(database, after)
    p50, p95 = (statistics.quantiles(lags, n=100)[at - 1] for at in (50, 95))
    # A second's worth may always be on its way.
    kept = len(lags) == total and behind - backlog < rate and grown < MOST_GROWTH_MB
    print(
        f"{rate:>6}/s for {spent:4.0f} s: {len(lags)} of {total} delivered, behind {backlog} then {behind}, ",
        end="",
    )
    print(f"lag p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms, {grown:+.1f} MB, ", end="")
    print(f"{100 * cpu / spent:.0f} % of a core: {'keeps up' if kept else 'FALLS BEHIND'}")
    return kept and (rate != MUST_LAG_RATE or p95 < MUST_LAG_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rates", default="50,200,1000")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--database", default="")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="twinning-") as folder, broker(Path(folder)) as broker_url:
        url = asked.database or f"sqlite:///{folder}/sustained.db"
        migrate(url)
        settings = Settings(database_url=url, broker_url=broker_url)
        bell = Doorbell(settings)
        database = Database(url, bell.ring)
        env = {PREFIX + name: value for name, value in SETTINGS.items()}
        env |= {f"{PREFIX}DATABASE_URL": url, f"{PREFIX}BROKER_URL": broker_url, "C_FORCE_ROOT": "1"}
        argv = [sys.executable, "-m", "services.cli.main", "dispatcher"]
        with receiver() as there, running(argv, **env) as dispatcher:
            with database.transaction() as session:
                rows = subscribe(session, there.url, ENDPOINTS)
            record(database, rows, 200)
            there.wait_for(200, PATIENCE_S)
            print(f"{database.engine.dialect.name}; must keep up with {MUST_RATE}/s, ", end="")
            print(f"and p95 under {MUST_LAG_S:g} s at {MUST_LAG_RATE}/s; reach 1000/s")
            rates = [int(rate) for rate in asked.rates.split(",")]
            kept = {rate: keep_up(database, rows, rate, asked.seconds, dispatcher.pid) for rate in rates}
        bell.close()
        database.close()
    return 0 if all(well for rate, well in kept.items() if rate <= MUST_RATE) else 1


if __name__ == "__main__":
    sys.exit(main())
