"""Resampling on a regular grid: ONNX Resize in all its modes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aicc.ir.graph.resampling import axis_weights, coordinates, nearest


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
        at = coordinates(size, in_size, scale, coordinate_transformation_mode, region)
        if coordinate_transformation_mode == "tf_crop_and_resize":
            beyond.append((axis, (at < 0) | (at > in_size - 1)))
        if mode == "nearest":
            index = np.clip(nearest(at, nearest_mode).astype(np.int64), 0, max(in_size - 1, 0))
            out = out.take(index, axis)
            continue
        index, weight = axis_weights(
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
