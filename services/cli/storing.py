# SPDX-License-Identifier: Apache-2.0
"""The database as a command finds it: what keeps it from answering is told in a line, with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from twinning.errors import Unready


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Tell in a line that the database at this address does not answer; its password is never shown."""
    from sqlalchemy.exc import OperationalError

    from twinning.engines import file_of
    from twinning.settings import PREFIX

    try:
        yield
    except OperationalError as error:
        file = file_of(url)
        where = "does not answer" if file is None else f"{file} cannot be used"
        raise Unready(
            f"the database {where} ({_reason(str(error.orig))}); {PREFIX}DATABASE_URL says where it is"
            + ("" if file is None else f", or {PREFIX}DATA_DIR")
        ) from None


def _reason(told: str) -> str:
    """Cut out of what a driver says its last words: those before may hold parts of the address."""
    ends = (line.rpartition(": ")[2].strip() for line in told.splitlines() if ": " in line)
    return next((end for end in ends if end), " ".join(told.split()))


def make_folder(url: str) -> None:
    """Make the folder of a database that is a file, where it is missing; raises `Unready`."""
    from twinning.engines import file_of

    file = file_of(url)
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unready(f"cannot make the database's folder {file.parent}: {error.strerror}") from None


def must_have_folder(url: str) -> None:
    """Refuse a database whose folder is not there: looking for keys is to make none."""
    from twinning.engines import file_of
    from twinning.settings import PREFIX

    file = file_of(url)
    if file is not None and not file.parent.is_dir():
        raise Unready(
            f"there is no database in {file.parent}; run `twinning migrate` first, or name the right folder "
            f"in {PREFIX}DATA_DIR"
        )
