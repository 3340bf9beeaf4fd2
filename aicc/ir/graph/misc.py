"""Signal, quantization and random ops."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import opt_operand_def, traits_def

from aicc.ir.constants import DenseAttr
from aicc.ir.dtypes import DType
from aicc.ir.graph.common import (
    PURE,
    SEGMENTS,
    TENSOR,
    GraphOp,
    is_float,
    operand_def,
    require,
    require_axis,
    require_dtype,
    result_def,
    result_numel,
    structural,
)
from aicc.ir.graph.creation import Constant
from aicc.ir.op import graph_op
from aicc.ir.params import DIMS, param
from aicc.ir.quantized import Quantization, quantization_by, quantization_of
from aicc.ir.symbols import Dim, floordiv
from aicc.ir.types import element_type, numel, rank_of, shape_of, tensor
from aicc.ir.values import SymbolicValues


@graph_op
class DFT(GraphOp):
    """The discrete Fourier transform along `axis` of length `length`. ONNX DFT.

    The last dim is 1 (real) or 2 (real and imaginary part). `onesided` keeps the first n/2 + 1
    bins, or with `inverse` takes them and gives a real signal.
    """

    name = "graph.dft"
    traits = PURE
    input = operand_def(TENSOR)
    dyn_length = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    axis: int = param(int)
    inverse: bool = param(bool, default=False)
    onesided: bool = param(bool, default=False)
    length: tuple = param(DIMS, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        shape = list(shape_of(self.input))
        require(self, len(shape) >= 2 and shape[-1] in (1, 2), "the last dim must be 1 or 2")
        require_axis(self, self.axis, len(shape) - 1)
        n = (structural(self, "length", values, 1) or (None,))[0]
        shape[-1] = 2
        if self.onesided and self.inverse:
            shape[-1] = 1
        elif self.onesided and n is not None:
            n = floordiv(n, 2) + 1
        shape[self.axis] = n
        return [tensor(shape, dtype)]


class _Quantization(GraphOp):
    axis: int = param(int, default=0)
    block_size: int = param(int, default=0)
    dtype: DType = param(DType)

    def check_scale(self) -> None:
        scale, x = self.operands[1], self.operands[0]
        require_dtype(self, scale, is_float, "the scale")
        r = rank_of(scale)
        one = r == 1 and shape_of(scale)[0] == 1
        if r == 1 and not one and self.block_size == 0:
            require_axis(self, self.axis, rank_of(x))
        require(
            self,
            r in (0, 1) or (self.block_size > 0 and r == rank_of(x)),
            "the scale must be a scalar, 1-D, or blocked with the operand's rank",
        )
        zero_point = getattr(self, "zero_point", None)
        if zero_point is not None:
            single = numel(shape_of(zero_point)) == 1 and (r == 0 or one)
            require(self, rank_of(zero_point) == r or single, "scale and zero point differ in rank")

    def check_type(self, codes: SSAValue, expressed: DType) -> None:
        """What the type of the codes says is what the parameters say, where both are known."""
        said = quantization_of(codes)
        if said is None or (known := self.quantization(expressed)) is None:
            return
        require(self, said == known, f"the codes' type says <{said}>, the parameters <{known}>")

    def quantization(self, expressed: DType) -> Quantization | None:
        """What the codes stand for, where the parameters are constants."""
        known: list[DenseAttr] = []
        for parameter in self.operands[1:]:
            op = parameter.owner
            if not isinstance(op, Constant) or not op.value.data.resolved:
                return None
            known.append(op.value)
        axis = self.axis % max(rank_of(self.operands[0]), 1)
        point = known[1] if len(known) > 1 else None
        return quantization_by(expressed, known[0], point, axis, self.block_size)

    def flops(self) -> Dim:
        return 2 * result_numel(self)


@graph_op
class Quantize(_Quantization):
    """saturate(round(x / scale) + zero_point), halves to even. ONNX QuantizeLinear.

    The scale is a scalar, one per index along `axis`, or one per block of `block_size` along it.
    """

    name = "graph.quantize"
    traits = PURE
    input = operand_def(TENSOR)
    scale = operand_def(TENSOR)
    zero_point = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    saturate: bool = param(bool, default=True)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        self.check_scale()
        self.check_type(self.result, element_type(self.input))
        return [tensor(shape_of(self.input), self.dtype)]


@graph_op
class Dequantize(_Quantization):
    """(q − zero_point) · scale as `dtype`. ONNX DequantizeLinear."""

    name = "graph.dequantize"
    traits = PURE
    input = operand_def(TENSOR)
    scale = operand_def(TENSOR)
    zero_point = opt_operand_def(TENSOR)
    result = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        self.check_scale()
        self.check_type(self.input, self.dtype)
        return [tensor(shape_of(self.input), self.dtype)]


class _Random(GraphOp):
    """Random numbers.

    With a `seed` every run gives the same numbers, those of the Mersenne Twister MT19937 as NumPy
    seeds it; without one each run draws anew, so two such ops are never the same.
    """

    traits = traits_def()
    dyn_shape = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    shape: tuple = param(DIMS, default=None)
    dtype: DType = param(DType)
    seed: int | None = param(int, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dims = structural(self, "shape", values)
        require(self, dims is not None, "the length of the shape must be static")
        require(self, self.dtype.is_float, f"{self.dtype} is no float type")
        return [tensor(dims or (), self.dtype)]


@graph_op
class RngUniform(_Random):
    """Uniform in [low, high). ONNX RandomUniform."""

    name = "graph.rng_uniform"
    low: float = param(float, default=0.0)
    high: float = param(float, default=1.0)


@graph_op
class RngNormal(_Random):
    """Normal with a mean and a standard deviation. ONNX RandomNormal."""

    name = "graph.rng_normal"
    mean: float = param(float, default=0.0)
    std: float = param(float, default=1.0)


__all__ = ["SEGMENTS", "element_type"]
