"""Random numbers from the Mersenne Twister MT19937 as NumPy seeds it, the same for a given seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ml_dtypes import finfo


def _generator(seed: int | None) -> np.random.RandomState:
    """The stream of ``numpy.random.seed(seed)``, or a fresh one.

    ONNX's own reference draws from it, so seeded models give the answers they are checked against.
    """
    return np.random.RandomState(None if seed is None else seed % 2**32)


def rng_uniform(
    *, shape: Sequence[int], dtype: np.dtype, seed: int | None, low: float, high: float
) -> np.ndarray:
    """Uniform in [low, high); without a `seed`, new numbers each time. ONNX RandomUniform."""
    unit = np.asarray(_generator(seed).random_sample(tuple(shape)))
    bits = finfo(dtype).nmant + 1
    unit = np.floor(np.ldexp(unit, bits))  # so that rounding to the dtype doesn't give 1
    return (low + np.ldexp(unit, -bits) * (high - low)).astype(dtype)


def rng_normal(
    *, shape: Sequence[int], dtype: np.dtype, seed: int | None, mean: float, std: float
) -> np.ndarray:
    """Normal; without a `seed`, new numbers each time. ONNX RandomNormal, aten.normal."""
    return np.asarray(_generator(seed).normal(mean, std, tuple(shape))).astype(dtype)
