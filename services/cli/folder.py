# SPDX-License-Identifier: Apache-2.0
"""The lock on a data folder: one system at a time may live in it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.cli.guardian import GRACE_S
from twinning.errors import WrongSetting

POLL_S = 0.05


@contextmanager
def locked_folder(data_dir: Path) -> Iterator[int]:
    """Make the data folder, hold it for this process, and give the open lock file.

    Hand the file to the supervisor: its guardian then holds the folder until the last child has gone,
    even when the supervisor is killed, so that no second broker opens a file that the first still writes.
    Raises `WrongSetting` when another process lives in the folder.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(lock, data_dir)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int, data_dir: Path) -> None:
    """Take the lock; wait for what a killed owner left behind, but not for a living one."""
    deadline = time.monotonic() + GRACE_S + 2
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode()
            if _alive(owner) or time.monotonic() > deadline:
                raise WrongSetting(
                    f"TWINNING_DATA_DIR: {data_dir.absolute()} is in use by process {owner or 'unknown'}; "
                    "stop it, or choose another folder"
                ) from None
            time.sleep(POLL_S)
        else:
            return


def _alive(owner: str) -> bool:
    """Say whether the process with this number lives; one of another user counts."""
    try:
        os.kill(int(owner), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
