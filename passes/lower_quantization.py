"""Quantize and dequantize as arithmetic, for targets that print kernels.

Constants of 4 and 2 bits are packed into bytes here, those of neighbouring rows into one byte: a
kernel that reads rows of a weight reads whole vectors of bytes and shifts them all alike.
"""

from __future__ import annotations

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import DType, bf16, dtype_of, f16, f32, i32
from aicc.ir.graph import (
    And,
    Dequantize,
    Eq,
    Iota,
    Lt,
    Max,
    Mul,
    Quantize,
    Select,
    Shl,
    Shr,
    Sub,
)
from aicc.ir.graph.decompositions import spread
from aicc.ir.graph.folders import constant_of
from aicc.ir.types import element_type, shape_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.decompose import decomposed
from aicc.passes.weights import derived_constant

BYTES = ("i8", "ui8", "i16", "ui16", "f8E4M3FN", "f8E5M2")
"""Types that kernels hold as they are."""

F4 = dtype_of("f4E2M1FN")

EXACT = {"f8E8M0FNU": bf16, "f8E4M3FN": f16, "f8E5M2": f16}
"""Scales of 8 bits, and a type that kernels read and that holds them all exactly."""


class LowerQuantization(ModulePass):
    """Replace quantize and dequantize of bytes, and dequantize of packed constants."""

    name = "lower-quantization"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in list(op.walk()):
            if isinstance(inner, Quantize) and element_type(inner.result).name in BYTES:
                decomposed(inner)
            elif isinstance(inner, Dequantize):
                self.dequantize(inner)
        eliminate_dead_code(op)

    def dequantize(self, op: Dequantize) -> None:
        dtype = element_type(op.input)
        if dtype.name in BYTES:
            decomposed(op)
            return
        array = constant_of(op.input)
        points = None if op.zero_point is None else constant_of(op.zero_point)
        if array is None or dtype.bits > 4 or array.ndim < 2 or dtype.name.endswith("2"):
            return
        if op.zero_point is not None and points is None:
            return  # kernels read no 4-bit tensors
        b = GraphBuilder.before(op)
        codes, middle = self.unpacked(b, op.input, array, dtype)
        x = b.cast(codes, f32)
        if dtype == F4:
            x = decoded(b, codes)
        zero = float(middle)
        if points is not None:
            wide = points.astype(np.int8)
            if wide.any() or middle:
                x = b.emit(Sub, x, b.cast(spread(b, b.constant(wide + np.int8(middle)), op), f32))
        elif zero:
            x = b.emit(Sub, x, b.constant(zero, f32))
        scale = b.cast(spread(b, readable(b, op.scale), op), f32)
        result = b.cast(b.emit(Mul, x, scale), element_type(op.result))
        result.name_hint = op.result.name_hint
        op.result.replace_all_uses_with(result)
        op.detach()
        op.erase()

    def unpacked(
        self, b: GraphBuilder, source: SSAValue, array: np.ndarray, dtype: DType
    ) -> tuple[SSAValue, int]:
        """A constant's codes, as i32 taken out of packed bytes, and what they are too large by.

        Signed numbers are packed with 8 added.
        """
        middle = 8 if dtype.kind == "int" else 0
        packed = derived_constant(source, pack(array, middle))
        packed.result.name_hint = source.name_hint or "packed"
        b._insert(packed)
        *lead, rows, columns = array.shape
        pairs = shape_of(packed.result)[-2]
        assert isinstance(pairs, int)
        both = b.expand(b.unsqueeze(packed.result, [len(lead) + 1]), [*lead, pairs, 2, columns])
        shift = b.emit(Iota, shape=[2, 1], axis=0, dtype=i32)
        wide = b.emit(Shr, b.cast(both, i32), b.emit(Mul, shift, b.constant(4, i32)))
        codes = b.emit(And, wide, b.constant(15, i32))
        codes = b.reshape(codes, [*lead, 2 * pairs, columns])
        if rows % 2:
            codes = b.slice(codes, len(lead), 0, rows)
        return codes, middle


def pack(array: np.ndarray, middle: int = 0) -> np.ndarray:
    """Numbers of 4 bits ``[…, K, N]`` as bytes ``[…, ⌈K/2⌉, N]``: even rows in the low halves.

    `middle` is added to each; codes of floats are packed as they are.
    """
    if array.dtype == F4.np:
        codes = array.view(np.uint8) & 15
    else:
        codes = (array.astype(np.int8) + np.int8(middle)).view(np.uint8)
    if codes.shape[-2] % 2:
        codes = np.concatenate([codes, np.zeros_like(codes[..., :1, :])], axis=-2)
    return codes[..., ::2, :] | (codes[..., 1::2, :] << 4)


def decoded(b: GraphBuilder, codes: SSAValue) -> SSAValue:
    """What codes of f4E2M1FN stand for (OCP Microscaling Formats, section 5.3.3), as f32.

    Halves are counted: 0, 1, 2, 3, 4, 6, 8, 12, the sign in bit 3.
    """
    number = lambda n: b.constant(n, i32)  # noqa: E731
    size = b.emit(And, codes, number(7))
    exponent = b.emit(Shr, size, number(1))
    fraction = b.emit(And, size, number(1))
    whole = b.emit(Shl, _plus(b, fraction, 2), b.emit(Max, _plus(b, exponent, -1), number(0)))
    halves = b.cast(b.emit(Select, b.emit(Lt, size, number(2)), size, whole), f32)
    negative = b.emit(Eq, b.emit(Shr, codes, number(3)), number(1))
    factor = b.emit(Select, negative, b.constant(-0.5, f32), b.constant(0.5, f32))
    return b.emit(Mul, halves, factor)


def _plus(b: GraphBuilder, value: SSAValue, number: int) -> SSAValue:
    return b.emit(Sub, value, b.constant(-number, i32))


def readable(b: GraphBuilder, scale: SSAValue) -> SSAValue:
    """A scale in a type that kernels read."""
    goal = EXACT.get(element_type(scale).name)
    array = constant_of(scale)
    if goal is None or array is None:
        return scale
    return b.constant(array.astype(np.float32).astype(goal.np))
