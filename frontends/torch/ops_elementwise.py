"""Elementwise aten operators."""

from __future__ import annotations

import math
from typing import Any

import torch
from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext, torch_dtype
from aicc.frontends.torch.ops_complex import complex_parts
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import dtype_of, i1
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type

_UNARY: dict[str, type[GraphOp]] = {
    "acos": graph.Acos,
    "acosh": graph.Acosh,
    "asin": graph.Asin,
    "asinh": graph.Asinh,
    "atan": graph.Atan,
    "atanh": graph.Atanh,
    "cos": graph.Cos,
    "cosh": graph.Cosh,
    "erf": graph.Erf,
    "exp": graph.Exp,
    "expm1": graph.Expm1,
    "log": graph.Log,
    "log1p": graph.Log1p,
    "reciprocal": graph.Reciprocal,
    "rsqrt": graph.Rsqrt,
    "sigmoid": graph.Sigmoid,
    "silu": graph.Silu,
    "sin": graph.Sin,
    "sinh": graph.Sinh,
    "sqrt": graph.Sqrt,
    "tan": graph.Tan,
    "tanh": graph.Tanh,
}
"""Operators that promote integers to float."""

_SAME_TYPE: dict[str, type[GraphOp]] = {
    "neg": graph.Neg,
    "relu": graph.Relu,
    "bitwise_not": graph.Not,
}


@aten("abs")
def abs_(c: CallContext, x: SSAValue):
    if element_type(x) == i1:
        return x
    if element_type(x).kind == "complex":
        return _length(c, *complex_parts(c, x))
    return c.emit(graph.Abs, x)


@aten("sign")
def sign(c: CallContext, x: SSAValue):
    """torch.sign gives 0 for NaN, where ONNX and NumPy give NaN."""
    if element_type(x) == i1:
        return x
    y = c.emit(graph.Sign, x)
    if not element_type(x).is_float:
        return y
    return c.emit(graph.Select, c.emit(graph.IsNaN, x), c.scalar(0, x), y)


_ROUNDING: dict[str, type[GraphOp]] = {
    "ceil": graph.Ceil,
    "floor": graph.Floor,
    "round": graph.Round,
    "trunc": graph.Trunc,
}


def _enter_unary(name: str, cls: type[GraphOp]) -> None:
    @aten(name)
    def unary(c: CallContext, x: SSAValue):
        return c.emit(cls, c.tensor(x, c.dtype()))


def _enter_same(name: str, cls: type[GraphOp]) -> None:
    @aten(name)
    def unary(c: CallContext, x: SSAValue):
        if element_type(x) == i1 and cls is not graph.Not:
            return NotImplemented if cls is graph.Neg else x
        return c.emit(cls, x)


def _enter_rounding(name: str, cls: type[GraphOp]) -> None:
    @aten(name)
    def unary(c: CallContext, x: SSAValue):
        return c.emit(cls, x) if element_type(x).is_float else x


for _name, _cls in _UNARY.items():
    _enter_unary(_name, _cls)
for _name, _cls in _SAME_TYPE.items():
    _enter_same(_name, _cls)
for _name, _cls in _ROUNDING.items():
    _enter_rounding(_name, _cls)


@aten("exp2")
def exp2(c: CallContext, x: SSAValue):
    x = c.tensor(x, c.dtype())
    return c.emit(graph.Exp, c.emit(graph.Mul, x, c.scalar(math.log(2), x)))


@aten("log2")
def log2(c: CallContext, x: SSAValue):
    y = c.emit(graph.Log, c.tensor(x, c.dtype()))
    return c.emit(graph.Mul, y, c.scalar(1 / math.log(2), y))


@aten("log10")
def log10(c: CallContext, x: SSAValue):
    y = c.emit(graph.Log, c.tensor(x, c.dtype()))
    return c.emit(graph.Mul, y, c.scalar(1 / math.log(10), y))


def _both(c: CallContext, a: Any, b: Any) -> tuple[SSAValue, SSAValue]:
    """Two operands in the dtype that torch computes in."""
    dtype = c.promoted(a, b)
    return c.tensor(a, dtype), c.tensor(b, dtype)


