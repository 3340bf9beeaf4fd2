"""Ops that read images at computed places, in terms of gathers and arithmetic."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import DType, f32, f64, i32, i64, ui32
from aicc.ir.graph import binary, image, pool
from aicc.ir.graph.contract import MatMul
from aicc.ir.graph.indexing import Gather, GatherElements
from aicc.ir.graph.operators import Term, wide
from aicc.ir.graph.reduce import ReduceMax, ReduceMean
from aicc.ir.graph.resampling import axis_weights, coordinates, nearest
from aicc.ir.symbols import product
from aicc.ir.types import element_type, rank_of, shape_of

MOST_TAPS = 4
"""How many slices are weighed one by one; more are a product by a matrix of weights."""

MOST_UNROLLED = 32
"""How many taps a window may have that are looked at one by one."""


def resize(b: GraphBuilder, op: image.Resize) -> Sequence[SSAValue] | None:
    """Axis by axis, as the weights are separable: gathers of the taps, each times its weight.

    None where a size isn't known: places and weights are tables.
    """
    n, sizes = len(op.axes), _known(op.sizes or (None,))
    olds = _known([shape_of(op.input)[a] for a in op.axes])
    if sizes is None or olds is None:
        return None
    dtype = element_type(op.input)
    x = b.cast(op.input, dtype if op.mode == "nearest" else _computed_in(op.input))
    beyond: list[tuple[int, np.ndarray]] = []
    for i, axis in enumerate(op.axes):
        size, old = sizes[i], olds[i]
        scale = op.scales[i] if op.scales is not None else size / old if old else 1.0
        crops = op.coordinate_transformation_mode == "tf_crop_and_resize"
        if size == old and scale == 1 and not crops:
            continue
        region = (op.roi[i], op.roi[n + i]) if op.roi is not None else (0.0, 1.0)
        at = coordinates(size, old, scale, op.coordinate_transformation_mode, region)
        if crops:
            beyond.append((axis, (at < 0) | (at > old - 1)))
        if op.mode == "nearest":
            index = np.clip(nearest(at, op.nearest_mode), 0, max(old - 1, 0))
            x = b.emit(Gather, x, b.constant(index, ui32), axis=axis)
        else:
            tables = axis_weights(
                at, old, scale, op.mode, op.cubic_coeff_a, op.exclude_outside, op.antialias
            )
            x = _weighed(b, x, axis, *tables)
    for axis, mask in beyond:
        outside = b.constant(_along(mask, axis, rank_of(x)))
        x = b.emit(binary.Select, outside, b.scalar_like(op.extrapolation_value, x), x)
    return [_back(b, x, dtype)]


def _computed_in(x: SSAValue) -> DType:
    return f64 if element_type(x) == f64 else f32


def _along(table: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A table for one axis, to be broadcast."""
    return table.reshape([-1 if i == axis else 1 for i in range(rank)])


def _weighed(
    b: GraphBuilder, x: SSAValue, axis: int, index: np.ndarray, weight: np.ndarray
) -> SSAValue:
    """Each result along the axis from `index[result, tap]`, times `weight[result, tap]`."""
    rank, dtype = rank_of(x), element_type(x)
    if index.shape[1] > MOST_TAPS:
        matrix = np.zeros((shape_of(x)[axis], len(index)), weight.dtype)  # type: ignore[arg-type]
        np.add.at(matrix, (index, np.arange(len(index))[:, None]), weight)
        order = [i for i in range(rank) if i != axis] + [axis]
        rows = b.transpose(x, order)
        rows = b.emit(MatMul, rows, b.constant(matrix, dtype))
        return b.transpose(rows, [order.index(i) for i in range(rank)])
    total: SSAValue | None = None
    for tap in range(index.shape[1]):
        if not weight[:, tap].any():
            continue
        part = b.emit(Gather, x, b.constant(index[:, tap], ui32), axis=axis)
        factor = b.constant(_along(weight[:, tap], axis, rank), dtype)
        part = b.emit(binary.Mul, part, factor)
        total = part if total is None else b.emit(binary.Add, total, part)
    return b.emit(binary.Mul, x, b.scalar_like(0, x)) if total is None else total


