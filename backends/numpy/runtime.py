"""What the code that the executor writes calls at run time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class RunError(RuntimeError):
    """An op that can't run."""


def as_ints(value: np.ndarray) -> tuple[int, ...]:
    """A structural parameter from its operand."""
    return tuple(value.reshape(-1).tolist())


def truth(value: Any) -> bool:
    return bool(value)


def check_argument(
    value: np.ndarray, dtype: np.dtype, shape: Sequence[int | None], label: tuple[str, Any]
) -> None:
    """Raise ValueError if the argument has another dtype or a size other than expected."""
    name, type = label
    if value.dtype != dtype:
        raise ValueError(f"input '{name}' has dtype {value.dtype}, expected {dtype}")
    if value.ndim != len(shape) or any(
        want is not None and got != want for got, want in zip(value.shape, shape, strict=True)
    ):
        raise ValueError(f"input '{name}' has shape {list(value.shape)}, expected {type}")


def run_loop(
    body: Callable[..., tuple],
    max_trips: Any,
    condition: Any,
    carried: tuple,
    scans: tuple[tuple[tuple[int, ...], np.dtype], ...],
) -> tuple:
    """Run a ``graph.loop``: carried values, then scan outputs stacked along a new first dim."""
    limit = None if max_trips is None else int(max_trips)
    going = True if condition is None else bool(condition)
    n = len(carried)
    collected: list[list[np.ndarray]] = [[] for _ in scans]
    i = 0
    while going and (limit is None or i < limit):
        results = body(np.array(i, np.int64), *carried)
        going = bool(results[0])
        carried = results[1 : 1 + n]
        for out, value in zip(collected, results[1 + n :], strict=True):
            out.append(value)
        i += 1
    stacked = tuple(
        np.stack(out) if out else np.empty((0, *shape), dtype)
        for out, (shape, dtype) in zip(collected, scans, strict=True)
    )
    return (*carried, *stacked)


class Workspace(threading.local):
    """Memory for a function's arena, kept from call to call; each thread has its own."""

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []

    def take(self, size: int) -> np.ndarray:
        """At least so many bytes, which `give` puts back."""
        if self.kept and self.kept[-1].size >= size:
            return self.kept.pop()
        return np.empty(size, np.uint8)

    def give(self, memory: np.ndarray) -> None:
        self.kept = [memory]


def part(arena: np.ndarray, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array in the arena that begins at a byte."""
    return arena[offset : offset + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
