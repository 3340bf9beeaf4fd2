"""Matrices made from weights, computed a few columns at a time by what reads them.

A weight that is scaled, joined to others and then stored in panels would be written three times,
each time to memory that the process hasn't had before. What is made here is not there until it is
asked for: panels take its columns as they fill them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import OpResult, SSAValue

from aicc.ir.constants import Literal
from aicc.ir.graph import Constant

COLUMNS = 512
"""Columns that are computed at once: those of a few thousand rows fit into a cache."""


@dataclass(frozen=True, eq=False)
class Derived:
    """A matrix ``[K, N]`` of which `columns` computes a range; called, it is the whole array."""

    shape: tuple[int, int]
    dtype: np.dtype
    columns: Callable[[int, int], np.ndarray]

    def __call__(self) -> np.ndarray:
        whole = np.empty(self.shape, self.dtype)
        for first, last in ranges(self):
            whole[:, first:last] = self.columns(first, last)
        return whole


Matrix = np.ndarray | Derived


def matrix_of(value: SSAValue) -> Matrix | None:
    """The elements of a constant of two dims, which stay uncomputed if they are."""
    if not isinstance(value, OpResult) or not isinstance(value.op, Constant):
        return None
    return elements(value.op.value.data) if value.op.value.data.resolved else None


def elements(literal: Literal) -> Matrix:
    """The elements of a constant that has some."""
    load = literal.load
    return load if isinstance(load, Derived) and not literal.computed else literal.array


def ranges(matrix: Matrix) -> Iterator[tuple[int, int]]:
    """Ranges of columns, in their order."""
    size = matrix.shape[1]
    for first in range(0, size, COLUMNS):
        yield first, min(first + COLUMNS, size)


def columns(matrix: Matrix, first: int, last: int) -> np.ndarray:
    """Columns `first` to `last` − 1."""
    if isinstance(matrix, np.ndarray):
        return matrix[:, first:last]
    return matrix.columns(first, last)


def scaled(matrix: Matrix, factor: np.ndarray) -> Derived:
    """Rows times a factor each, rounded once to the matrix's type."""
    width = np.result_type(matrix.dtype, np.float32)  # two narrower ones fit into it
    wide = factor.reshape(-1, 1).astype(width)

    def part(first: int, last: int) -> np.ndarray:
        found = columns(matrix, first, last).astype(width, copy=False) * wide
        return found.astype(matrix.dtype, copy=False)

    return Derived((matrix.shape[0], matrix.shape[1]), matrix.dtype, part)


def joined(matrices: Sequence[Matrix]) -> Derived:
    """Matrices of one number of rows beside one another."""
    ends = np.cumsum([m.shape[1] for m in matrices])
    dtype = np.result_type(*(m.dtype for m in matrices))

    def part(first: int, last: int) -> np.ndarray:
        if first == last:
            return np.empty((matrices[0].shape[0], 0), dtype)
        found = [
            columns(m, max(first - start, 0), min(last - start, m.shape[1]))
            for m, start in zip(matrices, [0, *ends[:-1]], strict=True)
            if first < start + m.shape[1] and last > start
        ]
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    return Derived((matrices[0].shape[0], int(ends[-1])), dtype, part)


def column_sums(matrix: Matrix) -> np.ndarray:
    """The sum of each column, in float64."""
    return across(matrix, lambda part: part.sum(axis=0, dtype=np.float64))


def across(matrix: Matrix, f: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What f makes of columns, beside one another."""
    parts = [f(columns(matrix, *between)) for between in ranges(matrix)]
    return np.concatenate(parts) if parts else f(columns(matrix, 0, 0))
