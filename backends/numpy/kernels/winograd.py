"""Convolutions of 3×3 taps by Winograd's method, in its two steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from aicc.backends.numpy.kernels.elementwise import is_low_float
from aicc.ir.graph.winograd import INPUT, OUTPUT, PATCH, STEP, TAPS


def input_transform(x: np.ndarray, *, pads: Sequence[int], layout: str = "nchw") -> np.ndarray:
    """Patches of x[N, C, H, W] as ``Bᵀ d B``: [36, C, N, ⌈H′/4⌉, ⌈W′/4⌉]; as the op says."""
    last = layout == "nhwc"
    wide = x.astype(np.float32) if is_low_float(x.dtype) else x
    wide = np.moveaxis(wide, -1, 1) if last else wide
    ends: list[tuple[int, int]] = []
    for size, low, high in zip(wide.shape[2:], pads[:2], pads[2:], strict=True):
        places = -(-(size + low + high - TAPS + 1) // STEP)
        ends.append((low, max(places * STEP + TAPS - 1 - size - low, 0)))
    wide = np.pad(wide, [(0, 0), (0, 0), *ends])
    patches = sliding_window_view(wide, (PATCH, PATCH), axis=(2, 3))[:, :, ::STEP, ::STEP]
    matrix = INPUT.astype(wide.dtype)
    goal = "abntuc" if last else "abcntu"
    found = np.einsum(f"ai,bj,nctuij->{goal}", matrix, matrix, patches, optimize=True)
    return np.ascontiguousarray(found.reshape(PATCH**2, *found.shape[2:]).astype(x.dtype))


def conv(
    patches: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    size: Sequence[int],
    layout: str = "nchw",
) -> np.ndarray:
    """Sums over channels of patches [36, C, N, *P] with weight [36, M, C]; as the op says."""
    dtype, last = patches.dtype, layout == "nhwc"
    if is_low_float(dtype):
        patches, weight = patches.astype(np.float32), weight.astype(np.float32)
    if last:
        patches, weight = np.moveaxis(patches, -1, 1), weight.transpose(0, 2, 1)
    _, c, n, rows, columns = patches.shape
    sums = weight @ patches.reshape(PATCH**2, c, n * rows * columns)
    sums = sums.reshape(PATCH, PATCH, weight.shape[1], n, rows, columns)
    matrix = OUTPUT.astype(sums.dtype)
    found = np.einsum("ai,bj,ijmntu->nmtaub", matrix, matrix, sums, optimize=True)
    found = found.reshape(n, weight.shape[1], rows * STEP, columns * STEP)
    found = found[:, :, : size[0], : size[1]]
    if bias is not None:
        found = found + bias.astype(found.dtype)[:, None, None]
    return np.ascontiguousarray((np.moveaxis(found, 1, -1) if last else found).astype(dtype))
