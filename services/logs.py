# SPDX-License-Identifier: Apache-2.0
"""How this process writes its log: lines for people on a console, or JSON for machines."""

import logging
import re
import sys

import structlog

from twinning.settings import Settings

_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def configure(settings: Settings) -> None:
    """Send the house's lines to stderr in the format that the settings ask for."""
    # Plain tracebacks: those that show local variables would show keys and people's texts.
    last: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if settings.log_format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _one_line,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _one_line(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Spell out what would begin a new line or steer a terminal: a line of the log is one event."""
    entry["event"] = _STEERING.sub(lambda found: ascii(found[0])[1:-1], str(entry["event"]))
    return entry