def _back(b: GraphBuilder, x: SSAValue, dtype: DType) -> SSAValue:
    """Cast; integers are rounded and saturated."""
    if element_type(x).is_float and dtype.is_integer:
        info = np.iinfo(dtype.np)
        x = Term(b, x).round().clip(float(info.min), float(info.max)).value
    return b.cast(x, dtype)


def _reflected(x: Term, size: int, align_corners: bool) -> Term:
    """Coordinates reflected at the outermost pixels' centres, or at their edges."""
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    span = high - low
    if span <= 0:
        return x * 0.0
    x = abs(x - low) % (2 * span)
    return (2 * span - x).where(x > span, x) + low


def _tap_places(x: Term, size: int, op: image.GridSample) -> tuple[Term, Term | None]:
    """Whole places inside the image, and which of them count (None: all)."""
    if op.padding_mode == "border":
        return x.clip(0, size - 1), None
    if op.padding_mode == "reflection":
        return _reflected(x, size, op.align_corners).round().clip(0, size - 1), None
    return x.clip(0, size - 1), (x >= 0) & (x <= size - 1)


def _cubic(d: Term, a: float) -> Term:
    """The cubic convolution kernel (Keys 1981), in factors: no digits are lost near its zeros."""
    d = abs(d)
    near = (((a + 2) * d - 1) * d - 1) * (d - 1)
    far = a * (d - 1) * (d - 2) * (d - 2)
    return near.where(d <= 1, far.where(d < 2, 0.0))


def _taps(p: Term, mode: str) -> list[tuple[Term, Term | None]]:
    """The whole places around each coordinate, and their weights (None: 1)."""
    if mode == "nearest":
        return [(p.round(), None)]
    base = p.floor()
    if mode == "linear":
        return [(base, 1 - (p - base)), (base + 1, p - base)]
    return [(base + k, _cubic(p - base - k, -0.75)) for k in (-1, 0, 1, 2)]


def _sampled(
    b: GraphBuilder, planes: SSAValue, sizes: Sequence[int], taps: Sequence[Sequence[Any]]
) -> Term:
    """The weighted sum over all taps of planes[*B, C, P].

    `taps` has for each dim of an image the places of each tap [*B, O], which of them count, and
    their weights. Gives [*B, C, O].
    """
    total: Term | None = None
    axis = rank_of(planes) - 1
    for choice in itertools.product(*taps):
        flat: Term | None = None
        weight: Term | None = None
        counts: Term | None = None
        for (place, inside, share), size in zip(choice, sizes, strict=True):
            flat = place if flat is None else flat * size + place
            if share is not None:
                weight = share if weight is None else weight * share
            if inside is not None:
                counts = inside if counts is None else counts & inside
        assert flat is not None
        index = b.unsqueeze(flat.cast(ui32).value, [axis - 1])
        index = b.expand(index, [*shape_of(planes)[:-1], shape_of(index)[-1]])
        part = Term(b, b.emit(GatherElements, planes, index, axis=axis))
        if weight is not None:
            weight = Term(b, b.unsqueeze(weight.value, [axis - 1]))
        if counts is not None:
            counts = Term(b, b.unsqueeze(counts.value, [axis - 1]))
            if weight is None:
                weight = Term(b, b.scalar_like(1, part.value))
            weight = weight.where(counts, 0)
        if weight is not None:
            part = part * weight.cast(part.dtype)
        total = part if total is None else total + part
    assert total is not None
    return total


def _index(place: Term, size: int) -> Term:
    """A whole place as an index that lies inside, even of NaN."""
    return place.cast(i32).clip(0, size - 1)


def _known(dims: Sequence[Any]) -> list[int] | None:
    return list(dims) if all(isinstance(d, int) for d in dims) else None