def _enter_arithmetic(name: str, cls: type[GraphOp], on_bool: type[GraphOp]) -> None:
    @aten(f"{name}.Tensor", f"{name}.Scalar")
    def binary(c: CallContext, a: Any, b: Any, alpha: Any = 1):
        x, y = _both(c, a, b)
        if element_type(x) == i1:
            return c.emit(on_bool, x, y)
        if alpha != 1:
            y = c.emit(graph.Mul, y, c.tensor(alpha, element_type(y)))
        return c.emit(cls, x, y)


_enter_arithmetic("add", graph.Add, graph.Or)
_enter_arithmetic("sub", graph.Sub, graph.Xor)
_enter_arithmetic("mul", graph.Mul, graph.And)


@aten("div.Tensor", "div.Scalar", "true_divide.Tensor")
def div(c: CallContext, a: Any, b: Any):
    dtype = c.dtype()
    return c.emit(graph.Div, c.tensor(a, dtype), c.tensor(b, dtype))


@aten("div.Tensor_mode", "div.Scalar_mode")
def div_mode(c: CallContext, a: Any, b: Any, rounding_mode: str | None = None):
    dtype = c.dtype()
    x, y = c.tensor(a, dtype), c.tensor(b, dtype)
    if rounding_mode is None:
        return c.emit(graph.Div, x, y)
    if dtype.is_integer:
        if rounding_mode == "trunc":
            return c.emit(graph.Div, x, y)
        floor = c.emit(graph.Sub, x, c.emit(graph.Mod, x, y))
        return c.emit(graph.Div, floor, y)
    if dtype.is_low_precision_float or rounding_mode == "trunc":
        q = c.emit(graph.Div, x, y)
        return c.emit(graph.Trunc if rounding_mode == "trunc" else graph.Floor, q)
    return _floor_divide(c, x, y)


def _floor_divide(c: CallContext, x: SSAValue, y: SSAValue) -> SSAValue:
    """Python's float floor division, as c10::div_floor_floating computes it."""
    zero = c.scalar(0, y)
    remainder = c.emit(graph.Rem, x, y)
    quotient = c.emit(graph.Div, c.emit(graph.Sub, x, remainder), y)
    differ = c.emit(graph.Ne, c.emit(graph.Lt, y, zero), c.emit(graph.Lt, remainder, zero))
    adjust = c.emit(graph.And, c.emit(graph.Ne, remainder, zero), differ)
    one_less = c.emit(graph.Sub, quotient, c.scalar(1, quotient))
    quotient = c.emit(graph.Select, adjust, one_less, quotient)
    floor = c.emit(graph.Floor, quotient)
    up = c.emit(graph.Gt, c.emit(graph.Sub, quotient, floor), c.scalar(0.5, floor))
    floor = c.emit(graph.Select, up, c.emit(graph.Add, floor, c.scalar(1, floor)), floor)
    signed = c.emit(graph.Mul, c.emit(graph.Div, x, y), zero)
    floor = c.emit(graph.Select, c.emit(graph.Eq, quotient, zero), signed, floor)
    return c.emit(graph.Select, c.emit(graph.Eq, y, zero), c.emit(graph.Div, x, y), floor)


def _enter_promoted(name: str, overloads: tuple[str, ...], cls: type[GraphOp]) -> None:
    @aten(*(f"{name}.{o}" if o else name for o in overloads))
    def binary(c: CallContext, a: Any, b: Any):
        return c.emit(cls, *_both(c, a, b))


_TENSOR_OR_SCALAR = ("Tensor", "Scalar")
for _name, _overloads, _cls in (
    ("fmod", _TENSOR_OR_SCALAR, graph.Rem),
    ("remainder", _TENSOR_OR_SCALAR, graph.Mod),
    ("maximum", ("",), graph.Max),
    ("minimum", ("",), graph.Min),
    ("eq", _TENSOR_OR_SCALAR, graph.Eq),
    ("ne", _TENSOR_OR_SCALAR, graph.Ne),
    ("lt", _TENSOR_OR_SCALAR, graph.Lt),
    ("le", _TENSOR_OR_SCALAR, graph.Le),
    ("gt", _TENSOR_OR_SCALAR, graph.Gt),
    ("ge", _TENSOR_OR_SCALAR, graph.Ge),
    ("bitwise_and", _TENSOR_OR_SCALAR, graph.And),
    ("bitwise_or", _TENSOR_OR_SCALAR, graph.Or),
    ("bitwise_xor", _TENSOR_OR_SCALAR, graph.Xor),
):
    _enter_promoted(_name, _overloads, _cls)


