"""The discrete Fourier transform as products by matrices of roots of unity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import misc
from aicc.ir.graph.contract import MatMul
from aicc.ir.graph.operators import Term, wide
from aicc.ir.graph.shape import Concat, Pad
from aicc.ir.types import element_type, rank_of, shape_of

DENSE = 128
"""The longest transform that is one product; longer ones are split into two where they can be."""

LARGEST = 1 << 22
"""How many elements a matrix may have."""


def dft(b: GraphBuilder, op: misc.DFT) -> Sequence[SSAValue] | None:
    """One product, or two with a turn between for long ones (Cooley and Tukey 1965).

    None where a length isn't known, or has no divisors and is long.
    """
    shape, dtype = shape_of(op.input), element_type(op.input)
    if op.length is None or not isinstance(n := op.length[0], int):
        return None
    given = shape[op.axis]
    if not isinstance(given, int) or not given or not n or not b.is_bound(shape):
        return None
    used = min(given, n // 2 + 1 if op.inverse and op.onesided else n)
    rank = rank_of(op.input)
    order = [i for i in range(rank) if i != op.axis]
    order.insert(rank - 2, op.axis)
    x = b.transpose(b.slice(wide(b, op.input), op.axis, 0, used), order)  # [..., length, 1 or 2]
    if op.inverse and op.onesided:
        matrix = _inverse_of_half(n, used, shape[-1] == 2)
    else:
        bins = n // 2 + 1 if op.onesided else n
        parts = shape[-1]
        if n > DENSE and _divisor(n) > 1:
            x = _split(b, _complex(b, x, n), n, op.inverse)
            x = b.slice(x, rank - 2, 0, bins)
            if op.inverse:
                x = (Term(b, x) * (1 / n)).value
            matrix = None
        else:
            matrix = _matrix(n, used, bins, op.inverse)[:, :parts]  # type: ignore[misc]
            matrix = matrix / n if op.inverse else matrix
    if matrix is not None:
        if matrix.size > LARGEST:
            return None
        x = _product(b, x, matrix)
    return [b.cast(b.transpose(x, [order.index(i) for i in range(rank)]), dtype)]


def _product(b: GraphBuilder, x: SSAValue, matrix: np.ndarray) -> SSAValue:
    """x[..., l, p] by a matrix [l, p, k, q]: [..., k, q]."""
    lead = shape_of(x)[:-2]
    length, parts, bins, results = matrix.shape
    rows = b.reshape(x, [*lead, length * parts])
    flat = b.constant(matrix.reshape(length * parts, bins * results), element_type(x))
    return b.reshape(b.emit(MatMul, rows, flat), [*lead, bins, results])


def _roots(n: int, rows: int, columns: int) -> np.ndarray:
    """e^(−2πi·lk/n) for l < rows and k < columns."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % n
    quarters, rest = np.divmod(4 * turns, n)
    exact = np.array([1, -1j, -1, 1j], np.complex128)[quarters]
    return np.where(rest == 0, exact, np.exp(-2j * np.pi * turns / n))


def _real(roots: np.ndarray) -> np.ndarray:
    """Factors [l, k] as matrices that act on real and imaginary part: [l, 2, k, 2]."""
    out = np.empty((roots.shape[0], 2, roots.shape[1], 2))
    out[:, 0, :, 0], out[:, 0, :, 1] = np.real(roots), np.imag(roots)
    out[:, 1, :, 0], out[:, 1, :, 1] = -np.imag(roots), np.real(roots)
    return out


def _matrix(n: int, used: int, bins: int, inverse: bool) -> np.ndarray:
    roots = _roots(n, used, bins)
    return _real(roots.conj() if inverse else roots)


def _inverse_of_half(n: int, used: int, is_complex: bool) -> np.ndarray:
    """The real signal [n] of the first bins: those between come twice, as their mirrors."""
    roots = _roots(n, used, n).conj() / n
    twice = np.full((used, 1), 2.0)
    twice[0] = 1
    if n % 2 == 0 and used == n // 2 + 1:
        twice[-1] = 1
    out = _real(roots * twice)[:, :, :, :1].copy()
    alone = twice[:, 0] == 1
    out[alone, 1] = 0
    return out if is_complex else out[:, :1]


def _divisor(n: int) -> int:
    """The divisor of n that is next to its square root from below."""
    return next(d for d in range(math.isqrt(n), 0, -1) if n % d == 0)


def _complex(b: GraphBuilder, x: SSAValue, n: int) -> SSAValue:
    """x[..., l, 1 or 2] with zeros for what it lacks of [..., n, 2]."""
    *_, length, parts = shape_of(x)
    if (length, parts) == (n, 2):
        return x
    rank = rank_of(x)
    high = [*[0] * (rank - 2), n - length, 2 - parts]  # type: ignore[operator]
    zero = b.scalar_like(0, x)
    return b.emit(Pad, x, zero, low=[0] * rank, high=high)


def _split(b: GraphBuilder, x: SSAValue, n: int, inverse: bool) -> SSAValue:
    """The transform of x[..., n, 2] along the dim before its last, without a factor."""
    first = _divisor(n)
    if n <= DENSE or first == 1:
        return _product(b, x, _matrix(n, n, n, inverse))
    second, lead = n // first, list(shape_of(x)[:-2])
    r = len(lead)
    # x at second·i + j, bins at k + first·m: along i for each j, a turn of jk, along j for each k
    x = b.reshape(x, [*lead, first, second, 2])
    x = b.transpose(x, [*range(r), r + 1, r, r + 2])
    x = _split(b, x, first, inverse)  # [..., j, k, 2]
    turns = _roots(n, second, first)
    re, im = (Term(b, b.slice(x, r + 2, i, i + 1)) for i in range(2))
    c, s = (
        Term(b, b.constant(t[:, :, None], element_type(x)))
        for t in (np.real(turns), np.imag(turns) * (-1 if inverse else 1))
    )
    x = b.emit(Concat, [(re * c - im * s).value, (re * s + im * c).value], axis=r + 2)
    x = b.transpose(x, [*range(r), r + 1, r, r + 2])
    x = _split(b, x, second, inverse)  # [..., k, m, 2]
    x = b.transpose(x, [*range(r), r + 1, r, r + 2])
    return b.reshape(x, [*lead, n, 2])