def grid_sample(b: GraphBuilder, op: image.GridSample) -> Sequence[SSAValue] | None:
    """Taps around each place, gathered from flattened planes; None where a size isn't known."""
    shape, dtype = shape_of(op.input), element_type(op.input)
    sizes, out = _known(shape[2:]), shape_of(op.grid)[1:-1]
    if sizes is None or not b.is_bound((*shape, *shape_of(op.result))) or not math.prod(sizes):
        return None
    n = len(sizes)
    grid = b.cast(op.grid, _computed_in(op.grid))
    points = b.reshape(grid, [shape[0], product([d for d in out if d is not None]), n])
    taps = []
    for i, size in enumerate(sizes):
        axis = n - 1 - i
        g = Term(b, b.squeeze(b.slice(points, 2, axis, axis + 1), [2]))
        p = (g + 1) / 2 * (size - 1) if op.align_corners else ((g + 1) * size - 1) / 2
        if op.mode != "cubic" and op.padding_mode == "border":
            p = p.clip(0, size - 1)
        elif op.mode != "cubic" and op.padding_mode == "reflection":
            p = _reflected(p, size, op.align_corners).clip(0, size - 1)
        taps.append([(*_placed(at, size, op), w) for at, w in _taps(p, op.mode)])
    planes = b.reshape(wide(b, op.input), [*shape[:2], math.prod(sizes)])
    total = _sampled(b, planes, sizes, taps).value
    return [b.cast(b.reshape(total, shape_of(op.result)), dtype)]


def _placed(at: Term, size: int, op: image.GridSample) -> tuple[Term, Term | None]:
    place, inside = _tap_places(at, size, op)
    return _index(place, size), inside


def _corners(p: Term, size: int) -> list[tuple[Term, Term, Term]]:
    """Both neighbours of each coordinate, which lie inside, and their weights."""
    return [
        (_index(at.clip(0, size - 1), size), (at >= 0) & (at < size), weight)
        for at, weight in _taps(p, "linear")
        if weight is not None
    ]


