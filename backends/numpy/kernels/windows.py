"""Sliding windows over the spatial dims of x[N, C, *S], as convolutions and pools need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

ALL = slice(None)


def pad_spatial(x: np.ndarray, pads: Sequence[int], value: float = 0) -> np.ndarray:
    """x with `pads` (the low ends, then the high ends) added to its spatial dims.

    Negative pads crop. x itself where nothing is to be added.
    """
    if not any(pads):
        return x
    n = len(pads) // 2
    if min(pads) < 0:
        ends = [x.shape[2 + i] - max(-pads[n + i], 0) for i in range(n)]
        x = x[(ALL, ALL, *(slice(max(-pads[i], 0), ends[i]) for i in range(n)))]
        pads = [max(p, 0) for p in pads]
    size = [d + pads[i] + pads[n + i] for i, d in enumerate(x.shape[2:])]
    shape = (*x.shape[:2], *size)
    out = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    out[(ALL, ALL, *(slice(pads[i], pads[i] + x.shape[2 + i]) for i in range(n)))] = x
    return out


def in_layout(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel of images [N, C, *S] that takes [N, *S, C] with weights [*K, C, M] too."""

    def run(x: np.ndarray, *rest: np.ndarray | None, layout: str = "nchw", **params: Any) -> Any:
        if layout == "nchw":
            return kernel(x, *rest, **params)
        turned = [np.moveaxis(np.moveaxis(w, -1, 0), -1, 1) for w in rest[:1] if w is not None]
        found = kernel(np.moveaxis(x, -1, 1), *turned, *rest[1:], **params)
        if isinstance(found, tuple):
            return tuple(None if v is None else np.moveaxis(v, 1, -1) for v in found)
        return np.moveaxis(found, 1, -1)

    return run


def windows(
    x: np.ndarray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> np.ndarray:
    """A read-only view [N, C, *K, *O] of all windows of x: at each tap, what it meets."""
    out = [
        max((x.shape[2 + i] - (k - 1) * dilations[i] - 1) // strides[i] + 1, 0)
        for i, k in enumerate(kernel)
    ]
    step = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:2], *kernel, *out),
        (
            *x.strides[:2],
            *(s * d for s, d in zip(step, dilations, strict=True)),
            *(s * t for s, t in zip(step, strides, strict=True)),
        ),
        writeable=False,
    )


def tap_slices(
    tap: Sequence[int], counts: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[slice, ...]:
    """What one tap of `counts` windows covers in the (padded) input: an index into [N, C, *S]."""
    at = [
        slice(t * d, t * d + (c - 1) * s + 1, s) if c else slice(0)
        for t, c, s, d in zip(tap, counts, strides, dilations, strict=True)
    ]
    return (ALL, ALL, *at)


def along(values: np.ndarray, n: int) -> np.ndarray:
    """values[C], shaped to broadcast over n spatial dims of [N, C, *S]."""
    return values.reshape(-1, *[1] * n)
