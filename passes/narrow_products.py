"""Integer products on 8-bit operands, with zero points taken off their sums instead.

``(a − za) @ (b − zb) = a @ b − zb · Σ a − za · Σ b + k · za · zb``, with sums over the k elements
of a row of a and of a column of b (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", section 2.3). All of it is exact modulo 2³².
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import i8, i32
from aicc.ir.graph import Add, Cast, Conv, MatMul, Mul, Pad, ReduceSum, Sub
from aicc.ir.graph.folders import constant_of
from aicc.ir.types import element_type, rank_of, shape_of
from aicc.passes.dce import eliminate_dead_code

MIDDLE = 128
"""What unsigned bytes lie around: i8 is from -128."""


@dataclass
class Narrow:
    """An operand as i8 and what is taken off each element: a value, or None for nothing."""

    value: SSAValue
    zero: SSAValue | None
    dim: int
    """The summed dim, counted from the end."""

    def sums(self, b: GraphBuilder) -> SSAValue:
        """Sums over the summed dim, kept as a dim of one; worked out here for a constant."""
        if (array := constant_of(self.value)) is not None:
            sums = array.astype(np.int32).sum(self.dim, keepdims=True, dtype=np.int32)
            return b.constant(sums, i32)
        axis = rank_of(self.value) + self.dim
        return b.emit(ReduceSum, b.cast(self.value, i32), axes=[axis], keepdims=True)


def narrowed(value: SSAValue, dim: int, b: GraphBuilder) -> Narrow | None:
    """An operand of i32 that is 8-bit numbers less a zero point, as such."""
    if (array := constant_of(value)) is not None:
        if not array.size or int(array.max()) - int(array.min()) > 255:
            return None
        offset = 0
        if array.max() > 127 or array.min() < -128:
            offset = int(array.max()) - 127
        made = b.constant((array - offset).astype(np.int8), i8)
        return Narrow(made, b.constant(-offset, i32) if offset else None, dim)
    zero, inner = None, value
    if isinstance(inner.owner, Sub):
        inner, zero = inner.owner.lhs, inner.owner.rhs
    if not isinstance(inner.owner, Cast) or not is_along(zero, dim):
        return None
    source = inner.owner.input
    dtype = element_type(source)
    if dtype.name not in ("i8", "ui8"):
        return None
    if dtype.name == "i8":
        return Narrow(source, zero, dim)
    signed = b.cast(b.emit(Sub, inner, b.scalar_like(MIDDLE, inner)), i8)
    if zero is None:
        return Narrow(signed, b.constant(-MIDDLE, i32), dim)
    if (known := constant_of(zero)) is not None:
        return Narrow(signed, b.constant((known - MIDDLE).astype(np.int32), i32), dim)
    return Narrow(signed, b.emit(Sub, zero, b.scalar_like(MIDDLE, zero)), dim)


def is_along(zero: SSAValue | None, dim: int) -> bool:
    """Whether a zero point is the same for all elements that are summed."""
    if zero is None:
        return True
    shape = shape_of(zero)
    return len(shape) < -dim or shape[dim] == 1


def is_zero(value: SSAValue | None) -> bool:
    if value is None:
        return True
    array = constant_of(value)
    return array is not None and not array.any()


class NarrowMatMul(RewritePattern):
    """(cast(a) − za) @ (cast(b) − zb), of i32 → a @ b, of i8 into i32, and corrections"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatMul, rewriter: PatternRewriter) -> None:
        if any(element_type(v) != i32 for v in (op.lhs, op.rhs, op.result)):
            return
        depth = shape_of(op.lhs)[-1]
        b = GraphBuilder.before(op)
        with b.at(op.location):
            left, right = narrowed(op.lhs, -1, b), narrowed(op.rhs, -2, b)
            if left is None or right is None or depth is None:
                return
            result = b.emit(MatMul, left.value, right.value, out_dtype=i32)
            for one, other in ((left, right), (right, left)):
                if one.zero is not None and not is_zero(one.zero):
                    result = b.emit(Sub, result, b.emit(Mul, one.zero, other.sums(b)))
            if left.zero and right.zero and not (is_zero(left.zero) or is_zero(right.zero)):
                both = b.emit(Mul, b.emit(Mul, left.zero, right.zero), b.cast(b.dim(depth), i32))
                result = b.emit(Add, result, both)
        result.name_hint = op.result.name_hint
        rewriter.replace(op, [], [result])


