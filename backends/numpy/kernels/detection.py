"""Kernels of object detectors: regions pooled, and boxes chosen."""

from __future__ import annotations

import math

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float


def _bilinear(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """The four corners around each point of plane[H, W, C], weighted: a list of [..., C]."""
    height, width = plane.shape[:2]
    outside = (y < -1.0) | (y > height) | (x < -1.0) | (x > width)
    y = np.clip(y, 0, height - 1)
    x = np.clip(x, 0, width - 1)
    y0, x0 = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
    ly, lx = y - y0, x - x0
    corners = (
        (y0, x0, (1 - ly) * (1 - lx)),
        (y0, x1, (1 - ly) * lx),
        (y1, x0, ly * (1 - lx)),
        (y1, x1, ly * lx),
    )
    return [
        plane[a, b] * np.where(outside, 0, w).astype(plane.dtype)[..., None] for a, b, w in corners
    ]


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
    """Bilinear samples of x[N, C, H, W] in each bin of each of rois[R, 4] (x1, y1, x2, y2).

    Gives [R, C, output_height, output_width]: the mean of a bin's samples, or the maximum of their
    weighted corners (as ONNX RoiAlign has it). A `sampling_ratio` of 0 takes as many samples a bin
    as it has pixels, hence the loop over regions.
    """
    half = 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    wide = x.astype(np.float32) if is_low_float(x.dtype) else x
    planes = np.ascontiguousarray(np.moveaxis(wide, 1, -1))
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
        yy, xx = np.broadcast_arrays(ys[:, None, :, None], xs[None, :, None, :])
        corners = _bilinear(planes[int(b)], yy, xx)
        if mode == "avg":
            corners[0] += corners[1]
            corners[2] += corners[3]
            corners[0] += corners[2]
            pooled = corners[0].sum((2, 3)) / max(ny * nx, 1)
        else:
            top = np.maximum.reduce(corners)
            pooled = top.max((2, 3)) if top.size else np.zeros(top.shape[:2] + top.shape[4:])
        out[r] = np.moveaxis(pooled, -1, 0)
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
    """Indices [K, 3] (batch, class, box) of the boxes kept for each batch and class, best first.

    boxes[B, N, 4] (two corners, or centre and size with `center_point_box`), scores[B, C, N]. A box
    goes when it overlaps a better one that is kept by more than `iou_threshold`, or when its score
    is not above `score_threshold`. ONNX NonMaxSuppression.
    """
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
