# SPDX-License-Identifier: Apache-2.0
"""How this process writes its log: lines for people on a console, or JSON for machines."""

import logging
import sys

import structlog

from twinning.settings import Settings


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
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
