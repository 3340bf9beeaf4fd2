"""Products of dequantized operands, on the integers that they were quantized to.

``(sa·(a − za)) @ (sb·(b − zb)) = sa·sb·((a − za) @ (b − zb))``, as long as neither scale varies
along what is summed over (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", section 2.2). The sums are exact; what follows them
is one multiplication, by the scales and by what the result is quantized with.
"""

from __future__ import annotations

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
from aicc.ir.dtypes import DType, f32, i32
from aicc.ir.graph import Add, Cast, Conv, Dequantize, MatMul, Mul, Quantize, Relu, Sub
from aicc.ir.graph.folders import constant_of
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import element_type, numel, rank_of, shape_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.narrow_products import is_zero

FLOATS = ("f8E4M3FN", "f8E5M2")
"""Floats whose products are exact in f32."""


@dataclass
class Scaled:
    """An operand as it was quantized, less its zero point, and its scale, broadcast against it.

    Products of integers are summed as i32, those of 8-bit floats as f32.
    """

    value: SSAValue
    scale: SSAValue
    sums: DType


def scaled(value: SSAValue, dims: tuple[int, ...], b: GraphBuilder) -> Scaled | None:
    """A dequantized operand of 8-bit numbers; None if its scale varies along `dims`.

    `dims` count from the end.
    """
    op = value.owner
    if not isinstance(op, Dequantize):
        return None
    dtype = element_type(op.input).name
    scale = beside(op, op.scale, dims, b)
    if scale is None or dtype not in ("i8", "ui8", *FLOATS):
        return None
    if dtype in FLOATS:
        return Scaled(op.input, b.cast(scale, f32), f32) if is_zero(op.zero_point) else None
    wide = b.cast(op.input, i32)
    if op.zero_point is not None and not is_zero(op.zero_point):
        zero = beside(op, op.zero_point, dims, b)
        if zero is None:
            return None
        wide = b.emit(Sub, wide, b.cast(zero, i32))
    return Scaled(wide, b.cast(scale, f32), i32)


def beside(
    op: Dequantize, parameter: SSAValue, dims: tuple[int, ...], b: GraphBuilder
) -> SSAValue | None:
    """A scale or zero point that broadcasts against the operand; None if it varies along `dims`."""
    rank, shape = rank_of(op.input), shape_of(parameter)
    fixed = [rank + d for d in dims]
    if numel(shape) == 1:
        return reshaped(b, parameter, [])
    if op.block_size:
        return parameter if all(shape[d] == 1 for d in fixed) and one_block(op, shape) else None
    if op.axis in fixed:
        return None
    return reshaped(b, parameter, [-1 if i == op.axis else 1 for i in range(rank)])


def reshaped(b: GraphBuilder, value: SSAValue, shape: list) -> SSAValue:
    """A parameter in another shape, worked out here for a constant."""
    array = constant_of(value)
    return b.reshape(value, shape) if array is None else b.constant(array.reshape(shape))


def one_block(op: Dequantize, shape: tuple) -> bool:
    """Whether a blocked parameter has one number for all that lies along the op's axis."""
    whole = shape_of(op.input)
    return shape[op.axis] == 1 and all(
        a == b for i, (a, b) in enumerate(zip(shape, whole, strict=True)) if i != op.axis
    )


def times(b: GraphBuilder, first: SSAValue, second: SSAValue) -> SSAValue:
    """A product of scales, worked out here for constants, in float32."""
    x, y = constant_of(first), constant_of(second)
    if x is not None and y is not None:
        return b.constant(np.asarray(x * y, np.float32))
    return b.emit(Mul, first, second)


