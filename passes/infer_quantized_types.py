"""Says in the types of codes what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from aicc.ir.graph import Concat, Dequantize, MaxPool, Quantize, Reshape, Slice, Transpose
from aicc.ir.module import functions, update_function_type
from aicc.ir.quantized import Quantization, quantization_of, quantized
from aicc.ir.types import element_type


class InferQuantizedTypes(ModulePass):
    """Give codes the type that the quantize which makes them, or all that read them, tell.

    Where scales and zero points are constants, ``tensor<8x64xi8>`` becomes
    ``tensor<8x64xi8, #graph.quantized<f32, scale = 0.02, zero_point = -3>>`` (`aicc.ir.quantized`),
    weights and arguments too; moving elements about keeps it. From then on the verifier checks that
    codes are read as they were written. The pass `strip-quantized-types` takes it away.
    """

    name = "infer-quantized-types"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for func in functions(op).values():
            for inner in func.walk():
                found = quantization_by(inner)
                if found is not None:
                    annotate(inner.results[0], found)
            for inner in func.walk():
                if isinstance(inner, Dequantize) and (found := read_alike(inner.input)) is not None:
                    annotate(inner.input, found)
            update_function_type(func)


def annotate(value: SSAValue, found: Quantization) -> None:
    """Give a value the type, unless it is a region's argument, whose type others share."""
    block = value.owner
    if isinstance(block, Operation) or isinstance(block.parent_op(), FuncOp):
        value._type = quantized(value.type, found)


def quantization_by(op: Operation) -> Quantization | None:
    """What the codes that an op gives stand for, by its parameters or by what it moves."""
    if isinstance(op, Quantize):
        return op.quantization(element_type(op.input))
    rule = MOVERS.get(type(op))
    if rule is None:
        return None
    first, *others = (quantization_of(v) for v in op.operands)
    return rule(op, first) if first is not None and rule_applies(op, first, others) else None


def rule_applies(op: Operation, first: Quantization, others: list[Quantization | None]) -> bool:
    """Whether an op moves codes of one quantization only."""
    return not isinstance(op, Concat) or all(o == first for o in others)


def transposed(op: Transpose, q: Quantization) -> Quantization:
    return q if q.axis is None else q.on_axis(op.permutation.index(q.axis))


def per_tensor(op: Operation, q: Quantization) -> Quantization | None:
    return q if q.is_per_tensor else None


def increasing(op: Operation, q: Quantization) -> Quantization | None:
    """The largest code is that of the largest number if scales are positive."""
    return q if isinstance(q.scale, float) and q.scale > 0 else None


MOVERS: Mapping[type[Operation], Callable[..., Quantization | None]] = {
    Transpose: transposed,
    Reshape: per_tensor,
    Slice: per_tensor,
    Concat: per_tensor,
    MaxPool: increasing,
}
"""Ops that give codes of the kind that they are given."""


def read_alike(codes: SSAValue) -> Quantization | None:
    """How all dequantizes read codes whose type doesn't say it; None if they differ."""
    if quantization_of(codes) is not None:
        return None
    readers = [u.operation for u in codes.uses]
    found = {
        r.quantization(element_type(r.result))
        for r in readers
        if isinstance(r, Dequantize) and r.input is codes
    }
    return found.pop() if len(found) == 1 else None
