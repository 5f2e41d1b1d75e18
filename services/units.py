# SPDX-License-Identifier: Apache-2.0
"""Doing one unit of work, and what becomes of it when that fails: nobody's work is lost by an error."""

from collections.abc import Callable

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from twinning import work
from twinning.database import Database
from twinning.work import Claim

RETRY_S = 1.0

log = structlog.get_logger(__name__)


def attempt(database: Database, claim: Claim, do: Callable[[Claim], None]) -> bool:
    """Do a unit; gives whether that went well. One that fails keeps its error and waits longer each time."""
    try:
        do(claim)
    except (OperationalError, InterfaceError):
        # The database is away or has chosen us to lose a race. Where even this fails, the lease ends.
        log.warning("the database refused", kind=claim.kind, subject=claim.subject, exc_info=True)
        with database.transaction() as session:
            work.release(session, [claim], RETRY_S)
    except Exception as error:
        log.exception("work failed", kind=claim.kind, subject=claim.subject)
        with database.transaction() as session:
            work.set_back(session, claim, f"{type(error).__name__}: {error}")
    else:
        return True
    return False