def deform_conv(b: GraphBuilder, op: Any) -> Sequence[SSAValue] | None:
    """Columns sampled at their offsets, times the weights as a matrix; None for unknown sizes."""
    x, w, o = (_known(shape_of(v)) for v in (op.input, op.weight, op.offset))
    if x is None or w is None or o is None or not math.prod(x):
        return None
    (batch, channels, *sizes), (m, per_group, *kernel) = x, w
    n, taps, out, groups = len(sizes), math.prod(kernel), o[2:], op.offset_groups
    shifts = b.reshape(op.offset, [batch, groups, taps, n, math.prod(out)])
    corners = []
    for i, size in enumerate(sizes):
        along = np.arange(out[i]) * op.strides[i] - op.pads[i]
        tap = np.indices(kernel)[i].reshape(-1) * op.dilations[i]
        base = np.broadcast_to(_along(along, i, n), out).reshape(1, -1) + tap[:, None]
        shift = b.squeeze(b.slice(shifts, 3, i, i + 1), [3])
        p = Term(b, shift) + Term(b, b.constant(base, element_type(shift)))
        p = Term(b, b.reshape(p.value, [batch, groups, taps * math.prod(out)]))
        corners.append(_corners(p, size))
    planes = b.reshape(op.input, [batch, groups, channels // groups, math.prod(sizes)])
    columns = _sampled(b, planes, sizes, corners)
    if op.mask is not None:
        columns *= Term(b, b.reshape(op.mask, [batch, groups, 1, taps * math.prod(out)]))
    grouped = [batch, op.groups, per_group * taps, math.prod(out)]
    weight = b.reshape(op.weight, [op.groups, m // op.groups, per_group * taps])
    result = b.emit(MatMul, weight, b.reshape(columns.value, grouped))
    result = b.reshape(result, [batch, m, *out])
    if op.bias is not None:
        result = b.emit(binary.Add, result, b.unsqueeze(op.bias, list(range(1, n + 1))))
    return [result]


def roi_align(b: GraphBuilder, op: image.RoiAlign) -> Sequence[SSAValue] | None:
    """Samples of each bin: their mean, or their greatest corner. None for as many as pixels."""
    channels, *sizes = shape_of(op.input)[1:]
    known, count, samples = _known([channels, *sizes]), shape_of(op.rois)[0], op.sampling_ratio
    if known is None or not samples or not b.is_bound([count]) or not math.prod(known):
        return None
    half = 0.5 if op.coordinate_transformation_mode == "half_pixel" else 0.0
    rois = Term(b, b.cast(op.rois, _computed_in(op.rois))) * op.spatial_scale - half
    bins = (op.output_height, op.output_width)
    spots = [bins[0], samples, bins[1], samples]
    corners, inside = [], None
    for i, size in enumerate(known[1:]):
        low, high = (b.slice(rois.value, 1, c, c + 1) for c in (1 - i, 3 - i))  # [R, 1]
        length = Term(b, high) - Term(b, low)
        if not half:
            length = length.maximum(1.0)
        steps = (np.arange(bins[i])[:, None] + (np.arange(samples) + 0.5) / samples) / bins[i]
        steps = b.constant(steps.reshape(1, -1), rois.dtype)
        p = Term(b, low) + length * Term(b, steps)  # [R, bins·samples]
        close = _spots((p >= -1.0) & (p <= size), i, spots)
        inside = close if inside is None else inside & close
        p = p.clip(0, size - 1)
        base = p.floor()
        near = [(base, 1 - (p - base)), ((base + 1).clip(0, size - 1), p - base)]
        corners.append(
            [(_spots(_index(at, size), i, spots), None, _spots(w, i, spots)) for at, w in near]
        )
    assert inside is not None
    images = b.emit(Gather, op.input, op.batch_indices, axis=0)
    planes = b.reshape(wide(b, images), [count, known[0], math.prod(known[1:])])
    counts = Term(b, b.unsqueeze(inside.value, [1]))
    whole = [count, known[0], *spots]
    if op.mode == "avg":
        values = _sampled(b, planes, known[1:], corners)
        values = values.where(counts, 0.0)
        out = b.emit(ReduceMean, b.reshape(values.value, whole), axes=[3, 5], keepdims=False)
    else:
        parts = [
            _sampled(b, planes, known[1:], [[c] for c in choice])
            for choice in itertools.product(*corners)
        ]
        top = functools.reduce(Term.maximum, parts)
        top = top.where(counts, 0.0)
        out = b.emit(ReduceMax, b.reshape(top.value, whole), axes=[3, 5], keepdims=False)
    return [b.cast(out, element_type(op.input))]


def _spots(x: Term, i: int, spots: Sequence[int]) -> Term:
    """Numbers along one side of each region, [R, S], for all of its samples, [R, S·T]."""
    b, count = x.b, shape_of(x.value)[0]
    sides = [spots[0] * spots[1], spots[2] * spots[3]]
    whole = b.expand(b.unsqueeze(x.value, [2 - i]), [count, *sides])
    return Term(b, b.reshape(whole, [count, math.prod(sides)]))


def max_pool(b: GraphBuilder, op: pool.MaxPool) -> Sequence[SSAValue] | None:
    """Tap after tap, the best so far and its place; None where nobody asks for the place."""
    x, counts = shape_of(op.input), shape_of(op.result)[2:]
    sizes, windows, taps = _known(x[2:]), _known(counts), math.prod(op.kernel_shape)
    if op.indices.first_use is None or op.layout == "nhwc" or taps > MOST_UNROLLED:
        return None
    if sizes is None or windows is None or not math.prod(sizes) * math.prod(windows):
        return None
    dtype = element_type(op.input)
    lowest = -math.inf if dtype.is_float else np.iinfo(dtype.np).min
    first = np.full(windows, -1)
    found = []
    for tap in itertools.product(*map(range, op.kernel_shape)):
        value, flat, inside = op.input, np.zeros((), np.int64), np.ones((), np.bool_)
        for i, t in enumerate(tap):
            place = np.arange(windows[i]) * op.strides[i] - op.pads[i] + t * op.dilations[i]
            close = (place >= 0) & (place < sizes[i])
            place = np.clip(place, 0, sizes[i] - 1)
            value = b.emit(Gather, value, b.constant(place, ui32), axis=2 + i)
            flat = flat[..., None] * sizes[i] + place
            inside = inside[..., None] & close
        first = np.where((first < 0) & inside, flat, first)
        value = Term(b, value)
        if not inside.all():
            value = value.where(Term(b, b.constant(inside)), lowest)
        found.append((value, flat))
    at = Term(b, b.expand(b.constant(np.maximum(first, 0), i64), [*x[:2], *windows]))
    best = found[0][0]
    for value, flat in found[1:]:
        better = value > best
        if dtype.is_float:
            better = better | (value.is_nan() & (best >= best))
        best = value.where(better, best)
        at = Term(b, b.constant(flat, i64)).where(better, at)
    return [best.value, at.value]
