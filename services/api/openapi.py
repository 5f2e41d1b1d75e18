# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document: what FastAPI finds in the routes, with examples, problems and webhooks added."""

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Have the app describe itself in full."""
