"""Work on pieces that stay in the cache: long chains of ufuncs are bound by memory otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np

BLOCK = 1 << 14
"""Elements of a piece: a few float32 temporaries of this length fit into a core's L2 cache."""


def in_blocks(fn: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`fn`, an elementwise function of one array that keeps the dtype, piece by piece."""

    @wraps(fn)
    def run(x: np.ndarray, **kwargs) -> np.ndarray:
        if x.size <= 2 * BLOCK or not x.flags.c_contiguous:
            return fn(x, **kwargs)
        flat = x.reshape(-1)
        out = np.empty_like(flat)
        for i in range(0, flat.size, BLOCK):
            out[i : i + BLOCK] = fn(flat[i : i + BLOCK], **kwargs)
        return out.reshape(x.shape)

    return run
