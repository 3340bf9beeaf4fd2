"""Quantizes what layers read, with scales that are computed as the model runs."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import dtype_of, f32
from aicc.ir.graph import Abs, Dequantize, Div, Max, Quantize, ReduceMax
from aicc.ir.types import element_type, rank_of, shape_of
from aicc.passes.quantization.layers import by_input, layers_of
from aicc.passes.quantization.schemes import LEAST_SCALE, Scheme


@dataclass(frozen=True)
class QuantizeDynamically(ModulePass):
    """Put a quantize and a dequantize before each layer whose weight is quantized.

    Symmetric: the scale is the largest magnitude over the largest code, of each row that a matmul
    sums (a scale a token), or with `per_row` off, and for convolutions, of the whole tensor.
    """

    name = "quantize-dynamically"
    dtype: str = "i8"
    per_row: bool = True
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in ("i8", "f8E4M3FN", "f8E5M2"):
            raise ValueError(f"activations can't be {self.dtype} with scales of the moment")

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        layers = [
            v for v in layers_of(op, self.skip) if v.is_quantized and not v.is_input_quantized
        ]
        for value, readers in by_input(layers).items():
            first = readers[0]
            depth = shape_of(value)[-1]
            rows = self.per_row and not first.is_convolution and isinstance(depth, int)
            b = first.builder()
            scale = self.scale(b, value, rows)
            blocks = {"axis": rank_of(value) - 1, "block_size": depth} if rows else {}
            dtype = dtype_of(self.dtype)
            codes = b.emit(Quantize, value, scale, None, dtype=dtype, **blocks)
            for layer in readers:
                real = layer.builder().emit(
                    Dequantize, codes, scale, None, dtype=element_type(value), **blocks
                )
                layer.set_input(real)

    def scale(self, b: GraphBuilder, value: SSAValue, rows: bool) -> SSAValue:
        rank = rank_of(value)
        axes = [rank - 1] if rows else list(range(rank))
        size = b.emit(Abs, b.cast(value, f32))
        largest = b.emit(ReduceMax, size, axes=axes, keepdims=rows)
        scale = b.emit(Div, largest, b.constant(Scheme(dtype_of(self.dtype)).limits[1], f32))
        return b.emit(Max, scale, b.constant(LEAST_SCALE))
