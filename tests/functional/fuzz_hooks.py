# SPDX-License-Identifier: Apache-2.0
"""What Schemathesis is told of the API that its document cannot say."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_headers(_context: Any, headers: dict[str, str] | None) -> dict[str, str] | None:
    """Leave out `Idempotency-Key`, which belongs to one request and would soon be drawn for another."""
    return {name: value for name, value in (headers or {}).items() if name != "Idempotency-Key"}
