"""Random numbers from NumPy's generators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def _generator(seed: int | None) -> np.random.RandomState:
    """The stream of ``numpy.random.seed(seed)`` (MT19937), or a fresh one.

    ONNX's own reference draws from it, so seeded models give the answers they are checked against.
    """
    return np.random.RandomState(None if seed is None else seed % 2**32)


def rng_uniform(
    *, shape: Sequence[int], dtype: np.dtype, seed: int | None, low: float, high: float
) -> np.ndarray:
    """Uniform numbers in [low, high)."""
    return np.asarray(_generator(seed).uniform(low, high, tuple(shape))).astype(dtype)


def rng_normal(
    *, shape: Sequence[int], dtype: np.dtype, seed: int | None, mean: float, std: float
) -> np.ndarray:
    """Normal numbers with a mean and a standard deviation."""
    return np.asarray(_generator(seed).normal(mean, std, tuple(shape))).astype(dtype)
