# SPDX-License-Identifier: Apache-2.0
"""The dispatcher's one task: a bell that wakes those who work here."""

from collections.abc import Callable

from celery import Celery

from services.broker import TASKS
from twinning.terms import Bell


def register(app: Celery, wake: Callable[[], None]) -> None:
    """Let the bell of this app wake them; a thousand bells at once wake each of them once."""
    app.task(wake, name=TASKS[Bell.DELIVER], ignore_result=True)
