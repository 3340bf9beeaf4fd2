"""Elementwise kernels where NumPy has no ufunc with the right semantics or dtype."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LOW_PRECISION_BITS = 16


def is_narrow(dtype: np.dtype) -> bool:
    """Whether the dtype is one that ``ml_dtypes`` adds to NumPy."""
    return dtype.kind == "V" or dtype.num >= 256


def is_low_float(dtype: np.dtype) -> bool:
    """16-bit and narrower floats, whose arithmetic is done in float32."""
    return dtype == np.float16 or (is_narrow(dtype) and "int" not in dtype.name)


def via_float32(fn: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`fn` on float32 copies of low-precision operands, rounded back once."""

    def run(*args, **kwargs):
        out = fn(*(a.astype(np.float32) for a in args), **kwargs)
        return out.astype(args[0].dtype) if out.dtype != np.bool_ else out

    return run


def via_int(fn: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`fn` on int16 copies of 4- and 2-bit integers, wrapped back."""

    def run(*args, **kwargs):
        out = fn(*(a.astype(np.int16) for a in args), **kwargs)
        return out if out.dtype == np.bool_ else wrap_narrow(out, args[0].dtype)

    return run


def wrap_narrow(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Integers modulo the width of a 4- or 2-bit dtype."""
    bits = 4 if "4" in dtype.name else 2
    low = x & ((1 << bits) - 1)
    if not dtype.name.startswith("u"):
        low = np.where(low >= 1 << (bits - 1), low - (1 << bits), low)
    return low.astype(np.int8).astype(dtype)


# Rational approximations of erf and erfc by W. J. Cody, Math. Comp. 23 (1969), 631-637.
_ERF_P = (3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
          3.20937758913846947e3, 1.85777706184603153e-1)  # fmt: skip
_ERF_Q = (2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
          2.84423683343917062e3)  # fmt: skip
_ERFC_P = (5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
           2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3,
           2.05107837782607147e3, 1.23033935479799725e3, 2.15311535474403846e-8)  # fmt: skip
_ERFC_Q = (1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
           1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
           3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip
_ERFC_R = (3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
           1.60837851487422766e-2, 6.58749161529837803e-4, 1.63153871373020978e-2)  # fmt: skip
_ERFC_S = (2.56852019228982242e0, 1.87295284992346047e0, 5.27905102951428412e-1,
           6.05183413124413191e-2, 2.33520497626869185e-3)  # fmt: skip


def _erf64(x: np.ndarray) -> np.ndarray:
    a = np.abs(x)
    out = np.empty_like(x)
    small = a <= 0.46875
    z = x[small]
    if z.size:
        s = z * z
        p, q = _ERF_P[4] * s, s.copy()
        for i in range(3):
            p = (p + _ERF_P[i]) * s
            q = (q + _ERF_Q[i]) * s
        out[small] = z * (p + _ERF_P[3]) / (q + _ERF_Q[3])
    middle = (a > 0.46875) & (a <= 4.0)
    y = a[middle]
    if y.size:
        p, q = _ERFC_P[8] * y, y.copy()
        for i in range(7):
            p = (p + _ERFC_P[i]) * y
            q = (q + _ERFC_Q[i]) * y
        tail = np.exp(-y * y) * (p + _ERFC_P[7]) / (q + _ERFC_Q[7])
        out[middle] = np.copysign(1.0 - tail, x[middle])
    large = a > 4.0
    y = a[large]
    if y.size:
        s = 1.0 / (y * y)
        p, q = _ERFC_R[5] * s, s.copy()
        for i in range(4):
            p = (p + _ERFC_R[i]) * s
            q = (q + _ERFC_S[i]) * s
        r = s * (p + _ERFC_R[4]) / (q + _ERFC_S[4])
        tail = np.exp(-y * y) * (0.5641895835477562869 - r) / y
        out[large] = np.copysign(1.0 - tail, x[large])
    nan = np.isnan(x)
    if nan.any():
        out[nan] = np.nan
    return out


def erf(x: np.ndarray) -> np.ndarray:
    """The error function (Cody 1969), within 1e-15 in float64."""
    x = np.asarray(x)
    return _erf64(np.atleast_1d(x).astype(np.float64)).reshape(x.shape).astype(x.dtype)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x), by tanh, which can't overflow."""
    half = x.dtype.type(0.5)
    out = np.tanh(x * half)
    return out * half + half


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, x.dtype.type(0))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def gelu(x: np.ndarray, *, approximate: str = "none") -> np.ndarray:
    t = x.dtype.type
    if approximate == "tanh":
        inner = x * x * x
        inner *= t(0.044715)
        inner += x
        inner *= t(0.7978845608028654)
        np.tanh(inner, out=inner) if isinstance(inner, np.ndarray) else None
        inner = inner if isinstance(inner, np.ndarray) else np.tanh(inner)
        return t(0.5) * x * (t(1) + inner)
    return t(0.5) * x * (t(1) + erf(x * t(0.7071067811865476)))


def rsqrt(x: np.ndarray) -> np.ndarray:
    return np.reciprocal(np.sqrt(x))


def round_even(x: np.ndarray) -> np.ndarray:
    return np.rint(x)


def is_inf(x: np.ndarray, *, detect_positive: bool = True, detect_negative: bool = True):
    if detect_positive and detect_negative:
        return np.isinf(x)
    out = np.isinf(x)
    if not detect_positive:
        out &= x < 0
    if not detect_negative:
        out &= x > 0
    return out


def div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integer division toward zero; by zero gives 0."""
    q = np.floor_divide(a, b)
    if q.dtype.kind == "u":
        return q
    return q + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0))).astype(q.dtype)


def pow_(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a to the power b in a's dtype. A negative integer power truncates toward zero."""
    if a.dtype.kind in "iu":
        if b.dtype.kind in "iu":
            out = np.power(a, np.maximum(b, 0).astype(a.dtype))
            if b.dtype.kind == "i" and (b < 0).any():
                inverse = np.where(np.abs(a) == 1, np.where(b % 2 == 0, 1, a), 0)
                out = np.where(b < 0, inverse, out)
            return out.astype(a.dtype)
        return np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
    if b.dtype != a.dtype:
        return np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
    return np.power(a, b)


def shl(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    width = a.dtype.itemsize * 8
    wide = b >= a.dtype.type(min(width, 127))
    return np.where(wide, a.dtype.type(0), np.left_shift(a, np.where(wide, 0, b).astype(a.dtype)))


def shr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    last = a.dtype.type(a.dtype.itemsize * 8 - 1)
    shifted = np.right_shift(a, np.minimum(b, last).astype(a.dtype))
    if a.dtype.kind == "i":
        return shifted
    return np.where(b > last, a.dtype.type(0), shifted)


def select(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(condition, a, b)
