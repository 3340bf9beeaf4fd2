"""The error function, which NumPy lacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aicc.backends.numpy.kernels.blocks import in_blocks

# For float32: erf(x) = x + x·S(x²) near 0, else 1 − e^B(|x|). Polynomials fitted for this file to
# the least maximal error in erf (Lawson's reweighting), relative 1.8e-8 and 1.7e-9; evaluated in
# float32 the result is within 1.5 ulp. From 3.95 on it rounds to ±1.
_SPLIT = np.float32(0.92)
_LIMIT = np.float32(3.95)
_SIGN = np.int32(-(2**31))
_SMALL = (0.128379148, -0.37612481, 0.112816812,
          -0.0267616665, 0.00498585976, -0.000595332229)  # fmt: skip
_BIG = (-0.000166446012, -1.12779725, -0.636976071, -0.10411369,
        0.0223152189, -0.00306549183, 0.000198219818)  # fmt: skip

# For float64: W. J. Cody, "Rational Chebyshev approximations for the error function",
# Math. Comp. 23 (1969), 631-637: erf on [0, 0.46875], erfc on [0.46875, 4] and beyond.
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


def _polynomial(x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    """Σ coefficients[i]·xⁱ by Horner's rule, in x's dtype."""
    t = x.dtype.type
    out = x * t(coefficients[-1])
    for c in coefficients[-2:0:-1]:
        out += t(c)
        out *= x
    out += t(coefficients[0])
    return out


def _erf32(x: np.ndarray) -> np.ndarray:
    a = np.abs(x)
    near = _polynomial(x * x, _SMALL)
    near *= x
    near += x
    far = np.exp(_polynomial(np.minimum(a, _LIMIT), _BIG))
    sign = x.view(np.int32) & _SIGN  # np.copysign takes several times as long
    far = ((np.float32(1) - far).view(np.int32) | sign).view(np.float32)
    return np.where(a < _SPLIT, near, far)


def _where(x: np.ndarray, region: np.ndarray, fn: Callable, out: np.ndarray) -> None:
    """``out[region] = fn(x[region])``."""
    if region.any():
        out[region] = fn(x[region])


def _erf_small(x: np.ndarray) -> np.ndarray:
    s = x * x
    p, q = _ERF_P[4] * s, s.copy()
    for i in range(3):
        p = (p + _ERF_P[i]) * s
        q = (q + _ERF_Q[i]) * s
    return x * (p + _ERF_P[3]) / (q + _ERF_Q[3])


def _erf_middle(x: np.ndarray) -> np.ndarray:
    y = np.abs(x)
    p, q = _ERFC_P[8] * y, y.copy()
    for i in range(7):
        p = (p + _ERFC_P[i]) * y
        q = (q + _ERFC_Q[i]) * y
    tail = np.exp(-y * y) * (p + _ERFC_P[7]) / (q + _ERFC_Q[7])
    return np.copysign(1.0 - tail, x)


def _erf_large(x: np.ndarray) -> np.ndarray:
    y = np.abs(x)
    s = 1.0 / (y * y)
    p, q = _ERFC_R[5] * s, s.copy()
    for i in range(4):
        p = (p + _ERFC_R[i]) * s
        q = (q + _ERFC_S[i]) * s
    r = s * (p + _ERFC_R[4]) / (q + _ERFC_S[4])
    tail = np.exp(-y * y) * (0.5641895835477562869 - r) / y
    return np.copysign(1.0 - tail, x)


def _erf64(x: np.ndarray) -> np.ndarray:
    a = np.abs(x)
    out = x.copy()  # NaN stays
    _where(x, a <= 0.46875, _erf_small, out)
    _where(x, (a > 0.46875) & (a <= 4.0), _erf_middle, out)
    _where(x, a > 4.0, _erf_large, out)
    return out


@in_blocks
def erf(x: np.ndarray) -> np.ndarray:
    """The error function of x (float32 or float64), within 1 ulp and 1e-15. ONNX Erf, aten.erf."""
    if x.dtype == np.float32:
        return _erf32(x)
    return _erf64(x) if x.ndim else _erf64(x.reshape(1))[0]