@aten("atan2")
def atan2(c: CallContext, y: SSAValue, x: SSAValue):
    return c.emit(graph.Atan2, c.tensor(y, c.dtype()), c.tensor(x, c.dtype()))


def _sign_bit(c: CallContext, x: SSAValue) -> SSAValue:
    """Whether the sign bit is set: also that of −0 and of a NaN."""
    dtype = element_type(x)
    if dtype.is_float:
        x = c.emit(graph.Bitcast, x, to=dtype_of(f"i{dtype.bits}"))
    return c.emit(graph.Lt, x, c.scalar(0, x))


@aten("signbit")
def signbit(c: CallContext, x: SSAValue):
    return c.b.full(c.dims(), False, i1) if element_type(x) == i1 else _sign_bit(c, x)


@aten("copysign.Tensor", "copysign.Scalar")
def copysign(c: CallContext, a: SSAValue, b: Any):
    size = c.emit(graph.Abs, c.tensor(a, c.dtype()))
    other = c.tensor(b, c.dtype())
    return c.emit(graph.Select, _sign_bit(c, other), c.emit(graph.Neg, size), size)


@aten("hypot")
def hypot(c: CallContext, a: SSAValue, b: SSAValue):
    return _length(c, *_both(c, a, b))


def _length(c: CallContext, x: SSAValue, y: SSAValue) -> SSAValue:
    """√(x² + y²), scaled so that the squares don't overflow."""
    x, y = c.emit(graph.Abs, x), c.emit(graph.Abs, y)
    large, small = c.emit(graph.Max, x, y), c.emit(graph.Min, x, y)
    zero = c.scalar(0, large)
    plain = c.emit(graph.Or, c.emit(graph.Eq, large, zero), c.emit(graph.IsInf, large))
    ratio = c.emit(graph.Select, plain, zero, c.emit(graph.Div, small, large))
    square = c.emit(graph.Add, c.emit(graph.Mul, ratio, ratio), c.scalar(1, ratio))
    out = c.emit(graph.Mul, large, c.emit(graph.Sqrt, square))
    endless = c.emit(graph.Or, c.emit(graph.IsInf, x), c.emit(graph.IsInf, y))  # a NaN or not
    return c.emit(graph.Select, endless, c.scalar(math.inf, out), out)


def _enter_ignoring_nan(name: str, cls: type[GraphOp]) -> None:
    @aten(name)
    def extreme(c: CallContext, a: SSAValue, b: SSAValue):
        """A NaN gives way to the other operand."""
        x, y = _both(c, a, b)
        out = c.emit(cls, x, y)
        if not element_type(x).is_float:
            return out
        out = c.emit(graph.Select, c.emit(graph.IsNaN, y), x, out)
        return c.emit(graph.Select, c.emit(graph.IsNaN, x), y, out)


_enter_ignoring_nan("fmax", graph.Max)
_enter_ignoring_nan("fmin", graph.Min)


@aten("round.decimals")
def round_decimals(c: CallContext, x: SSAValue, decimals: int = 0):
    if not element_type(x).is_float:
        return NotImplemented
    scale = c.scalar(10.0 ** abs(decimals), x)
    there, back = (graph.Mul, graph.Div) if decimals >= 0 else (graph.Div, graph.Mul)
    return c.emit(back, c.emit(graph.Round, c.emit(there, x, scale)), scale)


def _enter_logical(name: str, cls: type[GraphOp]) -> None:
    @aten(name)
    def logical(c: CallContext, a: SSAValue, b: SSAValue):
        return c.emit(cls, c.b.cast(a, i1), c.b.cast(b, i1))


_enter_logical("logical_and", graph.And)
_enter_logical("logical_or", graph.Or)
_enter_logical("logical_xor", graph.Xor)


@aten("logical_not")
def logical_not(c: CallContext, x: SSAValue):
    return c.emit(graph.Not, c.b.cast(x, i1))


@aten("isnan")
def isnan(c: CallContext, x: SSAValue):
    if not element_type(x).is_float:
        return c.b.full(c.dims(), False, i1)
    return c.emit(graph.IsNaN, x)


@aten("isinf")
def isinf(c: CallContext, x: SSAValue):
    if not element_type(x).is_float:
        return c.b.full(c.dims(), False, i1)
    return c.emit(graph.IsInf, x)