class NarrowConv(RewritePattern):
    """conv(cast(x) − zx, cast(w) − zw), of i32 → conv(x, w), of i8 into i32, and corrections

    Where x is padded by zero, the narrow one is by its zero point: the difference is zero again.
    What a window of x sums up to is a convolution with ones.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Conv, rewriter: PatternRewriter) -> None:
        wide = any(element_type(v) != i32 for v in (op.input, op.weight, op.result))
        if wide or op.bias is not None or not is_offset(op.input, ()):
            return
        shape, rank = [d for d in shape_of(op.weight) if isinstance(d, int)], len(op.strides)
        if not is_offset(op.weight, (0,)) or len(shape) != rank + 2:
            return
        b = GraphBuilder.before(op)
        with b.at(op.location):
            image, weight = narrowed(op.input, -rank - 1, b), narrowed(op.weight, -rank - 1, b)
            if image is None or weight is None:
                return
            zx, zw = (None if is_zero(side.zero) else side.zero for side in (image, weight))
            if zw is not None and op.groups != 1:
                return
            x = image.value
            if any(op.pads):
                low, high = ([0, 0, *p] for p in (op.pads[:rank], op.pads[rank:]))
                border = b.scalar_like(0, x) if zx is None else b.cast(b.reshape(zx, []), i8)
                x = b.emit(Pad, x, border, low=low, high=high)
            rest = {**op.param_values(), "pads": [0] * len(op.pads), "out_dtype": i32}
            result = b.emit(Conv, x, weight.value, None, **rest)
            if zx is not None:
                zx = b.reshape(zx, [])
                sums = b.reshape(all_sums(weight.value, b), [shape[0], *[1] * rank])
                result = b.emit(Sub, result, b.emit(Mul, zx, sums))
            if zw is not None:
                zw = b.reshape(zw, [shape[0] if shape[0] in shape_of(zw) else 1, *[1] * rank])
                ones = b.constant(np.ones((1, *shape[1:]), np.int8), i8)
                result = b.emit(Sub, result, b.emit(Mul, zw, b.emit(Conv, x, ones, None, **rest)))
            if zx is not None and zw is not None:
                taps = b.constant(math.prod(shape[1:]), i32)
                result = b.emit(Add, result, b.emit(Mul, b.emit(Mul, zx, zw), taps))
        result.name_hint = op.result.name_hint
        rewriter.replace(op, [], [result])


def all_sums(weight: SSAValue, b: GraphBuilder) -> SSAValue:
    """The sum of each output channel's weights; worked out here for a constant."""
    axes = tuple(range(1, rank_of(weight)))
    if (array := constant_of(weight)) is not None:
        return b.constant(array.sum(axes, dtype=np.int32), i32)
    return b.emit(ReduceSum, b.cast(weight, i32), axes=list(axes))


def is_offset(value: SSAValue, axes: tuple[int, ...]) -> bool:
    """Whether what is taken off elements, if anything is, varies along no other axes."""
    zero = value.owner.rhs if isinstance(value.owner, Sub) else None
    shape = shape_of(zero) if zero is not None else ()
    before = rank_of(value) - len(shape)
    return all(d == 1 or before + i in axes for i, d in enumerate(shape))


class NarrowProducts(ModulePass):
    """Multiply 8-bit operands as such where they were widened, and their zero points taken off."""

    name = "narrow-products"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns = GreedyRewritePatternApplier([NarrowMatMul(), NarrowConv()])
        PatternRewriteWalker(patterns, apply_recursively=False).rewrite_module(op)
        eliminate_dead_code(op)
