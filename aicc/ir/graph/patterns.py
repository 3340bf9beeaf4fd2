"""Canonicalization patterns: one small class each, with its equation."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.rewriter import InsertPoint

from aicc.ir.graph.contract import Conv
from aicc.ir.graph.control import If, Yield
from aicc.ir.graph.folders import constant_of, is_splat
from aicc.ir.graph.misc import Dequantize
from aicc.ir.graph.shape import Pad, Reshape, Transpose
from aicc.ir.graph.unary import Cast
from aicc.ir.types import element_type, numel, rank_of, shape_of, tensor


class ReshapeOfReshape(RewritePattern):
    """reshape(reshape(x)) → reshape(x)"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Reshape, rewriter: PatternRewriter) -> None:
        inner = op.input.owner
        if not isinstance(inner, Reshape) or op.shape is None:
            return
        new = Reshape.make(
            inner.input, shape=op.shape, result_types=[op.result.type], location=op.location
        )
        rewriter.replace(op, new)


class TransposeOfTranspose(RewritePattern):
    """transpose(transpose(x, p), q) → transpose(x, p ∘ q)"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Transpose, rewriter: PatternRewriter) -> None:
        inner = op.input.owner
        if not isinstance(inner, Transpose):
            return
        combined = tuple(inner.permutation[p] for p in op.permutation)
        rewriter.replace(
            op, Transpose.make(inner.input, permutation=combined, location=op.location)
        )


class CastOfWideningCast(RewritePattern):
    """cast(cast(x, wide), to) → cast(x, to), where the first cast loses nothing"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Cast, rewriter: PatternRewriter) -> None:
        inner = op.input.owner
        if not isinstance(inner, Cast):
            return
        source, middle = element_type(inner.input), inner.to
        wider = source.kind == middle.kind and source.bits < middle.bits and middle.bits >= 16
        if not wider or (source.kind == "float" and not (middle.bits >= 32 and source.bits >= 16)):
            return
        new = Cast.make(
            inner.input,
            to=op.to,
            saturate=op.saturate,
            round_mode=op.round_mode,
            location=op.location,
        )
        rewriter.replace(op, new)


class IfOfConstant(RewritePattern):
    """if(constant) {a} else {b} → a or b"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: If, rewriter: PatternRewriter) -> None:
        condition = constant_of(op.condition)
        if condition is None:
            return
        region = op.then_region if bool(condition) else op.else_region
        block = region.block
        end = block.last_op
        assert isinstance(end, Yield)
        values = list(end.operands)
        rewriter.erase(end)
        rewriter.inline_block(block, _before(op))
        rewriter.replace(op, [], values)


def _before(op: Operation) -> InsertPoint:
    return InsertPoint.before(op)


class ConvOfPad(RewritePattern):
    """conv(pad(x, 0, low, high), w, pads) → conv(x, w, pads + low, high), where only places grow"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Conv, rewriter: PatternRewriter) -> None:
        inner = op.input.owner
        if not isinstance(inner, Pad) or inner.mode != "constant" or inner.low is None:
            return
        if op.layout != "nchw":
            return
        ends = (*inner.low, *inner.high) if inner.high is not None else (None,)
        if not all(isinstance(d, int) and d >= 0 for d in ends) or not is_splat(inner.value, 0):
            return
        if any((*inner.low[:2], *inner.high[:2])):
            return
        more = (*inner.low[2:], *inner.high[2:])
        new = op.clone()
        new.operands[0] = inner.input
        new.set_param("pads", [p + m for p, m in zip(op.pads, more, strict=True)])
        rewriter.replace(op, new)


class TransposeOfDequantize(RewritePattern):
    """transpose(dequantize(q)) → dequantize(transpose(q)): fewer bytes to move, or a constant's"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Transpose, rewriter: PatternRewriter) -> None:
        inner = op.input.owner
        if not isinstance(inner, Dequantize) or not may_move(inner):
            return
        params = inner.param_values()
        operands = [inner.scale, inner.zero_point]
        if any(rank_of(v) == 1 and shape_of(v) != (1,) for v in operands if v) or inner.block_size:
            params["axis"] = list(op.permutation).index(inner.axis)

        def moved(value: SSAValue) -> SSAValue:
            made = Transpose.make(value, permutation=op.permutation, location=op.location)
            rewriter.insert(made, InsertPoint.before(op))
            return made.result

        if inner.block_size:
            operands = [None if v is None else moved(v) for v in operands]
        new = Dequantize.make(moved(inner.input), *operands, location=inner.location, **params)
        rewriter.replace(op, new)


class ReshapeOfDequantize(RewritePattern):
    """reshape(dequantize(q)) → dequantize(reshape(q)), for one scale"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Reshape, rewriter: PatternRewriter) -> None:
        inner = op.input.owner
        if not isinstance(inner, Dequantize) or not may_move(inner) or op.shape is None:
            return
        if inner.block_size:
            return
        if any(numel(shape_of(v)) != 1 for v in (inner.scale, inner.zero_point) if v is not None):
            return
        type = tensor(shape_of(op.result), element_type(inner.input))
        made = Reshape.make(inner.input, shape=op.shape, result_types=[type], location=op.location)
        rewriter.insert(made, InsertPoint.before(op))
        params = {**inner.param_values(), "axis": 0}
        new = Dequantize.make(
            made.result, inner.scale, inner.zero_point, location=inner.location, **params
        )
        rewriter.replace(op, new)


def may_move(op: Dequantize) -> bool:
    """Whether nothing is dequantized twice if one reader does it at another place."""
    return op.result.has_one_use() or constant_of(op.input) is not None


PATTERNS: tuple[RewritePattern, ...] = (
    ReshapeOfReshape(),
    TransposeOfTranspose(),
    CastOfWideningCast(),
    IfOfConstant(),
    ConvOfPad(),
    TransposeOfDequantize(),
    ReshapeOfDequantize(),
)
