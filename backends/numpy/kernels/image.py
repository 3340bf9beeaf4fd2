"""Resampling and detection kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float


def _coordinates(
    out_size: int, in_size: int, scale: float, mode: str, roi: tuple[float, float]
) -> np.ndarray:
    """Where each output index falls in the input (ONNX Resize's coordinate modes)."""
    i = np.arange(out_size, dtype=np.float64)
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        length = scale * in_size  # not rounded, so that scales keep their meaning
        if abs(length - out_size) < 1e-6:
            length = out_size
        return i * (in_size - 1) / (length - 1) if length != 1 else np.zeros(out_size)
    if mode == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if out_size > 1 else np.zeros(out_size)
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if mode == "tf_crop_and_resize":
        start, end = roi
        if out_size > 1:
            return start * (in_size - 1) + i * (end - start) * (in_size - 1) / (out_size - 1)
        return np.full(out_size, 0.5 * (start + end) * (in_size - 1))
    if mode == "half_pixel_symmetric":
        adjusted = out_size / (scale * in_size)
        center = in_size / 2
        return center * (1 - adjusted) + (i + 0.5) / scale - 0.5
    return (i + 0.5) / scale - 0.5


def _nearest(x: np.ndarray, mode: str) -> np.ndarray:
    if mode == "floor":
        return np.floor(x)
    if mode == "ceil":
        return np.ceil(x)
    if mode == "round_prefer_ceil":
        return np.floor(x + 0.5)
    return np.ceil(x - 0.5)


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel (Keys 1981)."""
    d = np.abs(d)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _axis_weights(
    at: np.ndarray, in_size: int, scale: float, mode: str, a: float, outside: bool, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Input indices and weights [out, taps] of each output position."""
    support = 1.0 if mode == "linear" else 2.0
    stretch = max(1.0, 1.0 / scale) if antialias else 1.0
    reach = support * stretch
    if antialias and stretch > 1:
        first = np.floor(at - reach).astype(np.int64) + 1
        taps = math.ceil(2 * reach) + 1
    else:
        first = np.floor(at).astype(np.int64) - (0 if mode == "linear" else 1)
        taps = 2 if mode == "linear" else 4
    index = first[:, None] + np.arange(taps)
    distance = (index - at[:, None]) / stretch
    if mode == "linear":
        weight = np.maximum(1 - np.abs(distance), 0)
    else:
        weight = _cubic(distance, a)
    if outside:
        weight = np.where((index < 0) | (index >= in_size), 0, weight)
    total = weight.sum(1, keepdims=True)
    if outside or antialias:
        weight = weight / np.where(total == 0, 1, total)
    return np.clip(index, 0, in_size - 1), weight


def resize(
    x: np.ndarray,
    *,
    sizes: Sequence[int],
    axes: Sequence[int],
    mode: str,
    coordinate_transformation_mode: str,
    nearest_mode: str,
    cubic_coeff_a: float,
    exclude_outside: bool,
    antialias: bool,
    extrapolation_value: float,
    scales: Sequence[float] | None,
    roi: Sequence[float] | None,
) -> np.ndarray:
    """Resample axis by axis: the weights are separable."""
    dtype = x.dtype
    out = x if mode == "nearest" else x.astype(np.float64 if dtype == np.float64 else np.float32)
    n = len(axes)
    beyond = []
    for i, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
        in_size = x.shape[axis]
        scale = scales[i] if scales is not None else size / in_size if in_size else 1.0
        region = (roi[i], roi[n + i]) if roi is not None else (0.0, 1.0)
        if (
            size == in_size
            and scale == 1
            and coordinate_transformation_mode != "tf_crop_and_resize"
        ):
            continue
        at = _coordinates(size, in_size, scale, coordinate_transformation_mode, region)
        if coordinate_transformation_mode == "tf_crop_and_resize":
            beyond.append((axis, (at < 0) | (at > in_size - 1)))
        if mode == "nearest":
            index = np.clip(_nearest(at, nearest_mode).astype(np.int64), 0, max(in_size - 1, 0))
            out = out.take(index, axis)
            continue
        index, weight = _axis_weights(
            at, in_size, scale, mode, cubic_coeff_a, exclude_outside, antialias
        )
        shape = [1] * x.ndim
        shape[axis] = size
        total = np.zeros((), out.dtype)
        for tap in range(index.shape[1]):
            part = out.take(index[:, tap], axis)
            total = total + part * weight[:, tap].astype(out.dtype).reshape(shape)
        out = total
    for axis, mask in beyond:
        shape = [1] * x.ndim
        shape[axis] = -1
        out = np.where(mask.reshape(shape), out.dtype.type(extrapolation_value), out)
    if dtype.kind in "iu" and out.dtype.kind == "f":
        info = np.iinfo(dtype)
        return np.clip(np.rint(out), info.min, info.max).astype(dtype)
    return out.astype(dtype, copy=False)


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
    """Sample x[N, C, *S] at grid[N, *O, n]; the grid's last dim runs from the last axis."""
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
            taps.append([(base + k, _cubic(p - base - k, -0.75)) for k in (-1, 0, 1, 2)])
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * n)
    channels_last = np.moveaxis(wide, 1, -1)
    total = np.zeros((*grid.shape[:-1], x.shape[1]), np.float64)
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
        total += channels_last[(batch, *index)] * weight[..., None]
    return np.moveaxis(total, -1, 1).astype(x.dtype)


