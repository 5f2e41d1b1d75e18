# SPDX-License-Identifier: Apache-2.0
"""Contact with a server that may be away: its loss is said once, and once that it is there again."""

import structlog

log = structlog.get_logger(__name__)


class Contact:
    """Contact with one server, as its users know it; `meanwhile` says in a few words what follows."""

    def __init__(self, whom: str, meanwhile: str) -> None:
        self._whom = whom
        self._meanwhile = meanwhile
        self._is_lost = False

    def lost(self, error: Exception) -> None:
        """Hear that it does not answer; says so the first time."""
        if not self._is_lost:
            what = str(error) or type(error).__name__
            log.warning("%s is away (%s); %s", self._whom, what, self._meanwhile)
        self._is_lost = True

    def found(self) -> None:
        """Hear that it answers; says so when it was away."""
        if self._is_lost:
            log.info("%s is back", self._whom)
        self._is_lost = False
