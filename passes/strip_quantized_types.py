"""Leaves only the storage of codes in their types."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from aicc.ir.module import functions, update_function_type
from aicc.ir.quantized import quantization_of, quantized


class StripQuantizedTypes(ModulePass):
    """Take what codes stand for out of types: kernels hold integers, scales are operands."""

    name = "strip-quantized-types"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for func in functions(op).values():
            found = [v for v in values_of(func) if quantization_of(v) is not None]
            for value in found:
                value._type = quantized(value.type, None)
            if found:
                update_function_type(func)


def values_of(func: Operation) -> Iterator[SSAValue]:
    """What a function's ops give, and the arguments of its blocks."""
    for op in func.walk():
        yield from op.results
        for block in (b for region in op.regions for b in region.blocks):
            yield from block.args
