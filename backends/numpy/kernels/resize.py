"""Resampling on a regular grid: ONNX Resize in all its modes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


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


def cubic_weight(d: np.ndarray, a: float) -> np.ndarray:
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
        weight = cubic_weight(distance, a)
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
    """x resampled along `axes` to `sizes`, axis by axis, as the weights are separable.

    ONNX Resize and Upsample, aten.upsample_*. Coordinates come from `scales` where given, else from
    sizes over input sizes. `roi` lists the starts, then the ends of the region of
    "tf_crop_and_resize". Computed in float32 (float64 for float64); integers are rounded, halves to
    even, and saturated. torch's antialiasing is `antialias` with `exclude_outside`, and its cubic
    one has coefficient −0.5.
    """
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