@aten("pow.Tensor_Tensor", "pow.Tensor_Scalar", "pow.Scalar")
def pow_(c: CallContext, a: Any, b: Any):
    dtype = c.dtype()
    if isinstance(b, (int, float)) and dtype.is_float:
        x = c.tensor(a, dtype)
        if b == 2:
            return c.emit(graph.Mul, x, x)
        if b == 0.5:
            return c.emit(graph.Sqrt, x)
        if b == 1:
            return x
    return c.emit(graph.Pow, c.tensor(a, dtype), c.tensor(b, dtype))


@aten("where.self")
def where(c: CallContext, condition: SSAValue, a: SSAValue, b: SSAValue):
    dtype = c.dtype()
    return c.emit(graph.Select, c.b.cast(condition, i1), c.tensor(a, dtype), c.tensor(b, dtype))


@aten("clamp", "clamp.Tensor", "clamp_min", "clamp_max", "hardtanh")
def clamp(c: CallContext, x: SSAValue, low: Any = None, high: Any = None):
    name = str(c.node.target)
    if "hardtanh" in name:
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    if "clamp_max" in name:
        low, high = None, low
    dtype = c.dtype()
    x = c.tensor(x, dtype)
    if low is not None:
        x = c.emit(graph.Max, x, c.tensor(low, dtype))
    return x if high is None else c.emit(graph.Min, x, c.tensor(high, dtype))


@aten("_to_copy")
def to_copy(c: CallContext, x: SSAValue, dtype: torch.dtype | None = None, **_: Any):
    return x if dtype is None else c.emit(graph.Cast, x, to=torch_dtype(dtype), saturate=False)


@aten("prims.convert_element_type.default")
def convert_element_type(c: CallContext, x: SSAValue, dtype: torch.dtype):
    return c.emit(graph.Cast, x, to=torch_dtype(dtype), saturate=False)


@aten("alias", "clone", "detach", "lift_fresh_copy", "contiguous", "view_of")
def identity(c: CallContext, x: SSAValue, **_: Any):
    return x


@aten("copy")
def copy(c: CallContext, x: SSAValue, source: SSAValue, non_blocking: bool = False):
    return c.b.expand(c.b.cast(source, element_type(x)), c.dims())


@aten("gelu")
def gelu(c: CallContext, x: SSAValue, approximate: str = "none"):
    return c.emit(graph.Gelu, x, approximate=approximate)


@aten("leaky_relu")
def leaky_relu(c: CallContext, x: SSAValue, slope: float = 0.01):
    positive = c.emit(graph.Gt, x, c.scalar(0, x))
    return c.emit(graph.Select, positive, x, c.emit(graph.Mul, x, c.scalar(slope, x)))


@aten("elu")
def elu(c: CallContext, x: SSAValue, alpha: float = 1, scale: float = 1, input_scale: float = 1):
    scaled = c.emit(graph.Mul, x, c.scalar(input_scale, x)) if input_scale != 1 else x
    negative = c.emit(graph.Mul, c.emit(graph.Expm1, scaled), c.scalar(alpha * scale, x))
    positive = c.emit(graph.Mul, x, c.scalar(scale, x)) if scale != 1 else x
    return c.emit(graph.Select, c.emit(graph.Gt, x, c.scalar(0, x)), positive, negative)


@aten("native_dropout")
def native_dropout(c: CallContext, x: SSAValue, p: float, train: bool | None):
    if train and p > 0:
        return NotImplemented
    return [x, c.b.full(c.dims(1), True, i1)]


@aten("bitwise_left_shift.Tensor", "__lshift__.Scalar", "bitwise_left_shift.Tensor_Scalar")
def left_shift(c: CallContext, a: Any, b: Any):
    dtype = c.dtype()
    if not dtype.is_integer:
        return NotImplemented
    return c.emit(graph.Shl, c.tensor(a, dtype), c.tensor(b, dtype))


@aten("bitwise_right_shift.Tensor", "__rshift__.Scalar", "bitwise_right_shift.Tensor_Scalar")
def right_shift(c: CallContext, a: Any, b: Any):
    dtype = c.dtype()
    if not dtype.is_integer:
        return NotImplemented
    return c.emit(graph.Shr, c.tensor(a, dtype), c.tensor(b, dtype))
