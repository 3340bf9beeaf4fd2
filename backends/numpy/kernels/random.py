"""Random numbers from NumPy's Philox generator (Salmon et al. 2011), the same for a given seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ml_dtypes import finfo


def _generator(seed: int | None) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def rng_uniform(
    *, shape: Sequence[int], dtype: np.dtype, seed: int | None, low: float, high: float
) -> np.ndarray:
    """Uniform in [low, high); without a `seed`, new numbers each time. ONNX RandomUniform."""
    unit = _generator(seed).random(tuple(shape))
    bits = finfo(dtype).nmant + 1
    unit = np.floor(np.ldexp(unit, bits))  # so that rounding to the dtype doesn't give 1
    return (low + np.ldexp(unit, -bits) * (high - low)).astype(dtype)


def rng_normal(
    *, shape: Sequence[int], dtype: np.dtype, seed: int | None, mean: float, std: float
) -> np.ndarray:
    """Normal; without a `seed`, new numbers each time. ONNX RandomNormal, aten.normal."""
    return _generator(seed).normal(mean, std, tuple(shape)).astype(dtype)
