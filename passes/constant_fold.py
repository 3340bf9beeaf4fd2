"""Evaluates ops whose operands are all constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, OpResult
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import Pure

from aicc.ir.constants import DenseAttr
from aicc.ir.graph import Constant, Dequantize, ShapeExpr, Transpose
from aicc.ir.interfaces import CompileContext, Evaluator, value_of
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, numel, shape_of, static_shape

VIEWED = 1 << 16
"""Bytes from which on a transposed constant is a view of what it was made of."""


@dataclass(frozen=True)
class ConstantFold(ModulePass):
    """Replace pure ops of constants by their value, computed by the context's evaluator.

    Bounded: a result with more than `max_elements` elements is folded only where the operands
    together are as large, and never with more than all constants had before: a small op, or a
    chain of them, never becomes a huge constant. Dequantized weights stay as small as they are:
    products read them as integers, or dequantize what they read.
    """

    name = "constant-fold"
    max_elements: int = 1024

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if not isinstance(ctx, CompileContext) or ctx.evaluator is None:
            return
        ops = list(op.walk())
        whole = sum(math.prod(o.value.data.shape) for o in ops if isinstance(o, Constant))
        for inner in ops:
            if isinstance(inner, GraphOp) and self._may_fold(inner, whole):
                _fold(inner, ctx.evaluator)

    def _may_fold(self, op: GraphOp, whole: int) -> bool:
        if isinstance(op, Dequantize) and element_type(op.input).bits <= 8:
            return False
        if isinstance(op, (Constant, ShapeExpr)) or not op.has_trait(Pure) or op.regions:
            return False
        if not op.results or any(static_shape(r) is None for r in op.results):
            return False
        for p in op.STRUCTURAL:
            dims = getattr(op, p)
            if dims is not None and not all(isinstance(d, int) for d in dims):
                return False
        given = 0
        for value in dict.fromkeys(op.operands):
            source = value.owner if isinstance(value, OpResult) else None
            if not isinstance(source, Constant) or not source.value.data.resolved:
                return False
            given += source.value.data.array.size
        made = 0
        for r in op.results:
            count = numel(shape_of(r))
            made += count if isinstance(count, int) else 0
        return made <= max(self.max_elements, min(given, whole))


def _fold(op: GraphOp, evaluator: Evaluator) -> None:
    if isinstance(op, Transpose) and (turned := _turned(op)) is not None:
        _replace(op, [turned])
        return
    operands = [o.owner.value.data.array for o in op.operands]  # type: ignore[union-attr]
    results = value_of(evaluator, op, operands)
    if results is None:
        return
    new: list[DenseAttr] = []
    for array, result in zip(results, op.results, strict=True):
        if array.shape != static_shape(result) or array.dtype != element_type(result).np:
            return
        if not array.flags.c_contiguous or array.base is not None:
            array = np.array(array, order="C")
        new.append(DenseAttr.make(array))
    _replace(op, new)


def _turned(op: Transpose) -> DenseAttr | None:
    """A large named constant, transposed: a view, copied once it is known how it is stored."""
    source = op.input.owner
    assert isinstance(source, Constant)
    array, name = source.value.array, source.value.resource
    if name is None or array.nbytes < VIEWED:
        return None
    order = "".join(f".{d}" for d in op.permutation)
    return DenseAttr.make(array.transpose(op.permutation), f"{name}.turned{order}")


def _replace(op: GraphOp, values: Sequence[DenseAttr]) -> None:
    new: list[Operation] = []
    for value, result in zip(values, op.results, strict=True):
        constant = Constant.make(value=value, location=op.location)
        constant.result.name_hint = result.name_hint
        new.append(constant)
    for constant in new:
        Rewriter.insert_op(constant, InsertPoint.before(op))
    for old, constant in zip(op.results, new, strict=True):
        old.replace_all_uses_with(constant.results[0])
    op.detach()
    op.erase()