class IntegerMatMul(RewritePattern):
    """dequantize(a) @ dequantize(b) → (a @ b) · scales, of integers or 8-bit floats"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatMul, rewriter: PatternRewriter) -> None:
        if not (are_dequantized(op.lhs, op.rhs) and element_type(op.result).is_float):
            return
        b = GraphBuilder.before(op)
        left, right = scaled(op.lhs, (-1,), b), scaled(op.rhs, (-2,), b)
        if left is None or right is None or left.sums != right.sums:
            return
        if left.sums == f32 and element_type(left.value) != element_type(right.value):
            return
        total = b.emit(MatMul, left.value, right.value, out_dtype=left.sums)
        result = b.emit(Mul, b.cast(total, f32), times(b, left.scale, right.scale))
        rewriter.replace(op, [], [named(b.cast(result, element_type(op.result)), op)])


class IntegerConv(RewritePattern):
    """conv(dequantize(x), dequantize(w), bias) → conv(x, w) · scales + bias, of integers

    A bias that is quantized with the scale of the sums is added to them.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Conv, rewriter: PatternRewriter) -> None:
        if not (are_dequantized(op.input, op.weight) and element_type(op.result).is_float):
            return
        rank = rank_of(op.input)
        b = GraphBuilder.before(op)
        every = tuple(range(-rank, 0))
        image, weight = scaled(op.input, every, b), scaled(op.weight, every[1:], b)
        if image is None or weight is None or {image.sums, weight.sums} != {i32}:
            return
        spatial = list(range(1, rank - 1))
        scale = weight.scale
        if rank_of(scale):  # [M, 1, …] → [M, 1, …] beside a result [N, M, …]
            scale = reshaped(b, scale, [shape_of(scale)[0], *[1] * (rank - 2)])
        scale = times(b, image.scale, scale)
        params = {**op.param_values(), "out_dtype": i32}
        total = b.emit(Conv, image.value, weight.value, None, **params)
        bias = op.bias
        if bias is not None and (sums := integer_bias(bias, scale)) is not None:
            total = b.emit(Add, total, b.unsqueeze(sums, spatial))
            bias = None
        result = b.emit(Mul, b.cast(total, f32), scale)
        if bias is not None:
            result = b.emit(Add, result, b.unsqueeze(b.cast(bias, f32), spatial))
        rewriter.replace(op, [], [named(b.cast(result, element_type(op.result)), op)])


def are_dequantized(*values: SSAValue) -> bool:
    return all(isinstance(v.owner, Dequantize) for v in values)


def named(value: SSAValue, op: MatMul | Conv) -> SSAValue:
    value.name_hint = op.result.name_hint
    return value


def integer_bias(bias: SSAValue, scale: SSAValue) -> SSAValue | None:
    """The i32 numbers of a bias whose scale is that of the sums, but for rounding."""
    op = bias.owner
    if not isinstance(op, Dequantize) or element_type(op.input) != i32:
        return None
    own, sums = constant_of(op.scale), constant_of(scale)
    if own is None or sums is None or not is_zero(op.zero_point):
        return None
    flat = sums.reshape(-1)
    if own.size not in (1, flat.size) or not np.allclose(own.reshape(-1), flat, rtol=1e-5, atol=0):
        return None
    return op.input


class ScaleIntoQuantize(RewritePattern):
    """quantize(cast(sums) · s, t, z) → quantize(cast(sums) · (s/t), 1, z), for constant s and t

    A relu between them stays there.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Quantize, rewriter: PatternRewriter) -> None:
        to = constant_of(op.scale)
        if to is None or to.size != 1 or to.dtype != np.float32 or to.reshape(()) == 1:
            return
        relus: list[Relu] = []
        value = op.input
        while isinstance(value.owner, Relu) and value.has_one_use():
            relus.append(value.owner)
            value = value.owner.input
        product = value.owner
        if not isinstance(product, Mul) or not value.has_one_use():
            return
        scale = constant_of(product.rhs)
        sums = product.lhs.owner
        if scale is None or scale.dtype != np.float32 or not isinstance(sums, Cast):
            return
        if element_type(sums.input) != i32:
            return
        b = GraphBuilder.before(op)
        ratio = np.asarray(scale / to.reshape(()), np.float32)
        result = b.emit(Mul, product.lhs, b.constant(ratio))
        for relu in reversed(relus):
            result = b.emit(Relu, result)
            result.name_hint = relu.result.name_hint
        one = b.constant(np.float32(1))
        params = op.param_values()
        result = b.emit(Quantize, result, one, op.zero_point, **params)
        result.name_hint = op.result.name_hint
        rewriter.replace(op, [], [result])


class IntegerProducts(ModulePass):
    """Multiply what was quantized as the integers that it is, and scale their sums once."""

    name = "integer-products"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if isinstance(ctx, CompileContext) and not ctx.target.integer_products:
            return
        products = GreedyRewritePatternApplier([IntegerMatMul(), IntegerConv()])
        PatternRewriteWalker(products, apply_recursively=False).rewrite_module(op)
        PatternRewriteWalker(ScaleIntoQuantize(), apply_recursively=False).rewrite_module(op)
        eliminate_dead_code(op)
