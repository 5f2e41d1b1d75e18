# SPDX-License-Identifier: Apache-2.0
"""How the engine's loops are compiled: at their first call, and kept on disk for the next process."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Compile a loop over numbers and flat arrays, to run without the interpreter's lock.

    The machine code is kept beside the source, or else in the user's cache folder. Where neither can be
    written, as in a container whose files are read-only, each process compiles anew: numba refuses instead.
    """
    try:
        return cast("Loop", njit(cache=True, nogil=True)(loop))
    except RuntimeError:
        return cast("Loop", njit(nogil=True)(loop))
