# SPDX-License-Identifier: Apache-2.0
"""Fresh databases of both kinds with all tables, as durable as those of an operator."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.servers import postgres_database, postgres_server
from twinning.migrating import migrate

KINDS: Final = ("sqlite", "postgresql")


@contextmanager
def fresh_database(kind: str) -> Iterator[str]:
    """Give the URL of a database; PostgreSQL is the tests' own, with fsync on."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="twinning-bench-") as folder:
            url = f"sqlite:///{folder}/twinning.db"
            migrate(url)
            yield url
        return
    with postgres_server(durable=True) as server, postgres_database(server, "bench") as url:
        migrate(url)
        yield url
