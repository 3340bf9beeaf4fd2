"""The error function, which NumPy lacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aicc.backends.numpy.kernels.blocks import in_blocks

# For float32: erf(x) ≈ x·P(x²)/Q(x²) on |x| ≤ 3.92, beyond which it rounds to ±1. The coefficients
# are a rational fit to the least maximal relative error, 1.9e-8 (Lawson's reweighting), made for
# this file. It is evaluated in float64 for a result within 0.82 ulp, and has no branch: selecting
# between two approximations (np.where) would take longer than the whole of it.
_LIMIT = 3.92
_P = (1.1283791463037025, 0.1903970085682084, 0.052747291307908485, 0.0037651638822648334,
      0.0002848648313294646, 2.0500588260800904e-06)  # fmt: skip
_Q = (1.0, 0.5020676989847783, 0.11410503950950418, 0.01496831222212312,
      0.001162411410855418, 3.8090483785959294e-05)  # fmt: skip

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
    """Σ coefficients[i]·xⁱ by Horner's rule."""
    out = x * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        out += c
        out *= x
    out += coefficients[0]
    return out


def _erf32(x: np.ndarray) -> np.ndarray:
    z = np.minimum(np.maximum(x, -_LIMIT, dtype=np.float64), _LIMIT)
    s = z * z
    out = _polynomial(s, _P)
    out *= z
    out /= _polynomial(s, _Q)
    return out.astype(np.float32)


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
