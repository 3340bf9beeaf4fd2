"""Pairwise distances and bags of embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.ops_reduce import vector_norm
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import i64
from aicc.ir.types import element_type, rank_of, shape_of


def _differences(c: CallContext, a: SSAValue, b: SSAValue) -> SSAValue:
    """a[…, p, m] and b[…, r, m]: a − b for each pair of rows, [… , p, r, m]."""
    rows, columns = rank_of(a), rank_of(b)
    return c.emit(graph.Sub, c.b.unsqueeze(a, [rows - 1]), c.b.unsqueeze(b, [columns - 2]))


def _norm_gradient(
    c: CallContext, difference: SSAValue, distance: SSAValue, p: float
) -> SSAValue | None:
    """∂‖d‖ₚ/∂d, 0 where the distance is 0."""
    if p == 0:
        return c.emit(graph.Mul, difference, c.scalar(0, difference))
    sign = c.emit(graph.Sign, difference)
    if p == 1:
        return sign
    size = c.emit(graph.Abs, difference)
    if p == math.inf:
        largest = c.emit(graph.Eq, size, distance)
        return c.emit(graph.Select, largest, sign, c.scalar(0, sign))
    zero = c.emit(graph.Eq, distance, c.scalar(0, distance))
    if p == 2:
        slope = c.emit(graph.Div, difference, distance)
    else:
        if p < 1:
            return None
        ratio = c.emit(graph.Div, size, distance)
        slope = c.emit(graph.Mul, sign, c.emit(graph.Pow, ratio, c.scalar(p - 1, ratio)))
    return c.emit(graph.Select, zero, c.scalar(0, slope), slope)


@aten("_cdist_forward")
def cdist_forward(c: CallContext, a: SSAValue, b: SSAValue, p: float, compute_mode: Any = None):
    return vector_norm(c, _differences(c, a, b), p, [-1])


@aten("_cdist_backward")
def cdist_backward(
    c: CallContext, grad: SSAValue, a: SSAValue, b: SSAValue, p: float, distance: SSAValue
):
    n = rank_of(grad)
    slope = _norm_gradient(c, _differences(c, a, b), c.b.unsqueeze(distance, [n]), p)
    if slope is None or n != rank_of(a):
        return NotImplemented
    return c.emit(graph.ReduceSum, c.emit(graph.Mul, c.b.unsqueeze(grad, [n]), slope), axes=[n - 1])


def _row_pairs(c: CallContext, x: SSAValue) -> tuple[np.ndarray, np.ndarray] | None:
    rows = shape_of(x)[0]
    return np.triu_indices(rows, 1) if isinstance(rows, int) else None


@aten("_pdist_forward")
def pdist_forward(c: CallContext, x: SSAValue, p: float = 2):
    pairs = _row_pairs(c, x)
    if pairs is None:
        return NotImplemented
    first, second = (c.emit(graph.Gather, x, c.b.constant(i), axis=0) for i in pairs)
    return vector_norm(c, c.emit(graph.Sub, first, second), p, [-1])


@aten("_pdist_backward")
def pdist_backward(c: CallContext, grad: SSAValue, x: SSAValue, p: float, distance: SSAValue):
    pairs = _row_pairs(c, x)
    if pairs is None:
        return NotImplemented
    first, second = (c.emit(graph.Gather, x, c.b.constant(i), axis=0) for i in pairs)
    difference = c.emit(graph.Sub, first, second)
    slope = _norm_gradient(c, difference, c.b.unsqueeze(distance, [1]), p)
    if slope is None:
        return NotImplemented
    each = c.emit(graph.Mul, c.b.unsqueeze(grad, [1]), slope)
    out = c.b.full(c.dims(), 0, element_type(x))
    for rows, part in ((pairs[0], each), (pairs[1], c.emit(graph.Neg, each))):
        at = c.b.constant(rows[:, None])
        out = c.emit(graph.ScatterND, out, at, part, reduction="add")
    return out


@aten("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    c: CallContext,
    weight: SSAValue,
    indices: SSAValue,
    offsets: SSAValue,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: SSAValue | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
):
    """Sums (mode 0), means (1) or maxima (2) of the rows of each bag.

    The other results are what the backward operator reads: the bag of each index, the size of each
    bag, and for maxima the row that each came from. torch leaves some empty: their traced shapes
    tell which.
    """
    rows, bags = shape_of(indices)[0], c.dims(0)[0]
    if not isinstance(bags, int) or not isinstance(rows, int):
        return NotImplemented
    indices, offsets = c.b.cast(indices, i64), c.b.cast(offsets, i64)
    starts = c.b.slice(offsets, 0, 0, bags)
    # An index belongs to the last bag that starts at it or before.
    places = c.b.constant(np.arange(rows), i64)
    begun = c.emit(graph.Le, c.b.unsqueeze(starts, [0]), c.b.unsqueeze(places, [1]))
    bag = c.emit(graph.ReduceSum, c.b.cast(begun, i64), axes=[1])
    bag = c.emit(graph.Sub, bag, c.b.constant(1, i64))
    at = c.b.unsqueeze(bag, [1])
    values = c.emit(graph.Gather, weight, indices, axis=0)
    if per_sample_weights is not None:
        values = c.emit(graph.Mul, values, c.b.unsqueeze(per_sample_weights, [1]))
    kept = c.emit(graph.Ne, indices, c.b.constant(padding_idx, i64))
    neutral = -math.inf if mode == 2 else 0
    values = c.emit(graph.Select, c.b.unsqueeze(kept, [1]), values, c.scalar(neutral, values))
    out = c.b.full(c.dims(0), neutral, element_type(values))
    out = c.emit(graph.ScatterND, out, at, values, reduction="max" if mode == 2 else "add")
    sizes = c.b.full([bags], 0, i64)
    sizes = c.emit(graph.ScatterND, sizes, at, c.b.cast(kept, i64), reduction="add")
    most = sizes
    if mode == 2:
        first = _first_equal(c, values, out, at, places, bags, rows)
        rest = c.emit(graph.Min, first, c.b.constant(max(rows - 1, 0), i64))
        most = c.emit(graph.Gather, indices, rest, axis=0) if rows else c.b.full(c.dims(3), 0, i64)
    if mode != 0:
        count = c.b.unsqueeze(sizes, [1])
        empty = c.emit(graph.Eq, count, c.b.constant(0, i64))
        if mode == 1:
            out = c.emit(graph.Div, out, c.b.cast(count, element_type(out)))
        else:
            most = c.emit(graph.Select, empty, c.b.constant(0, i64), most)
        out = c.emit(graph.Select, empty, c.scalar(0, out), out)
    others = (bag, sizes, most)
    return [out, *(_or_empty(c, v, i + 1) for i, v in enumerate(others))]


def _first_equal(
    c: CallContext, values: SSAValue, out: SSAValue, at: SSAValue, places: SSAValue, bags: int,
    rows: int,
) -> SSAValue:  # fmt: skip
    """For each bag and column the first index whose value is the maximum."""
    hit = c.emit(graph.Eq, values, c.emit(graph.GatherND, out, at))
    none = c.b.constant(rows, i64)
    place = c.emit(graph.Select, hit, c.b.unsqueeze(places, [1]), none)
    start = c.b.expand(none, c.dims(0))
    return c.emit(graph.ScatterND, start, at, place, reduction="min")


def _or_empty(c: CallContext, value: SSAValue, i: int) -> SSAValue:
    """The value, or nothing where torch gives nothing as result `i`."""
    dims, dtype = c.dims(i), c.dtype(i)
    return c.b.cast(value, dtype) if shape_of(value) == tuple(dims) else c.b.full(dims, 0, dtype)
