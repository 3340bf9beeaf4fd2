"""Elementwise ops of one operand."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType

from aicc.ir.dtypes import DType, i1
from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    UnaryOp,
    is_bits,
    is_float,
    is_numeric,
    is_signed,
    operand_def,
    require,
    require_dtype,
    result_def,
    result_numel,
)
from aicc.ir.op import graph_op
from aicc.ir.params import param
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, shape_of, tensor
from aicc.ir.values import Elements, SymbolicValues


@graph_op
class Abs(UnaryOp):
    """|x|; the most negative integer wraps. ONNX Abs, aten.abs."""

    name = "graph.abs"
    rule = staticmethod(is_numeric)


@graph_op
class Neg(UnaryOp):
    """−x; the most negative integer wraps. ONNX Neg, aten.neg."""

    name = "graph.neg"
    rule = staticmethod(is_signed)

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        known = values.get(self.input)
        return [None if known is None else tuple(None if d is None else -d for d in known)]


@graph_op
class Sign(UnaryOp):
    """−1, 0 or 1; NaN stays NaN. ONNX Sign, aten.sign."""

    name = "graph.sign"
    rule = staticmethod(is_numeric)


@graph_op
class Ceil(UnaryOp):
    """The least integer ≥ x. ONNX Ceil, aten.ceil."""

    name = "graph.ceil"


@graph_op
class Floor(UnaryOp):
    """The greatest integer ≤ x. ONNX Floor, aten.floor."""

    name = "graph.floor"


@graph_op
class Round(UnaryOp):
    """The nearest integer, halves to even. ONNX Round, aten.round."""

    name = "graph.round"


@graph_op
class Trunc(UnaryOp):
    """The integer part, toward zero. aten.trunc."""

    name = "graph.trunc"


@graph_op
class Exp(UnaryOp):
    """e^x. ONNX Exp, aten.exp."""

    name = "graph.exp"


@graph_op
class Expm1(UnaryOp):
    """e^x − 1, exact near 0. aten.expm1."""

    name = "graph.expm1"


@graph_op
class Log(UnaryOp):
    """Natural logarithm. ONNX Log, aten.log."""

    name = "graph.log"


@graph_op
class Log1p(UnaryOp):
    """log(1 + x), exact near 0. aten.log1p."""

    name = "graph.log1p"


@graph_op
class Sqrt(UnaryOp):
    """Square root; NaN below 0. ONNX Sqrt, aten.sqrt."""

    name = "graph.sqrt"


@graph_op
class Rsqrt(UnaryOp):
    """1 / sqrt(x). aten.rsqrt."""

    name = "graph.rsqrt"


@graph_op
class Reciprocal(UnaryOp):
    """1 / x. ONNX Reciprocal, aten.reciprocal."""

    name = "graph.reciprocal"


@graph_op
class Sin(UnaryOp):
    """Sine of radians. ONNX Sin, aten.sin."""

    name = "graph.sin"


@graph_op
class Cos(UnaryOp):
    """Cosine of radians. ONNX Cos, aten.cos."""

    name = "graph.cos"


@graph_op
class Tan(UnaryOp):
    """Tangent of radians. ONNX Tan, aten.tan."""

    name = "graph.tan"


@graph_op
class Asin(UnaryOp):
    """Inverse sine, in radians. ONNX Asin, aten.asin."""

    name = "graph.asin"


@graph_op
class Acos(UnaryOp):
    """Inverse cosine, in radians. ONNX Acos, aten.acos."""

    name = "graph.acos"


@graph_op
class Atan(UnaryOp):
    """Inverse tangent, in radians. ONNX Atan, aten.atan."""

    name = "graph.atan"


@graph_op
class Sinh(UnaryOp):
    """Hyperbolic sine. ONNX Sinh, aten.sinh."""

    name = "graph.sinh"


@graph_op
class Cosh(UnaryOp):
    """Hyperbolic cosine. ONNX Cosh, aten.cosh."""

    name = "graph.cosh"


@graph_op
class Tanh(UnaryOp):
    """Hyperbolic tangent. ONNX Tanh, aten.tanh."""

    name = "graph.tanh"


@graph_op
class Asinh(UnaryOp):
    """Inverse hyperbolic sine. ONNX Asinh, aten.asinh."""

    name = "graph.asinh"


@graph_op
class Acosh(UnaryOp):
    """Inverse hyperbolic cosine. ONNX Acosh, aten.acosh."""

    name = "graph.acosh"


@graph_op
class Atanh(UnaryOp):
    """Inverse hyperbolic tangent. ONNX Atanh, aten.atanh."""

    name = "graph.atanh"


@graph_op
class Erf(UnaryOp):
    """The error function. ONNX Erf, aten.erf."""

    name = "graph.erf"


@graph_op
class Sigmoid(UnaryOp):
    """1 / (1 + e^−x). ONNX Sigmoid, aten.sigmoid."""

    name = "graph.sigmoid"


@graph_op
class Relu(UnaryOp):
    """max(x, 0); NaN stays NaN. ONNX Relu, aten.relu."""

    name = "graph.relu"
    rule = staticmethod(is_numeric)


@graph_op
class Silu(UnaryOp):
    """x · sigmoid(x). ONNX Swish with alpha 1, aten.silu."""

    name = "graph.silu"


@graph_op
class Gelu(UnaryOp):
    """x · Φ(x), or its tanh approximation. ONNX Gelu, aten.gelu (Hendrycks and Gimpel 2016)."""

    name = "graph.gelu"
    approximate: str = param(str, default="none", choices=("none", "tanh"))


@graph_op
class Not(UnaryOp):
    """Logical not of booleans, bitwise complement of integers. ONNX Not and BitwiseNot."""

    name = "graph.not"
    rule = staticmethod(is_bits)

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        known = values.get(self.input)
        if known is None or element_type(self.input) != i1:
            return [None]
        return [tuple(1 - d if isinstance(d, int) else None for d in known)]


class _Predicate(GraphOp):
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_dtype(self, self.input, is_float)
        return [tensor(shape_of(self.input), i1)]

    def flops(self) -> Dim:
        return result_numel(self)


@graph_op
class IsNaN(_Predicate):
    """Whether x is NaN, as i1. ONNX IsNaN, aten.isnan."""

    name = "graph.is_nan"


@graph_op
class IsInf(_Predicate):
    """Whether x is an infinity of an asked-for sign, as i1. ONNX IsInf, aten.isinf."""

    name = "graph.is_inf"
    detect_positive: bool = param(bool, default=True)
    detect_negative: bool = param(bool, default=True)


@graph_op
class Cast(GraphOp):
    """Convert elements to another dtype. ONNX Cast, aten._to_copy.

    Float to integer truncates toward zero; to i1 is x ≠ 0. `saturate` applies to the 8-bit floats:
    clamp to the largest finite value, or give NaN/Inf. `round_mode` applies to f8E8M0FNU.
    """

    name = "graph.cast"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    to: DType = param(DType)
    saturate: bool = param(bool, default=True)
    round_mode: str = param(str, default="up", choices=("up", "down", "nearest"))

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        return [tensor(shape_of(self.input), self.to)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        wide = self.to.is_integer and self.to.bits >= 32
        source = element_type(self.input)
        if wide or (self.to == source):
            return [values.get(self.input)]
        return [None]

    def flops(self) -> Dim:
        return result_numel(self)


@graph_op
class Bitcast(GraphOp):
    """Reinterpret the bits of each element as another dtype of the same width. ONNX BitCast.

    A complex number is also a last dim of two floats, and the other way round: torch's
    view_as_real and view_as_complex.
    """

    name = "graph.bitcast"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    to: DType = param(DType)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        source, shape = element_type(self.input), shape_of(self.input)
        if source.kind == "complex" and self.to.bits == source.bits // 2:
            return [tensor([*shape, 2], self.to)]
        if self.to.kind == "complex" and source.bits == self.to.bits // 2:
            require(self, shape[-1:] == (2,), f"the last dim must be 2 to be read as {self.to}")
            return [tensor(shape[:-1], self.to)]
        require(self, source.bits == self.to.bits, f"{source} and {self.to} differ in width")
        return [tensor(shape, self.to)]
