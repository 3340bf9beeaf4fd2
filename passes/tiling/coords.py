"""Coordinates: where in an array an element is, as expressions over axes and sizes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from aicc.ir.symbols import (
    Call,
    Dim,
    SymExpr,
    bounds,
    exact_div,
    floordiv,
    maximum,
    minimum,
    mod,
)
from aicc.ir.types import Shape, same_dim, shape_of

Coords = tuple[Dim, ...]


class Unsupported(Exception):
    """Why a kernel can't be lowered."""


def broadcast_coords(v: SSAValue, result: SSAValue, coords: Coords) -> Coords:
    """Coordinates of an operand that broadcasts to `result` at `coords`."""
    return broadcast_at(shape_of(v), shape_of(result), coords)


def broadcast_at(shape: Shape, goal: Shape, coords: Sequence[Dim]) -> Coords:
    """Coordinates in `shape`, which broadcasts to `goal`, of what is at `coords` there.

    A dim that may be 1 or the goal's size is read at the last index at most.
    """
    skip = len(goal) - len(shape)
    found: list[Dim] = []
    for d, g, c in zip(shape, goal[skip:], coords[skip:], strict=True):
        if d is None:
            raise Unsupported("a size isn't known")
        if d == 1:
            found.append(0)
        else:
            found.append(c if isinstance(d, int) or same_dim(d, g) else minimum(c, d - 1))
    return tuple(found)


def strides_of(shape: Shape) -> list[Dim]:
    """Row-major strides in elements."""
    strides: list[Dim] = []
    step: Dim = 1
    for d in reversed(shape):
        assert d is not None
        strides.insert(0, step)
        step = step * d
    return strides


def linear(coords: Coords, shape: Shape) -> Dim:
    """The row-major index of an element."""
    total: Dim = 0
    for c, s in zip(coords, strides_of(shape), strict=True):
        total = total + c * s
    return total


def first_index(start: Dim, size: Dim, step: int) -> Dim:
    """Where a slice starts, negative bounds and those beyond the end taken as NumPy takes them."""
    if isinstance(start, int) and isinstance(size, int):
        return slice(start, None, step).indices(size)[0]
    low, high = bounds(start)
    if high is not None and high < 0:
        return maximum(start + size, 0 if step > 0 else -1)
    if low is None or low < 0:
        raise Unsupported(f"a slice starts at {start}, whose sign isn't known")
    return start if step > 0 else minimum(start, size - 1)  # beyond the end nothing is read


def reshaped(coords: Coords, shape: Shape, goal: Shape, extents: dict[str, Dim]) -> Coords:
    """Coordinates in `goal` of the element at `coords` in `shape`, in row-major order.

    Dims are matched in groups of equal size, so that only a group that is really cut up differently
    needs divisions.
    """
    result: list[Dim] = []
    i = j = 0
    while i < len(shape) or j < len(goal):
        first_i, first_j = i, j
        a: Dim = 1
        b: Dim = 1
        while True:
            begun = j > first_j
            if i < len(shape) and (i == first_i or (begun and a != b and not _exceeds(a, b))):
                a, i = a * _known(shape[i]), i + 1
            elif j < len(goal) and (j == first_j or a != b):
                b, j = b * _known(goal[j]), j + 1
            elif i < len(shape) and a != b:
                a, i = a * _known(shape[i]), i + 1
            else:
                break
            if a == b and i > first_i and j > first_j:
                break
        result += _split(linear(coords[first_i:i], shape[first_i:i]), goal[first_j:j], extents)
    return tuple(result)


def _known(d: Dim | None) -> Dim:
    if d is None:
        raise Unsupported("a size is unknown")
    return d


def _exceeds(a: Dim, b: Dim) -> bool:
    """Whether a is larger, or a multiple: of no elements it doesn't matter where they are."""
    ratio = exact_div(a, b) if isinstance(b, SymExpr) else None
    if isinstance(ratio, int) and ratio > 1:
        return True
    low, _ = bounds(a - b)
    return low is not None and low > 0


def _split(index: Dim, shape: Shape, extents: dict[str, Dim]) -> list[Dim]:
    """Coordinates of the element number `index` of a row-major array."""
    coords: list[Dim] = []
    for size, stride in zip(shape, strides_of(shape), strict=True):
        if size == 1:
            coords.append(0)
            continue
        quotient, index = divided(index, stride, extents)
        coords.append(quotient)
    return coords


def divided(index: Dim, n: Dim, extents: dict[str, Dim]) -> tuple[Dim, Dim]:
    """Quotient and remainder of an index ≥ 0, whose axes stay below their extents."""
    if n == 1:
        return index, 0
    if isinstance(index, int):
        return (
            (index // n, index % n) if isinstance(n, int) else (floordiv(index, n), mod(index, n))
        )
    whole: Dim = 0
    rest: Dim = index.constant
    for monomial, coefficient in index.terms:
        term: Dim = SymExpr(((monomial, coefficient),))
        quotient = exact_div(term, n)
        if quotient is None:
            rest = rest + term
        else:
            whole = whole + quotient
    if isinstance(rest, int) and isinstance(n, int):
        return whole + rest // n, rest % n
    if _below(rest, n, extents):
        return whole, rest
    return whole + floordiv(rest, n), mod(rest, n)


def _below(rest: Dim, n: Dim, extents: dict[str, Dim]) -> bool:
    """Whether 0 ≤ rest < n, from the extents of the axes in it."""
    if isinstance(rest, SymExpr):
        if any(isinstance(a, Call) for m, _ in rest.terms for a in m):
            known = {s: (0, e - 1) for s, e in extents.items() if isinstance(e, int)}
            (low, _), (spare, _) = bounds(rest, known), bounds(n - 1 - rest, known)
            return low is not None and low >= 0 and spare is not None and spare >= 0
        if any(c < 0 for _, c in rest.terms) or rest.constant < 0:
            return False
        last = {s: extents[s] - 1 for s in rest.symbols() if s in extents}
        rest = rest.substitute(last)
    low, _ = bounds(n - 1 - rest)
    return low is not None and low >= 0
