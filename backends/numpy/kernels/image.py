"""Kernels that sample images at computed places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aicc.backends.numpy.kernels.detection import non_max_suppression, roi_align
from aicc.backends.numpy.kernels.elementwise import is_low_float
from aicc.backends.numpy.kernels.resize import resize
from aicc.ir.graph.resampling import cubic_weight


def _reflect(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Coordinates reflected into [low, high]."""
    span = high - low
    if span <= 0:
        return np.zeros_like(x)
    x = np.mod(np.abs(x - low), 2 * span)
    return np.where(x > span, 2 * span - x, x) + low


def _resolve(index: np.ndarray, size: int, padding: str, align: bool):
    """Integer positions inside the input, and which of them count."""
    if padding == "border":
        return np.clip(index, 0, size - 1).astype(np.int64), None
    if padding == "reflection":
        low, high = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
        inside = _reflect(index.astype(np.float64), low, high)
        return np.clip(np.rint(inside), 0, size - 1).astype(np.int64), None
    valid = (index >= 0) & (index <= size - 1)
    return np.clip(index, 0, size - 1).astype(np.int64), valid


def grid_sample(
    x: np.ndarray,
    grid: np.ndarray,
    *,
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> np.ndarray:
    """x[N, C, *S] sampled at grid[N, *O, n], whose last dim runs from the last axis to the first.

    Coordinates run from −1 to 1 over the pixels' edges, or with `align_corners` over the centres of
    the outermost ones. The cubic coefficient is −0.75. ONNX GridSample, aten.grid_sampler_2d.
    """
    n = grid.shape[-1]
    wide = x.astype(np.float32) if is_low_float(x.dtype) else x
    where = []
    for i in range(n):
        size = x.shape[2 + i]
        g = grid[..., n - 1 - i].astype(np.float64)
        p = (g + 1) / 2 * (size - 1) if align_corners else ((g + 1) * size - 1) / 2
        if mode != "cubic":
            if padding_mode == "border":
                p = np.clip(p, 0, size - 1)
            elif padding_mode == "reflection":
                low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
                p = np.clip(_reflect(p, low, high), 0, size - 1)
        where.append(p)
    taps = []
    for p in where:
        if mode == "nearest":
            taps.append([(np.rint(p), np.ones_like(p))])
        elif mode == "linear":
            base = np.floor(p)
            taps.append([(base, 1 - (p - base)), (base + 1, p - base)])
        else:
            base = np.floor(p)
            taps.append([(base + k, cubic_weight(p - base - k, -0.75)) for k in (-1, 0, 1, 2)])
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * n)
    channels_last = np.ascontiguousarray(np.moveaxis(wide, 1, -1))
    total = np.zeros((*grid.shape[:-1], x.shape[1]), wide.dtype)
    for choice in np.ndindex(*(len(t) for t in taps)):
        index, weight, counts = [], np.ones(grid.shape[:-1]), None
        for i, k in enumerate(choice):
            position, w = taps[i][k]
            at, valid = _resolve(position, x.shape[2 + i], padding_mode, align_corners)
            index.append(at)
            weight = weight * w
            if valid is not None:
                counts = valid if counts is None else counts & valid
        if counts is not None:
            weight = np.where(counts, weight, 0)
        total += channels_last[(batch, *index)] * weight[..., None].astype(wide.dtype)
    return np.moveaxis(total, -1, 1).astype(x.dtype)


def deform_conv(
    x: np.ndarray,
    w: np.ndarray,
    offset: np.ndarray,
    bias: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int = 1,
    offset_groups: int = 1,
) -> np.ndarray:
    """Convolution of x[N, C, *S] with w[M, C/groups, *K], each tap read at its own offset.

    offset[N, offset_groups·prod(K)·n, *O], mask[N, offset_groups·prod(K), *O] (a factor for each
    tap). Samples are linear between pixels, 0 outside. ONNX DeformConv, for any number of spatial
    dims n.
    """
    batch, channels, *size = x.shape
    m, per_group, *kernel = w.shape
    n, taps = len(kernel), math.prod(kernel)
    out_size = offset.shape[2:]
    shifts = offset.reshape(batch, offset_groups, taps, n, *out_size)
    per_offset = channels // offset_groups
    columns = np.empty((batch, channels, taps, *out_size), x.dtype)
    weights = None if mask is None else mask.reshape(batch, offset_groups, taps, *out_size)
    planes = x.reshape(batch, offset_groups, per_offset, *size)
    at_batch = np.arange(batch).reshape(-1, 1, *[1] * n)
    at_group = np.arange(offset_groups).reshape(1, -1, *[1] * n)
    channels_last = np.moveaxis(planes, 2, -1)
    for t, tap in enumerate(np.ndindex(*kernel)):
        position = []
        for i in range(n):
            base = np.arange(out_size[i]) * strides[i] - pads[i] + tap[i] * dilations[i]
            base = base.reshape([-1 if j == i else 1 for j in range(n)])
            position.append(shifts[:, :, t, i] + base)
        total = np.zeros((batch, offset_groups, *out_size, per_offset), x.dtype)
        floors = [np.floor(p) for p in position]
        for corner in np.ndindex(*[2] * n):
            weight, inside, index = 1.0, True, []
            for i, c in enumerate(corner):
                q = floors[i] + c
                f = position[i] - floors[i]
                weight = weight * (f if c else 1 - f)
                inside = inside & (q >= 0) & (q < size[i])
                index.append(np.clip(q, 0, size[i] - 1).astype(np.int64))
            part = channels_last[(at_batch, at_group, *index)]
            total += part * np.where(inside, weight, 0)[..., None]
        if weights is not None:
            total *= weights[:, :, t][..., None]
        columns[:, :, t] = np.moveaxis(total, -1, 2).reshape(batch, channels, *out_size)
    grouped = columns.reshape(batch, groups, per_group * taps, -1)
    out = np.matmul(w.reshape(groups, m // groups, per_group * taps), grouped)
    out = out.reshape(batch, m, *out_size)
    return out if bias is None else out + bias.reshape(-1, *[1] * n)


__all__ = ["deform_conv", "grid_sample", "non_max_suppression", "resize", "roi_align"]
