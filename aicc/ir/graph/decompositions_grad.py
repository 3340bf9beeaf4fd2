"""Gradients of windows: each element asks the windows that it is in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import i64, ui32
from aicc.ir.graph import binary, contract, pool
from aicc.ir.graph.indexing import Gather
from aicc.ir.graph.operators import wide
from aicc.ir.graph.resampling import window_counts
from aicc.ir.graph.shape import Concat, Slice
from aicc.ir.symbols import ceildiv
from aicc.ir.types import element_type, rank_of, shape_of


@dataclass(frozen=True)
class Windows:
    """Along one dim: which window each element is in by one tap, and whether there is one."""

    at: np.ndarray
    inside: np.ndarray


def _windows(op: Any, i: int, size: int, count: int) -> list[Windows]:
    """For each of the windows that an element of dim i can be in, if there is any such."""
    k, s, d, low = op.kernel_shape[i], op.strides[i], op.dilations[i], op.pads[i]
    place = np.arange(size) + low
    found = []
    if d == 1:
        last = place // s
        for back in range(ceildiv(k, s)):  # type: ignore[arg-type]
            at = last - back
            found.append((at, place - at * s < k))
    else:
        for tap in range(k):
            start = place - tap * d
            found.append((start // s, start % s == 0))
    whole = [(at, ok & (at >= 0) & (at < count)) for at, ok in found]
    return [Windows(np.clip(at, 0, count - 1), ok) for at, ok in whole if ok.any()]


def _per_window(b: GraphBuilder, x: SSAValue, choice: Sequence[Windows]) -> SSAValue:
    for i, windows in enumerate(choice):
        x = b.emit(Gather, x, b.constant(windows.at, ui32), axis=2 + i)
    return x


def _inside(choice: Sequence[Windows]) -> np.ndarray:
    """Whether there is a window, for each element of a plane; broadcast where it always is."""
    n = len(choice)
    inside = np.ones([1] * n, np.bool_)
    for i, windows in enumerate(choice):
        if not windows.inside.all():
            inside = inside & windows.inside.reshape([-1 if j == i else 1 for j in range(n)])
    return inside


def _choices(op: Any, spatial: Sequence[Any], counts: Sequence[Any]) -> list[tuple[Windows, ...]]:
    each = [
        _windows(op, i, size, count)
        for i, (size, count) in enumerate(zip(spatial, counts, strict=True))
    ]
    return list(itertools.product(*each))


def _are_known(*dims: Any) -> bool:
    return all(isinstance(d, int) and d > 0 for d in dims)


def _summed(b: GraphBuilder, parts: Sequence[SSAValue], op: Any) -> SSAValue:
    """The sum, in the result's dtype."""
    dtype, shape = element_type(op.result), shape_of(op.result)
    if not parts:
        return b.full(shape, 0, dtype)
    total = parts[0]
    for part in parts[1:]:
        total = b.emit(binary.Add, total, part)
    return b.cast(total, dtype)


def avg_pool_grad(b: GraphBuilder, op: pool.AvgPoolGrad) -> Sequence[SSAValue] | None:
    """Each element's sum of its windows' shares; None where a size isn't known."""
    counts, spatial = shape_of(op.output_grad)[2:], op.input_spatial
    if spatial is None or not _are_known(*spatial, *counts):
        return None
    dy = wide(b, op.output_grad)
    window = (op.kernel_shape, op.strides, op.pads, op.dilations)
    known: list[Any] = list(counts)
    divisors = window_counts(spatial, *window, known, op.count_include_pad)
    share = b.emit(binary.Div, dy, b.constant(np.maximum(divisors, 1), element_type(dy)))
    parts = []
    for choice in _choices(op, spatial, counts):
        part = _per_window(b, share, choice)
        inside = _inside(choice)
        if not inside.all():
            part = b.emit(binary.Select, b.constant(inside), part, b.scalar_like(0, part))
        parts.append(part)
    return [_summed(b, parts, op)]


def max_pool_grad(b: GraphBuilder, op: pool.MaxPoolGrad) -> Sequence[SSAValue] | None:
    """Each element's sum over the windows that it won; None where windows or sizes aren't known."""
    counts, spatial = shape_of(op.output_grad)[2:], op.input_spatial
    if not op.kernel_shape or spatial is None or not _are_known(*spatial, *counts):
        return None
    dy = wide(b, op.output_grad)
    place = b.constant(np.arange(int(np.prod(spatial))).reshape(spatial), i64)
    zero = b.scalar_like(0, dy)
    parts = []
    for choice in _choices(op, spatial, counts):
        won = b.emit(binary.Eq, _per_window(b, op.indices, choice), place)
        inside = _inside(choice)
        if not inside.all():
            won = b.emit(binary.And, won, b.constant(inside))
        parts.append(b.emit(binary.Select, won, _per_window(b, dy, choice), zero))
    return [_summed(b, parts, op)]


