# SPDX-License-Identifier: Apache-2.0
"""One instruction that numba has no word for: telling the processor what is read soon."""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _prefetch(_: Any, array: types.Type, place: types.Type) -> tuple[Any, Callable[..., Any]]:
    """The type and the code of a call with an array and a place in it."""

    def code(context: Any, builder: Any, _: Any, arguments: tuple[Any, ...]) -> Any:
        kept = context.make_array(array)(context, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        name = "llvm.prefetch.p0i8"
        call = cast("Any", cgutils.get_or_insert_function)(builder.module, shape, name)
        where = builder.bitcast(builder.gep(kept.data, [arguments[1]]), byte)
        builder.call(call, [where, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, place), code


fetch: Callable[[Any, Any], None] = cast("Any", intrinsic)(_prefetch)
"""Ask for an array's memory at a place before it is read: lists lie far apart, and waiting costs most."""