def _bilinear(plane: np.ndarray, y: np.ndarray, x: np.ndarray):
    """The four taps of bilinear samples of plane[C, H, W], weighted: a list of [C, ...]."""
    height, width = plane.shape[1:]
    outside = (y < -1.0) | (y > height) | (x < -1.0) | (x > width)
    y, x = np.maximum(y, 0), np.maximum(x, 0)
    y0, x0 = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    y = np.where(y0 >= height - 1, height - 1, y)
    x = np.where(x0 >= width - 1, width - 1, x)
    y0, x0 = np.minimum(y0, height - 1), np.minimum(x0, width - 1)
    y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
    ly, lx = y - y0, x - x0
    corners = (
        (y0, x0, (1 - ly) * (1 - lx)),
        (y0, x1, (1 - ly) * lx),
        (y1, x0, ly * (1 - lx)),
        (y1, x1, ly * lx),
    )
    return [plane[:, a, b] * np.where(outside, 0, w) for a, b, w in corners]


def roi_align(
    x: np.ndarray,
    rois: np.ndarray,
    batch_indices: np.ndarray,
    *,
    mode: str,
    output_height: int,
    output_width: int,
    sampling_ratio: int,
    spatial_scale: float,
    coordinate_transformation_mode: str,
) -> np.ndarray:
    """One region at a time: the number of samples in a bin depends on the region."""
    half = 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    out = np.empty((len(rois), x.shape[1], output_height, output_width), x.dtype)
    for r, (roi, b) in enumerate(zip(rois.astype(np.float64), batch_indices, strict=True)):
        x1, y1, x2, y2 = roi * spatial_scale - half
        width, height = x2 - x1, y2 - y1
        if not half:
            width, height = max(width, 1.0), max(height, 1.0)
        bin_h, bin_w = height / output_height, width / output_width
        ny = sampling_ratio or max(math.ceil(height / output_height), 0)
        nx = sampling_ratio or max(math.ceil(width / output_width), 0)
        ys = y1 + bin_h * (np.arange(output_height)[:, None] + (np.arange(ny) + 0.5) / max(ny, 1))
        xs = x1 + bin_w * (np.arange(output_width)[:, None] + (np.arange(nx) + 0.5) / max(nx, 1))
        yy = ys.reshape(output_height, 1, ny, 1)
        xx = xs.reshape(1, output_width, 1, nx)
        yy, xx = np.broadcast_arrays(yy, xx)
        corners = _bilinear(x[int(b)], yy, xx)
        if mode == "avg":
            out[r] = np.add.reduce(corners).sum((-1, -2)) / max(ny * nx, 1)
        else:
            out[r] = np.max(np.stack(corners), axis=0).max((-1, -2))
    return out


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(box[2:] - box[:2])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = area + areas - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


def non_max_suppression(
    boxes: np.ndarray,
    scores: np.ndarray,
    max_output_boxes: np.ndarray,
    iou_threshold: np.ndarray,
    score_threshold: np.ndarray | None = None,
    *,
    center_point_box: bool = False,
) -> np.ndarray:
    """Greedy suppression for each batch and class, best score first."""
    limit, threshold = int(max_output_boxes), float(iou_threshold)
    chosen: list[tuple[int, int, int]] = []
    for b in range(scores.shape[0]):
        raw = boxes[b].astype(np.float64)
        if center_point_box:
            center, size = raw[:, :2], raw[:, 2:]
            corners = np.concatenate([center - size / 2, center + size / 2], 1)
        else:
            first, second = raw[:, :2], raw[:, 2:]
            corners = np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1)
        for c in range(scores.shape[1]):
            s = scores[b, c]
            order = np.argsort(-s, kind="stable")
            if score_threshold is not None:
                order = order[s[order] > float(score_threshold)]
            kept = 0
            while order.size and kept < limit:
                best = int(order[0])
                chosen.append((b, c, best))
                kept += 1
                rest = order[1:]
                order = rest[_iou(corners[best], corners[rest]) <= threshold]
    return np.array(chosen, np.int64).reshape(-1, 3)


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
    """Every tap is sampled at its own offset (any number of spatial dims), then one GEMM."""
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
