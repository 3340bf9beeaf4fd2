"""Resampling, detection and signal operators."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.errors import ImportError_
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.dtypes import i64
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, shape_of, static_shape


def _scaled(c: NodeContext, scales: list[float], axes: list[int]) -> list[int]:
    sizes = []
    for axis, scale in zip(axes, scales, strict=True):
        d = c.shape()[axis]
        if not isinstance(d, int):
            if scale == int(scale) and d is not None:
                sizes.append(d * int(scale))
                continue
            raise ImportError_(f"dim {axis} must be known to scale it by {scale}")
        sizes.append(math.floor(d * scale))
    return sizes


@onnx_op("Upsample", until=10)
def upsample(c: NodeContext):
    if c.has_attr("scales"):
        scales = list(c.attr("scales"))
    elif c.has_attr("height_scale"):
        scales = [1.0, 1.0, c.attr("height_scale"), c.attr("width_scale")]
    else:
        scales = [float(v) for v in c.require_array(1, "scales")]
    axes = list(range(c.rank()))
    mode = {"nearest": "nearest", "linear": "linear", "bilinear": "linear"}[
        c.attr("mode", "nearest")
    ]
    return c.emit(
        graph.Resize,
        c[0],
        axes=axes,
        sizes=_scaled(c, scales, axes),
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        scales=scales,
    )


@onnx_op("Resize", until=11)
def resize_10(c: NodeContext):
    return upsample(c)


@onnx_op("Resize", since=11)
def resize(c: NodeContext):
    rank = c.rank()
    axes = [c.normalize(a, rank) for a in c.attr("axes", list(range(rank)))]
    transform = c.attr("coordinate_transformation_mode", "half_pixel")
    scales_given = c.optional(2) is not None and shape_of(c[2])[0] != 0
    roi = None
    if transform == "tf_crop_and_resize":
        roi = [float(v) for v in c.require_array(1, "roi")]
    scales: list[float] | None = None
    if scales_given:
        scales = [float(v) for v in c.require_array(2, "scales")]
        sizes: list[Dim] = list(_scaled(c, scales, axes))
    else:
        known = c.b.structural(c.b.cast(c[3], i64))
        if isinstance(known, SSAValue):
            known = c.ints(3, "sizes")
        sizes = [d for d in known if d is not None]
        policy = c.attr("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            pick = min if policy == "not_larger" else max
            ratio = pick(s / d for s, d in zip(sizes, (c.shape()[a] for a in axes), strict=True))  # type: ignore[type-var]
            sizes = [math.floor(ratio * c.shape()[a] + 0.5) for a in axes]  # type: ignore
            scales = [ratio] * len(axes)
    return c.emit(
        graph.Resize,
        c[0],
        axes=axes,
        sizes=sizes,
        mode=c.attr("mode", "nearest"),
        coordinate_transformation_mode=transform,
        nearest_mode=c.attr("nearest_mode", "round_prefer_floor"),
        cubic_coeff_a=c.attr("cubic_coeff_a", -0.75),
        exclude_outside=bool(c.attr("exclude_outside", 0)),
        antialias=bool(c.attr("antialias", 0)),
        extrapolation_value=c.attr("extrapolation_value", 0.0),
        scales=scales,
        roi=roi,
    )


@onnx_op("GridSample")
def grid_sample(c: NodeContext):
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(
        c.attr("mode", "linear"), c.attr("mode", "linear")
    )
    return c.emit(
        graph.GridSample,
        c[0],
        c[1],
        mode=mode,
        padding_mode=c.attr("padding_mode", "zeros"),
        align_corners=bool(c.attr("align_corners", 0)),
    )


@onnx_op("RoiAlign")
def roi_align(c: NodeContext):
    default = "half_pixel" if c.version >= 16 else "output_half_pixel"
    return c.emit(
        graph.RoiAlign,
        c[0],
        c[1],
        c[2],
        mode=c.attr("mode", "avg"),
        output_height=c.attr("output_height", 1),
        output_width=c.attr("output_width", 1),
        sampling_ratio=c.attr("sampling_ratio", 0),
        spatial_scale=c.attr("spatial_scale", 1.0),
        coordinate_transformation_mode=c.attr("coordinate_transformation_mode", default),
    )


@onnx_op("NonMaxSuppression")
def non_max_suppression(c: NodeContext):
    limit = c.b.reshape(c[2], []) if c.has(2) else c.b.constant(0, i64)
    iou = c.b.reshape(c[3], []) if c.has(3) else c.b.constant(np.float32(0))
    score = c.b.reshape(c[4], []) if c.has(4) else None
    return c.emit(
        graph.NonMaxSuppression,
        c[0],
        c[1],
        limit,
        iou,
        score,
        center_point_box=bool(c.attr("center_point_box", 0)),
    )


@onnx_op("DFT")
def dft(c: NodeContext):
    rank = c.rank()
    if c.version < 20:
        axis = c.normalize(c.attr("axis", 1), rank)
    else:
        axis = c.normalize(c.ints(2, "axis")[0] if c.has(2) else -2, rank)
    inverse, onesided = bool(c.attr("inverse", 0)), bool(c.attr("onesided", 0))
    if c.has(1):
        length = c.b.structural(c.b.cast(c.b.reshape(c[1], [1]), i64))
    else:
        d = c.shape()[axis]
        if d is None:
            raise ImportError_("the length of the signal must be known")
        length = [2 * (d - 1) if inverse and onesided else d]
    return c.emit(graph.DFT, c[0], axis=axis, inverse=inverse, onesided=onesided, length=length)


@onnx_op("STFT")
def stft(c: NodeContext):
    """Frames of the signal by a gather, times the window, then a DFT of each."""
    step = c.ints(1, "frame_step")[0]
    signal = c[0]
    samples = c.shape()[1]
    window = c.optional(2)
    if c.has(3):
        size = c.ints(3, "frame_length")[0]
    elif window is not None and (known := static_shape(window)) is not None:
        size = known[0]
    else:
        raise ImportError_("the length of a frame must be known")
    if not isinstance(samples, int):
        raise ImportError_("the length of the signal must be known")
    count = (samples - size) // step + 1
    index = np.arange(count)[:, None] * step + np.arange(size)
    frames = c.emit(graph.Gather, signal, c.b.constant(index.astype(np.int64)), axis=1)
    if len(shape_of(frames)) == 3:
        frames = c.b.unsqueeze(frames, [3])
    if window is not None:
        shaped = c.b.reshape(c.b.cast(window, element_type(signal)), [1, 1, size, 1])
        frames = c.emit(graph.Mul, frames, shaped)
    onesided = bool(c.attr("onesided", 1))
    return c.emit(graph.DFT, frames, axis=2, onesided=onesided, length=[size])
