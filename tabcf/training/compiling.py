"""How loops are compiled; imported only where they are, since it imports numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir  # type: ignore[import-untyped]  # it has no types
from numba import njit, types
from numba.core.cgutils import get_item_pointer
from numba.extending import intrinsic

__all__ = ["compiled", "prefetch"]

_item_pointer: Any = get_item_pointer
_Function = TypeVar("_Function", bound=Callable[..., object])
# Sums may be reassociated; without "nnan" and "ninf", since a loss that is not finite has to be
# noticed. The same machine code always gives the same bits.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: _Function) -> _Function:
    """The function as machine code, kept on disk where there is a place for it."""
    try:
        wrapped = njit(cache=True, error_model="numpy", fastmath=_FASTMATH)(function)
    except RuntimeError:  # there is nowhere to keep compiled code
        wrapped = njit(error_model="numpy", fastmath=_FASTMATH)(function)
    return cast("_Function", wrapped)


def _prefetch(context: Any, array: Any, row: Any, byte: Any) -> Any:
    """The code of `prefetch`: numba hands over the arguments' types."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        own = context.make_array(kind)(context, builder, arguments[0])
        numbers = [
            context.cast(builder, value, given, types.intp)
            for value, given in zip(arguments[1:], signature.args[1:], strict=True)
        ]
        zeros = [context.get_constant(types.intp, 0)] * (kind.ndim - 1)
        start = _item_pointer(context, builder, kind, own, [numbers[0], *zeros])
        start = builder.bitcast(start, ir.IntType(8).as_pointer())
        pointer = builder.gep(start, [numbers[1]])
        flag = ir.IntType(32)
        takes = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], takes)
        # It will be written to, is to be kept in all caches, and is no code.
        builder.call(fetch, [pointer, flag(1), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(array, row, byte), generated


prefetch: Any = intrinsic(_prefetch)
"""`prefetch(array, row, byte)` has 64 bytes of an array's row fetched from memory, from one byte of
it on, without waiting for them; for compiled functions."""
