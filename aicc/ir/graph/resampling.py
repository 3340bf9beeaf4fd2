"""Where resampling, padding and windows read along an axis, and with which weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def coordinates(
    out_size: int, in_size: int, scale: float, mode: str, roi: tuple[float, float]
) -> np.ndarray:
    """Where each output index falls in the input, by ONNX Resize's coordinate modes."""
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


def nearest(x: np.ndarray, mode: str) -> np.ndarray:
    if mode == "floor":
        return np.floor(x)
    if mode == "ceil":
        return np.ceil(x)
    if mode == "round_prefer_ceil":
        return np.floor(x + 0.5)
    return np.ceil(x - 0.5)


def cubic_weight(d: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel (Keys 1981), in factors: no digits are lost near its zeros."""
    d = np.abs(d)
    near = (((a + 2) * d - 1) * d - 1) * (d - 1)
    far = a * (d - 1) * (d - 2) * (d - 2)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def axis_weights(
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


def padded_places(n: int, low: int, high: int, mode: str) -> np.ndarray:
    """Which of n elements stands at each place of a dim padded by edge, reflect or wrap."""
    at = np.arange(-low, n + high)
    if mode == "edge":
        return np.clip(at, 0, n - 1)
    if mode == "wrap" or n == 1:
        return at % n
    period = 2 * (n - 1)
    at = np.abs(at) % period
    return np.where(at >= n, period - at, at)


def window_counts(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    counts: Sequence[int],
    count_include_pad: bool,
) -> np.ndarray:
    """How many elements each window's mean is over; what `ceil_mode` adds never counts."""
    n = len(kernel)
    total = np.ones((), np.int64)
    for i in range(n):
        start = np.arange(counts[i]) * strides[i] - pads[i]
        taps = start[:, None] + np.arange(kernel[i]) * dilations[i]
        low = -pads[i] if count_include_pad else 0
        high = size[i] + (pads[n + i] if count_include_pad else 0)
        total = total[..., None] * ((taps >= low) & (taps < high)).sum(1)
    return total
