"""Quantizes the biases of convolutions that are computed on integers."""

from __future__ import annotations

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir.dtypes import i32
from aicc.ir.graph import Conv, Dequantize
from aicc.ir.graph.folders import constant_of
from aicc.ir.types import element_type
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.quantization.layers import Layer, layers_of


class QuantizeBiases(ModulePass):
    """Give constant biases the scale of the sums that they are added to, as 32-bit integers.

    One that is too large for that stays as it is.
    """

    name = "quantize-biases"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for layer in layers_of(op):
            if isinstance(layer.op, Conv):
                self.quantize(layer, layer.op)
        eliminate_dead_code(op)

    def quantize(self, layer: Layer, op: Conv) -> None:
        x, w, bias = op.input.owner, op.weight.owner, constant_of(op.bias)
        if not isinstance(x, Dequantize) or not isinstance(w, Dequantize) or bias is None:
            return
        if not (element_type(x.input).is_integer and element_type(w.input).is_integer):
            return
        image, weight = constant_of(x.scale), constant_of(w.scale)
        if image is None or weight is None or image.size != 1:
            return
        scale = np.asarray(image.reshape(()) * weight, np.float32)
        codes = np.rint(bias.astype(np.float64) / scale)
        if np.abs(codes).max(initial=0) >= 2**31:
            return
        b = layer.builder()
        made = b.constant(np.broadcast_to(codes, bias.shape).astype(np.int32), i32)
        real = b.emit(Dequantize, made, b.constant(scale), None, axis=0, dtype=bias.dtype)
        op.operands = [op.input, op.weight, real]
