# SPDX-License-Identifier: Apache-2.0
"""The dispatcher's one task: a bell that wakes the courier."""

from celery import Celery

from services.broker import TASKS
from services.dispatcher.courier import Courier
from twinning.terms import Bell


def register(app: Celery, courier: Courier) -> None:
    """Let the bell of this app wake a courier; a thousand bells at once wake it once."""
    app.task(courier.wake, name=TASKS[Bell.DELIVER], ignore_result=True)
