"""Arrays whose elements begin where vectors of them can be read in one piece."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

ALIGNMENT = 64
"""Bytes of a cache line, and of the longest vectors: one across two lines is read as two."""


MOST_MOVED = 64 << 20
"""Bytes of the largest constants that are moved to begin so: greater ones are tables that rows are
taken of, or are read as fast as memory is."""


def empty(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array of any elements that begins at a multiple of `ALIGNMENT` bytes."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -address(memory) % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def aligned(array: np.ndarray) -> np.ndarray:
    """The array itself if it is contiguous and begins so, else a copy that does."""
    if array.flags.c_contiguous and address(array) % ALIGNMENT == 0:
        return array
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def address(array: np.ndarray) -> int:
    """Where an array begins in memory."""
    return array.__array_interface__["data"][0]
