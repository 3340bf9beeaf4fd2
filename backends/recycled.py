"""Memory of arrays that nobody holds any more, for the next ones of their size.

An allocator that gives large blocks back to the system has each page of the next block mapped and
cleared once more, which takes longer than a kernel that only writes it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from aicc.ir.memory import address, empty

LEAST = 1 << 16
"""Smaller arrays are left to NumPy, in bytes."""

MOST = 1 << 28
"""Bytes that are kept while nobody uses them."""


class Recycler:
    """Gives out arrays, and takes their memory back when the last view of it is gone."""

    def __init__(self, most: int = MOST):
        self.most = most
        self.idle = 0
        self.lock = threading.RLock()  # garbage may be collected while it is held
        self.free: dict[int, list[np.ndarray]] = {}
        """By size, that which memory came back of last at the end."""

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """An array of any elements, at a multiple of 64 bytes where it is large."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < LEAST:
            return np.empty(shape, dtype)
        with self.lock:
            memory = self.pop(size) if size in self.free else None
        if memory is None:
            memory = empty((size,), np.uint8)
        return np.asarray(Lease(self, memory, size)).view(dtype).reshape(shape)

    def take_back(self, memory: np.ndarray, size: int) -> None:
        if size > self.most:
            return
        with self.lock:
            while self.idle + size > self.most:
                self.pop(next(iter(self.free)))
            self.free[size] = [*self.free.pop(size, []), memory]
            self.idle += size

    def pop(self, size: int) -> np.ndarray:
        found = self.free[size]
        memory = found.pop()
        if not found:
            del self.free[size]
        self.idle -= size
        return memory


class Lease:
    """What an array's memory belongs to: views hold it, and its end is the array's."""

    def __init__(self, recycler: Recycler, memory: np.ndarray, size: int):
        self.recycler, self.memory, self.size = recycler, memory, size
        self.__array_interface__ = {
            "version": 3,
            "shape": (size,),
            "typestr": "|u1",
            "data": (address(memory), False),
        }

    def __del__(self) -> None:
        self.recycler.take_back(self.memory, self.size)


RECYCLER = Recycler()
"""Of the process."""
