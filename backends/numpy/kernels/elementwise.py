"""Elementwise kernels where NumPy has no ufunc with the right semantics or dtype.

Operands broadcast as in NumPy. Floating-point flags (overflow of e^x to Inf and the like) are
expected; the caller runs kernels under ``np.errstate(all="ignore")``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np

from aicc.backends.numpy.kernels.blocks import BLOCK, in_blocks
from aicc.backends.numpy.kernels.erf import erf

# ------------------------------------------------------------------ dtypes


def is_narrow(dtype: np.dtype) -> bool:
    """Whether the dtype is one that ``ml_dtypes`` adds to NumPy."""
    return dtype.kind == "V" or dtype.num >= 256


def is_low_float(dtype: np.dtype) -> bool:
    """16-bit and narrower floats, whose arithmetic is done in float32."""
    return dtype == np.float16 or (is_narrow(dtype) and "int" not in dtype.name)


def is_sub_byte_int(dtype: np.dtype) -> bool:
    """4- and 2-bit integers, whose arithmetic is done in a wider integer and wrapped."""
    return is_narrow(dtype) and "int" in dtype.name


def wrap_narrow(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Integers modulo the width of a 4- or 2-bit dtype, whose bits lie low in a byte."""
    mask = 15 if "4" in dtype.name else 3
    return np.asarray(x & x.dtype.type(mask)).astype(np.uint8).view(dtype)


def via_float32(fn: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`fn` on float32 copies of low-precision operands, rounded back once to the first's dtype."""

    def whole(*args: np.ndarray, **kwargs) -> np.ndarray:
        out = fn(*(a.astype(np.float32) for a in args), **kwargs)
        return out if out.dtype == np.bool_ else out.astype(args[0].dtype)

    @wraps(fn)
    def run(*args: np.ndarray, **kwargs) -> np.ndarray:
        x = args[0]
        if x.size <= 2 * BLOCK or not all(
            a.shape == x.shape and a.flags.c_contiguous for a in args
        ):
            return whole(*args, **kwargs)
        flat = [a.reshape(-1) for a in args]
        first = whole(*(a[:BLOCK] for a in flat), **kwargs)
        out = np.empty(x.size, first.dtype)
        out[:BLOCK] = first
        for i in range(BLOCK, x.size, BLOCK):
            out[i : i + BLOCK] = whole(*(a[i : i + BLOCK] for a in flat), **kwargs)
        return out.reshape(x.shape)

    return run


def via_int(fn: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`fn` on int16 copies of 4- and 2-bit integers, wrapped back."""

    @wraps(fn)
    def run(*args: np.ndarray, **kwargs) -> np.ndarray:
        out = fn(*(a.astype(np.int16) for a in args), **kwargs)
        return out if out.dtype == np.bool_ else wrap_narrow(out, args[0].dtype)

    return run


# ------------------------------------------------------------------ unary


@in_blocks
def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x). Where e^−x overflows, that is 0, as it should be. ONNX Sigmoid."""
    return np.reciprocal(np.exp(-x) + x.dtype.type(1))


@in_blocks
def silu(x: np.ndarray) -> np.ndarray:
    """x · sigmoid(x) = x / (1 + e^−x). ONNX Swish (alpha = 1), aten.silu."""
    return x / (np.exp(-x) + x.dtype.type(1))


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0); NaN stays. ONNX Relu, aten.relu."""
    return np.maximum(x, x.dtype.type(0))


@in_blocks
def gelu(x: np.ndarray, *, approximate: str = "none") -> np.ndarray:
    """x·Φ(x), or with "tanh" ½x·(1 + tanh(√(2/π)·(x + 0.044715x³))). ONNX Gelu, aten.gelu."""
    t = x.dtype.type
    if approximate == "tanh":
        inner = x * x
        inner *= t(0.044715)
        inner += t(1)
        inner *= x
        inner *= t(0.7978845608028654)
        out = np.tanh(inner)
    else:
        out = erf(x * t(0.7071067811865476))
    out += t(1)
    out *= x
    out *= t(0.5)
    return out


def rsqrt(x: np.ndarray) -> np.ndarray:
    """1 / √x. aten.rsqrt."""
    return np.reciprocal(np.sqrt(x))


def round_even(x: np.ndarray) -> np.ndarray:
    """To the nearest integer, halves to even. ONNX Round, aten.round."""
    return np.rint(x)


def is_inf(
    x: np.ndarray, *, detect_positive: bool = True, detect_negative: bool = True
) -> np.ndarray:
    """Whether x is an infinity of a sign that is asked for. ONNX IsInf."""
    if detect_positive and detect_negative:
        return np.isinf(x)
    if detect_positive:
        return np.isposinf(x)
    return np.isneginf(x) if detect_negative else np.zeros(x.shape, np.bool_)


# ------------------------------------------------------------------ binary


def div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integer division toward zero; by zero gives 0, and MIN / −1 wraps to MIN. ONNX Div."""
    if a.dtype.kind == "u":
        return np.floor_divide(a, b)
    q, r = np.divmod(a, b)
    q += (r != 0) & ((a ^ b) < 0)
    return q


def _integer_power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    wide = np.uint64 if a.dtype.kind == "u" else np.int64  # wraps as the narrower dtype would
    if b.dtype.kind == "u" or not (b < 0).any():
        return np.power(a.astype(wide), b.astype(wide)).astype(a.dtype)
    out = np.power(a.astype(wide), np.maximum(b, 0).astype(wide)).astype(a.dtype)
    inverse = np.where(np.abs(a) == 1, np.where(b % 2 == 0, 1, a), 0)
    return np.where(b < 0, inverse, out).astype(a.dtype)


def pow_(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a to the power b in a's dtype; dtypes may differ. ONNX Pow, aten.pow.

    Integers to an integer power wrap on overflow; a negative power truncates toward zero. With
    other mixed dtypes the power is taken in float64 and cast.
    """
    kind, other = a.dtype.kind, b.dtype.kind
    if kind in "iu" and other in "iu":
        return _integer_power(a, b)
    if kind == "f" and b.size == 1 and b.ndim <= a.ndim:
        exponent = b.item()
        if exponent == 2:
            return np.square(a)
        if exponent == 3:
            return a * a * a
    if kind in "iu" or b.dtype != a.dtype:
        return np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
    return np.power(a, b)


# NumPy's shifts are defined for any amount: from the width on they give 0, or the sign.
shl = np.left_shift
shr = np.right_shift


def select(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a where the condition holds, else b. ONNX Where, aten.where."""
    return np.where(condition, a, b)


__all__ = [
    "div",
    "erf",
    "gelu",
    "is_inf",
    "is_low_float",
    "is_narrow",
    "is_sub_byte_int",
    "pow_",
    "relu",
    "round_even",
    "rsqrt",
    "select",
    "shl",
    "shr",
    "sigmoid",
    "silu",
    "via_float32",
    "via_int",
    "wrap_narrow",
]
