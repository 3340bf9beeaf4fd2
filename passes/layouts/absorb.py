"""Transposes that a constant or an address can take over."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.rewriter import InsertPoint

from aicc.ir.graph import Expand, MatMul, Reshape, Transpose
from aicc.ir.graph.folders import constant_of
from aicc.ir.types import element_type, rank_of, shape_of, static_shape, tensor
from aicc.passes.weights import derived_constant


class TransposeOfOnes(RewritePattern):
    """transpose(x) → reshape(x), where only dims of 1 change their places"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Transpose, rewriter: PatternRewriter) -> None:
        shape = static_shape(op.input)
        if shape is None:
            return
        real = [d for d in op.permutation if shape[d] != 1]
        if real != sorted(real):
            return
        new = Reshape.make(
            op.input,
            shape=static_shape(op.result),
            result_types=[op.result.type],
            location=op.location,
        )
        new.result.name_hint = op.result.name_hint
        rewriter.replace(op, new)


def is_one_number(value: SSAValue) -> bool:
    """Whether all elements are one number: their order doesn't matter."""
    while isinstance(value.owner, (Transpose, Reshape, Expand)):
        value = value.owner.input
    known = constant_of(value)
    return known is not None and known.size == 1


class FlattenIntoWeights(RewritePattern):
    """reshape(transpose(x), [N, K]) @ W → reshape(x, [N, K]) @ W', rows of W in the order of x"""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MatMul, rewriter: PatternRewriter) -> None:
        flat = op.lhs.owner
        if not isinstance(flat, Reshape) or flat.shape is None or rank_of(flat.result) != 2:
            return
        turned, weight = flat.input.owner, constant_of(op.rhs)
        if not isinstance(turned, Transpose) or rank_of(op.rhs) != 2:
            return
        if weight is None and not is_one_number(op.rhs):
            return
        shape = shape_of(turned.result)[1:]
        sizes = [d for d in shape if isinstance(d, int)]
        if turned.permutation[0] != 0 or len(sizes) < len(shape):
            return
        if math.prod(sizes) != shape_of(op.rhs)[0] or not flat.result.has_one_use():
            return
        # The dims of what is flattened, in the order in which x has them.
        order = sorted(range(len(sizes)), key=lambda i: turned.permutation[1 + i])
        rhs = op.rhs
        if weight is not None:
            rows = weight.reshape(*sizes, -1).transpose(*order, len(sizes)).reshape(weight.shape)
            made = derived_constant(op.rhs, rows.copy())
            made.result.name_hint = op.rhs.name_hint
            rewriter.insert(made, InsertPoint.before(op))
            rhs = made.result
        plain = Reshape.make(
            turned.input,
            shape=flat.shape,
            result_types=[tensor(shape_of(flat.result), element_type(flat.result))],
            location=flat.location,
        )
        rewriter.insert(plain, InsertPoint.before(op))
        new = MatMul.make(
            plain.result,
            rhs,
            result_types=list(op.result_types),
            location=op.location,
            **op.param_values(),
        )
        new.result.name_hint = op.result.name_hint
        rewriter.replace(op, new)
