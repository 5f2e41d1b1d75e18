# SPDX-License-Identifier: Apache-2.0
"""Instructions that numba has no word for: what is read soon, and what compares 64 numbers at once.

Each is a line or two of LLVM's own language, which every processor understands: one with wide registers does
the 64 in a few steps, another in more.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

GROUP = 64
"""Numbers that are held against a bar at once: as many as an integer has bits."""

_BYTE, _NUMBER, _BITS = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_GROUP = ir.VectorType(ir.FloatType(), GROUP)
_Code = tuple[Any, Callable[..., Any]]


def _where(context: Any, builder: Any, array: types.Type, kept: Any, place: Any, kind: Any = _GROUP) -> Any:
    """The address of a place in an array, as one of a kind of thing."""
    data = context.make_array(array)(context, builder, kept).data
    return builder.bitcast(builder.gep(data, [place]), kind.as_pointer())


def _prefetch(_: Any, array: types.Type, place: types.Type) -> _Code:
    """The type and the code of a call with an array and a place in it."""

    def code(context: Any, builder: Any, _: Any, arguments: tuple[Any, ...]) -> Any:
        shape = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _NUMBER, _NUMBER, _NUMBER])
        call = cast("Any", cgutils.get_or_insert_function)(builder.module, shape, "llvm.prefetch.p0i8")
        where = _where(context, builder, array, arguments[0], arguments[1], _BYTE)
        builder.call(call, [where, _NUMBER(0), _NUMBER(3), _NUMBER(1)])
        return context.get_dummy_value()

    return types.void(array, place), code


def _compare(_: Any, array: types.Type, place: types.Type, bar: types.Type) -> _Code:
    """The type and the code of a call with an array, a place in it and a bar, both of single precision."""

    def code(context: Any, builder: Any, _: Any, arguments: tuple[Any, ...]) -> Any:
        kept, place, bar = arguments
        values = builder.load(_where(context, builder, array, kept, place), align=4)
        nothing = ir.Constant(_GROUP, ir.Undefined)
        first = builder.insert_element(nothing, bar, _NUMBER(0))
        bars = builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_NUMBER, GROUP), [0] * GROUP))
        return builder.bitcast(builder.fcmp_ordered(">", values, bars), _BITS)

    return types.uint64(array, place, bar), code


def _lift(_: Any, low: types.Type, there: types.Type, high: types.Type, here: types.Type) -> _Code:
    """The type and the code of a call with two arrays of single precision, each with a place in it."""

    def code(context: Any, builder: Any, _: Any, arguments: tuple[Any, ...]) -> Any:
        kept, there, other, here = arguments
        target = _where(context, builder, low, kept, there)
        old = builder.load(target, align=4)
        new = builder.load(_where(context, builder, high, other, here), align=4)
        builder.store(builder.select(builder.fcmp_ordered(">", new, old), new, old), target, align=4)
        return context.get_dummy_value()

    return types.void(low, there, high, here), code


def _count(_: Any, bits: types.Type) -> _Code:
    """The type and the code of a call with some bits."""
    return types.intp(bits), lambda _, builder, __, arguments: builder.ctpop(arguments[0])


def _count_zeros(_: Any, bits: types.Type) -> _Code:
    """The type and the code of a call with some bits, not all zero."""

    def code(_: Any, builder: Any, __: Any, arguments: tuple[Any, ...]) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uintp(bits), code


fetch: Callable[[Any, Any], None] = cast("Any", intrinsic)(_prefetch)
"""Ask for an array's memory at a place before it is read: lists lie far apart, and waiting costs most."""

over: Callable[[Any, Any, Any], Any] = cast("Any", intrinsic)(_compare)
"""Which of the 64 numbers of an array from a place on exceed a bar, the first in the lowest bit."""

lift: Callable[[Any, Any, Any, Any], None] = cast("Any", intrinsic)(_lift)
"""Raise 64 numbers of an array from a place on to those of another, where these are higher."""

total: Callable[[Any], int] = cast("Any", intrinsic)(_count)
"""How many bits are set."""

lowest: Callable[[Any], Any] = cast("Any", intrinsic)(_count_zeros)
"""The place of the lowest bit that is set."""
