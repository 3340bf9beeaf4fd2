"""Random numbers from NumPy's Philox generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def _generator(seed: int | None) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def rng_uniform(
    *, shape: Sequence[int], dtype: np.dtype, seed: int | None, low: float, high: float
) -> np.ndarray:
    return _generator(seed).uniform(low, high, tuple(shape)).astype(dtype)


def rng_normal(
    *, shape: Sequence[int], dtype: np.dtype, seed: int | None, mean: float, std: float
) -> np.ndarray:
    return _generator(seed).normal(mean, std, tuple(shape)).astype(dtype)
