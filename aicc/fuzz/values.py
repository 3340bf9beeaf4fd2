"""Random elements: plain numbers mostly, and those that break things."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from aicc.ir import dtypes
from aicc.ir.dtypes import DType, dtype_of, f32, i64

_RARE = ("i4", "ui4", "i2", "ui2", "f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ")

DTYPES: tuple[DType, ...] = (
    *(f32,) * 12,
    *(dtypes.f16, dtypes.bf16, dtypes.f64) * 2,
    *(i64,) * 4,
    *(dtypes.i32, dtypes.i1) * 3,
    *(dtypes.i8, dtypes.ui8) * 2,
    *(dtypes.i16, dtypes.ui16, dtypes.ui32, dtypes.ui64),
    *(dtype_of(n) for n in _RARE),
    dtype_of("complex<f32>"),
)
"""What dtypes are drawn from, each as often as it stands here."""

PLAIN = (0.0, 1.0, -1.0, 0.5, 2.0, -0.0, 3.25, -2.5)


def draw_values(
    rng: np.random.Generator, shape: Sequence[int], dtype: DType, special: bool = False
) -> np.ndarray:
    """An array; with `special` a tenth of the numbers are NaN, infinite, huge or tiny."""
    shape = tuple(shape)
    if dtype.kind == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.is_integer:
        return _integers(rng, shape, dtype, special)
    if dtype.kind == "complex":
        parts = [draw_values(rng, shape, f32, special) for _ in range(2)]
        return np.stack(parts, -1).view(dtype.np).reshape(shape)
    noise = rng.normal(0, 1, shape) * rng.choice([1.0, 1.0, 1.0, 10.0])
    picked = np.where(rng.random(shape) < 0.4, rng.choice(PLAIN, shape), noise)
    with np.errstate(all="ignore"):
        if special:
            info = ml_dtypes.finfo(dtype.np)
            extremes = [np.nan, np.inf, -np.inf, float(info.max), -float(info.max)]
            extremes += [float(info.smallest_normal), 1e-3 * float(info.max) ** 0.5]
            picked = np.where(rng.random(shape) < 0.1, rng.choice(extremes, shape), picked)
        return picked.astype(dtype.np)


def _integers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DType, special: bool
) -> np.ndarray:
    low, high = dtype.integer_range
    small = rng.integers(max(low, -4), min(high, 5) + 1, shape)
    if special:
        edges = np.array([low, low + 1, high - 1, high], object)
        wide = edges[rng.integers(0, 4, shape)]
        small = np.where(rng.random(shape) < 0.1, wide, small)
    if dtype.bits < 8:
        return small.astype(np.int8).astype(dtype.np)
    return np.asarray(small).astype(dtype.np)
