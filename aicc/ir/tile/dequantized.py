"""Sums of integers that become numbers of 16 bits by a scale for each column."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import f16, f32, i32
from xdsl.ir import BlockArgument, Operation, SSAValue

from aicc.ir.tile.memory import Load
from aicc.ir.tile.ops import Axis, Broadcast, Cast
from aicc.ir.tile.types import tile_element


@dataclass(frozen=True)
class Dequantized:
    """``f16(f32(sums ± bias) · scale)`` for sums ``i32[m, n]``, with a bias and a scale a column.

    The bias may be missing; `minus` says that it is subtracted. `steps` are the ops between the
    sums and the result, in their order, which nothing else needs.
    """

    bias: Load | None
    minus: bool
    scale: Load
    steps: tuple[Operation, ...]

    @property
    def result(self) -> SSAValue:
        return self.steps[-1].results[0]

    @property
    def is_paired(self) -> bool:
        """Whether scales lie as words of 64 bits: each is followed by a zero."""
        return self.scale.strides == (2,)


def dequantized(sums: SSAValue) -> Dequantized | None:
    """How sums are dequantized, if that is all that is done with them."""
    if tile_element(sums.type) != i32:
        return None
    steps: list[Operation] = []
    bias, op = None, sums.get_user_of_unique_use()
    minus = isinstance(op, arith.SubiOp)
    if isinstance(op, (arith.AddiOp, arith.SubiOp)):
        if minus and op.lhs is not sums:
            return None
        bias = column_load(op.rhs if op.lhs is sums else op.lhs, steps)
        if bias is None:
            return None
        steps.append(op)
        op = op.result.get_user_of_unique_use()
    if not isinstance(op, Cast) or tile_element(op.result.type) != f32:
        return None
    steps.append(op)
    mul = op.result.get_user_of_unique_use()
    if not isinstance(mul, arith.MulfOp):
        return None
    scale = column_load(mul.rhs if mul.lhs is op.result else mul.lhs, steps)
    end = mul.result.get_user_of_unique_use()
    if scale is None or not isinstance(end, Cast):
        return None
    if tile_element(end.result.type) != f16:
        return None
    return Dequantized(bias, minus, scale, (*steps, mul, end))


def column_load(value: SSAValue, steps: list[Operation]) -> Load | None:
    """The load of one element a column that a value spreads over rows, and is all that does.

    What spreads it is added to `steps`.
    """
    wide = value.owner
    if not isinstance(wide, Broadcast) or not value.has_one_use():
        return None
    load = wide.input.owner
    if not isinstance(load, Load) or not isinstance(load.buffer, BlockArgument):
        return None
    alone = all(v.has_one_use() for v in (load.result, load.buffer))
    if not alone or not load.only_ends():
        return None
    axis = load.subscripts[0].owner if len(load.subscripts) == 1 else None
    if load.offset[0] != 0 or not isinstance(axis, Axis) or (axis.dim, axis.rank) != (1, 2):
        return None
    steps.append(wide)
    return load