def conv_weight_grad(b: GraphBuilder, op: contract.ConvWeightGrad) -> Sequence[SSAValue] | None:
    """A convolution of the image by the gradient: channels are its batch, strides its dilations.

    None where a size isn't known.
    """
    x, dy = shape_of(op.input), shape_of(op.output_grad)
    if not _are_known(*x, *dy, *op.kernel_shape):
        return None
    batch, channels, *size = x
    n, groups = len(size), op.groups
    per_group = channels // groups  # type: ignore[operator]
    spread = range(3, n + 3)
    image = b.reshape(op.input, [batch, groups, per_group, *size])
    image = b.transpose(image, [2, 1, 0, *spread])
    image = b.reshape(image, [per_group, groups * batch, *size])  # type: ignore[operator]
    weight = b.transpose(op.output_grad, [1, 0, *range(2, n + 2)])
    low, high = op.pads[:n], []
    for i in range(n):  # so much of the high end that there are as many results as taps
        span = (dy[2 + i] - 1) * op.strides[i] + 1  # type: ignore[operator]
        need = (op.kernel_shape[i] - 1) * op.dilations[i] + span
        high.append(need - size[i] - low[i])  # type: ignore[operator]
    short = [min(h, 0) for h in high]
    for i, by in enumerate(short):
        if by:
            image = b.slice(image, 2 + i, 0, size[i] + by)  # type: ignore[operator]
    out = b.emit(
        contract.Conv,
        image,
        weight,
        None,
        strides=op.dilations,
        pads=[*low, *(max(h, 0) for h in high)],
        dilations=op.strides,
        groups=groups,
    )  # [C / groups, M, *K]
    return [b.transpose(out, [1, 0, *range(2, rank_of(out))])]


def conv_transpose(b: GraphBuilder, op: contract.ConvTranspose) -> Sequence[SSAValue] | None:
    """A convolution for each place within a stride, by the taps that meet it, and all interleaved.

    None for dilated ones, and where a size isn't known.
    """
    x, w, out = (shape_of(v) for v in (op.input, op.weight, op.result))
    if max(op.dilations) > 1 or not _are_known(*x, *w, *out):
        return None
    n, groups = len(op.strides), op.groups
    batch, channels, *size = x
    _, per_group, *kernel = w
    weight = b.reshape(op.weight, [groups, channels // groups, per_group, *kernel])  # type: ignore[operator]
    weight = b.transpose(weight, [0, 2, 1, *range(3, n + 3)])
    weight = b.reshape(weight, [groups * per_group, channels // groups, *kernel])  # type: ignore[operator]
    counts = [ceildiv(o, s) for o, s in zip(out[2:], op.strides, strict=True)]  # type: ignore[arg-type]
    full = [batch, groups * per_group, *counts]  # type: ignore[operator]
    found: dict[tuple[int, ...], SSAValue] = {}
    for phase in itertools.product(*map(range, op.strides)):
        parts = [_taps_of(op, i, r, size[i], kernel[i], counts[i]) for i, r in enumerate(phase)]
        if any(p is None for p in parts):
            zeros = b.full(full, 0, element_type(op.result))
            bias = op.bias
            found[phase] = (
                zeros
                if bias is None
                else b.emit(binary.Add, zeros, b.unsqueeze(bias, list(range(1, n + 1))))
            )
            continue
        image, taps = op.input, weight
        pads: list[list[int]] = [[], []]
        for i, part in enumerate(parts):
            assert part is not None
            first, count, low, high = part
            step = op.strides[i]
            taps = b.emit(
                Slice,
                taps,
                axes=[2 + i],
                starts=[first + step * (count - 1)],
                limits=[first - 1 if first else -(2**63)],
                steps=[-step],
            )
            if min(low, high) < 0:
                image = b.slice(image, 2 + i, max(-low, 0), size[i] + min(high, 0))  # type: ignore[operator]
            pads[0].append(max(low, 0))
            pads[1].append(max(high, 0))
        found[phase] = b.emit(
            contract.Conv,
            image,
            taps,
            op.bias,
            strides=[1] * n,
            dilations=[1] * n,
            pads=[*pads[0], *pads[1]],
            groups=groups,
        )
    result = _interleaved(b, found, op.strides)
    for i, o in enumerate(out[2:]):
        if shape_of(result)[2 + i] != o:
            result = b.slice(result, 2 + i, 0, o)  # type: ignore[arg-type]
    return [result]


def _taps_of(
    op: contract.ConvTranspose, i: int, r: int, size: Any, k: Any, count: Any
) -> tuple[int, int, int, int] | None:
    """Of results r, r + stride, … along dim i: the first tap, how many, and the image's padding.

    None where no tap meets them.
    """
    s, low = op.strides[i], op.pads[i]
    first = (r + low) % s
    taps = len(range(first, k, s))
    if not taps:
        return None
    before = taps - 1 - (r + low - first) // s
    return first, taps, before, count + taps - 1 - size - before


def _interleaved(
    b: GraphBuilder, parts: dict[tuple[int, ...], SSAValue], strides: Sequence[int]
) -> SSAValue:
    """Element s·t + r along each dim is element t of the part r."""
    for i in reversed(range(len(strides))):
        axis = 2 + i
        joined: dict[tuple[int, ...], SSAValue] = {}
        for phase in itertools.product(*map(range, strides[:i])):
            if strides[i] == 1:
                joined[phase] = parts[(*phase, 0)]
                continue
            members = [b.unsqueeze(parts[(*phase, r)], [axis + 1]) for r in range(strides[i])]
            whole = b.emit(Concat, members, axis=axis + 1)
            sizes = list(shape_of(parts[(*phase, 0)]))
            sizes[axis] = sizes[axis] * strides[i]  # type: ignore[operator]
            joined[phase] = b.reshape(whole, sizes)  # type: ignore[arg-type]
        parts = joined
    return parts[()]
