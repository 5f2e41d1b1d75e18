# SPDX-License-Identifier: Apache-2.0
"""One attempt at a delivery: signed anew, posted once, and judged."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import structlog

from services.dispatcher.client import BoundedClient
from services.dispatcher.client import Outcome as Answer
from services.dispatcher.retries import Decision, Delivered, Gone, RetryIn, decide
from twinning import signing
from twinning.database import now
from twinning.deliveries import Sending
from twinning.outcomes import Outcome
from twinning.terms import DeliveryState

# What the log says of a yes without the echo that was asked for.
NOT_ECHOED: Final = "challenge_not_echoed"

log = structlog.get_logger(__name__)


async def attempt(client: BoundedClient, sending: Sending, schedule: Sequence[float]) -> Outcome:
    """Send a delivery once and say what follows; whatever goes wrong is in the outcome and never raised."""
    began = time.perf_counter()
    try:
        answer = await client.post(sending.url, sending.body, headers_of(sending, int(time.time())))
    # An error of ours must cost this attempt alone: the schedule goes on, and the log says why.
    except Exception:
        log.exception("delivery %s could not be sent", sending.delivery_id)
        duration_ms = round((time.perf_counter() - began) * 1000)
        answer = Answer(None, "request_invalid", duration_ms, b"", None, None)
    return judge(sending, answer, schedule, random.random())  # noqa: S311 (spreads load, guards nothing)


def headers_of(sending: Sending, timestamp: int) -> Mapping[str, str]:
    """Give the headers of an attempt: the endpoint's own, which never replace ours."""
    ours = signing.headers(sending.event_id, timestamp, sending.body, sending.secrets)
    ours |= {"asem-delivery": sending.delivery_id, "asem-attempt": str(sending.number)}
    return {name: value for name, value in sending.headers.items() if name.lower() not in ours} | ours


def judge(sending: Sending, answer: Answer, schedule: Sequence[float], jitter: float) -> Outcome:
    """Turn what came back into what is written."""
    status = answer.status
    error: str | None = answer.error
    echoed = sending.challenge is not None and is_echo(answer, sending.challenge)
    if sending.challenge is not None and error is None and not echoed:
        error = NOT_ECHOED
    # A receiver that says yes to a challenge without an echo has not said yes.
    seen = None if error == NOT_ECHOED else status
    decision = decide(
        seen,
        error,
        sending.turn,
        answer.retry_after_s,
        schedule=schedule,
        jitter=jitter,
        control=answer.control,
    )
    return Outcome(
        sending=sending,
        state=_state_after(decision),
        due_at=now() + timedelta(seconds=decision.seconds) if isinstance(decision, RetryIn) else None,
        status=status,
        error=error,
        answer=None if answer.status is None else readable(answer.answer),
        address=answer.address,
        duration_ms=answer.duration_ms,
        gone=isinstance(decision, Gone),
        echoed=echoed and isinstance(decision, Delivered),
    )


def is_echo(answer: Answer, challenge: str) -> bool:
    """Say whether an answer is a JSON object with this challenge in it."""
    try:
        said = json.loads(answer.answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("challenge") == challenge


def _state_after(decision: Decision) -> DeliveryState:
    if isinstance(decision, Delivered):
        return DeliveryState.DELIVERED
    if isinstance(decision, RetryIn):
        return DeliveryState.PENDING
    # A receiver that is gone may come back; what it refused is sent again when it is enabled.
    return DeliveryState.HELD if isinstance(decision, Gone) else DeliveryState.EXHAUSTED


def readable(answer: bytes) -> str:
    """Write an answer as text that every database takes: PostgreSQL keeps no NUL."""
    return answer.decode("utf-8", "replace").replace("\0", "")
