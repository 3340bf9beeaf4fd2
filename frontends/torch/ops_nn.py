"""Products, convolutions, pooling, normalisation, attention and resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext, pair
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import f64, i64
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, rank_of, shape_of


@aten("mm", "bmm")
def mm(c: CallContext, a: SSAValue, b: SSAValue):
    return c.emit(graph.MatMul, a, b)


@aten("addmm")
def addmm(c: CallContext, bias: SSAValue, a: SSAValue, b: SSAValue, beta: Any = 1, alpha: Any = 1):
    out = c.emit(graph.MatMul, a, b)
    if alpha != 1:
        out = c.emit(graph.Mul, out, c.tensor(alpha, element_type(out)))
    if beta == 0:
        return out
    if beta != 1:
        bias = c.emit(graph.Mul, bias, c.tensor(beta, element_type(out)))
    return c.emit(graph.Add, out, bias)


@aten("addbmm")
def addbmm(c: CallContext, bias: SSAValue, a: SSAValue, b: SSAValue, beta: Any = 1, alpha: Any = 1):
    """The products of all batches, summed."""
    out = c.emit(graph.ReduceSum, c.emit(graph.MatMul, a, b), axes=[0])
    out = c.emit(graph.Mul, out, c.tensor(alpha, element_type(out))) if alpha != 1 else out
    if beta == 0:
        return out
    return c.emit(graph.Add, out, c.emit(graph.Mul, bias, c.tensor(beta, element_type(out))))


@aten("convolution")
def convolution(
    c: CallContext,
    x: SSAValue,
    w: SSAValue,
    bias: SSAValue | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
):
    n = rank_of(w) - 2
    if rank_of(x) != n + 2:
        return NotImplemented
    pads = pair(padding, n)
    shared = {
        "strides": pair(stride, n),
        "pads": pads + pads,
        "dilations": pair(dilation, n),
        "groups": groups,
    }
    if transposed and not element_type(x).is_float:  # exact up to 2^53
        wide = [v if v is None else c.b.cast(v, f64) for v in (x, w, bias)]
        more = pair(output_padding, n)
        out = c.emit(graph.ConvTranspose, *wide, output_padding=more, **shared)
        return c.b.cast(out, element_type(x))
    if transposed:
        return c.emit(
            graph.ConvTranspose, x, w, bias, output_padding=pair(output_padding, n), **shared
        )
    return c.emit(graph.Conv, x, w, bias, **shared)


@aten("convolution_backward")
def convolution_backward(
    c: CallContext,
    grad: SSAValue,
    x: SSAValue,
    w: SSAValue,
    bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
):
    n = rank_of(w) - 2
    strides, pads, dilations = pair(stride, n), pair(padding, n), pair(dilation, n)
    kernel = shape_of(w)[2:]
    shared: dict[str, Any] = {
        "strides": strides,
        "pads": pads + pads,
        "dilations": dilations,
        "groups": groups,
    }
    results: list[SSAValue | None] = [None, None, None]
    if output_mask[0]:
        if transposed:
            out = c.emit(graph.Conv, grad, w, **shared)
            for i in range(2, n + 2):  # output padding has made it longer
                if shape_of(out)[i] != (d := shape_of(x)[i]) and d is not None:
                    out = c.b.slice(out, i, 0, d)
            results[0] = out
        else:
            extra = []
            for i in range(n):
                size, out, k = shape_of(x)[2 + i], shape_of(grad)[2 + i], kernel[i]
                if size is None or out is None or not isinstance(k, int):
                    return NotImplemented
                covered = (out - 1) * strides[i] + (k - 1) * dilations[i] + 1 - 2 * pads[i]
                extra.append(size - covered)
            if not all(isinstance(e, int) for e in extra):
                return NotImplemented
            results[0] = c.emit(graph.ConvTranspose, grad, w, output_padding=extra, **shared)
    if output_mask[1]:
        first, second = (grad, x) if transposed else (x, grad)
        results[1] = c.emit(graph.ConvWeightGrad, first, second, kernel_shape=kernel, **shared)
    if output_mask[2]:
        axes = [0, *range(2, n + 2)]
        results[2] = c.emit(graph.ReduceSum, grad, axes=axes)
    return results


# ---------------------------------------------------------------------- pooling


def _pool(n: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> dict:
    kernel = pair(kernel, n)
    pads = pair(padding, n)
    return {
        "kernel_shape": kernel,
        "strides": pair(stride, n) if stride not in ([], ()) else kernel,
        "pads": pads + pads,
        "dilations": pair(dilation, n),
        "ceil_mode": ceil,
    }


def _batched(c: CallContext, x: SSAValue, n: int) -> tuple[SSAValue, bool]:
    """x with a batch dim, and whether one was added."""
    single = rank_of(x) == n + 1
    return (c.b.unsqueeze(x, [0]) if single else x), single


@aten("max_pool2d_with_indices", "max_pool3d_with_indices")
def max_pool(
    c: CallContext,
    x: SSAValue,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
):
    n = 3 if "3d" in str(c.node.target) else 2
    x, single = _batched(c, x, n)
    out = c.b.build(graph.MaxPool, x, **_pool(n, kernel, stride, padding, dilation, ceil)).results
    return [c.b.squeeze(r, [0]) for r in out] if single else out


@aten("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward")
def max_pool_backward(
    c: CallContext,
    grad: SSAValue,
    x: SSAValue,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: bool,
    indices: SSAValue,
):
    n = 3 if "3d" in str(c.node.target) else 2
    grad, single = _batched(c, grad, n)
    indices, _ = _batched(c, indices, n)
    windows = _pool(n, kernel, stride, padding, dilation, ceil)
    del windows["ceil_mode"]
    spatial = c.b.structural(shape_of(x)[-n:])
    out = c.emit(graph.MaxPoolGrad, grad, indices, input_spatial=spatial, **windows)
    return c.b.squeeze(out, [0]) if single else out


@aten("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(
    c: CallContext,
    x: SSAValue,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
):
    n = int(str(c.node.target).partition("avg_pool")[2][0])
    x, single = _batched(c, x, n)
    pool = _pool(n, kernel, stride, padding, 1, ceil)
    if not element_type(x).is_float:
        out = _integer_avg_pool(c, x, pool, count_include_pad, divisor)
        return out if out is NotImplemented or not single else c.b.squeeze(out, [0])
    if divisor is None:
        out = c.emit(graph.AvgPool, x, count_include_pad=count_include_pad, **pool)
    else:
        pads = _whole_windows(pool, shape_of(x)[2:], c.dims()[-n:])
        if pads is None:
            return NotImplemented
        x = c.emit(graph.Pad, x, c.scalar(0, x), low=pads[0], high=pads[1])
        out = c.emit(graph.AvgPool, x, **pool | {"pads": [0] * 2 * n, "ceil_mode": False})
        out = c.emit(graph.Mul, out, c.scalar(math.prod(pool["kernel_shape"]) / divisor, out))
    return c.b.squeeze(out, [0]) if single else out


def _integer_avg_pool(
    c: CallContext, x: SSAValue, pool: dict, count_pads: bool, divisor: int | None
) -> Any:
    """Sums, exact in float64 up to 2^53, divided by how many elements count, towards zero."""
    sizes, outs = shape_of(x)[2:], c.dims()[-len(pool["kernel_shape"]) :]
    around = _whole_windows(pool, sizes, outs)
    if around is None:
        return NotImplemented
    wide = c.b.cast(x, f64)
    wide = c.emit(graph.Pad, wide, c.scalar(0, wide), low=around[0], high=around[1])
    none = {"pads": [0] * len(pool["pads"]), "ceil_mode": False}
    mean = c.emit(graph.AvgPool, wide, **pool | none)
    total = c.emit(graph.Mul, mean, c.scalar(math.prod(pool["kernel_shape"]), mean))
    total = c.b.cast(c.emit(graph.Round, total), element_type(x))
    counts = np.ones((1, 1), np.int64)
    for i, (size, out) in enumerate(zip(sizes, outs, strict=True)):
        assert isinstance(size, int) and isinstance(out, int)
        pad = pool["pads"][i]
        start = np.arange(out) * pool["strides"][i] - pad
        end = np.minimum(start + pool["kernel_shape"][i], size + pad)
        inner = np.minimum(end, size) - np.maximum(start, 0)
        counts = counts[..., None] * (end - start if count_pads else inner)
    by = c.b.constant(counts if divisor is None else np.int64(divisor), element_type(x))
    return c.emit(graph.Div, total, by)


def _whole_windows(
    pool: dict, sizes: Sequence[Any], outs: Sequence[Any]
) -> tuple[list[int], list[int]] | None:
    """What to pad a pooled tensor with so that every window lies in it: low and high by dim."""
    if not all(isinstance(d, int) for d in [*sizes, *outs]):
        return None
    n = len(sizes)
    low, high = [0, 0, *pool["pads"][:n]], [0, 0]
    for i, (size, out) in enumerate(zip(sizes, outs, strict=True)):
        covered = (out - 1) * pool["strides"][i] + pool["kernel_shape"][i]
        high.append(max(covered - size - pool["pads"][i], 0))
    return low, high


@aten("avg_pool2d_backward", "avg_pool3d_backward")
def avg_pool_backward(
    c: CallContext,
    grad: SSAValue,
    x: SSAValue,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil: bool,
    count_include_pad: bool,
    divisor: int | None = None,
):
    n = 3 if "3d" in str(c.node.target) else 2
    grad, single = _batched(c, grad, n)
    pool, sizes = _pool(n, kernel, stride, padding, 1, ceil), shape_of(x)[-n:]
    if divisor is None:
        out = c.emit(
            graph.AvgPoolGrad,
            grad,
            input_spatial=c.b.structural(sizes),
            count_include_pad=count_include_pad,
            **pool,
        )
        return c.b.squeeze(out, [0]) if single else out
    pads = _whole_windows(pool, sizes, shape_of(grad)[2:])
    if pads is None:
        return NotImplemented
    low, high = pads[0][2:], pads[1][2:]
    grad = c.emit(graph.Mul, grad, c.scalar(math.prod(pool["kernel_shape"]) / divisor, grad))
    padded = [a + d + b for a, d, b in zip(low, sizes, high, strict=True)]  # type: ignore[operator]
    pool |= {"pads": [0] * 2 * n, "ceil_mode": False}
    out = c.emit(graph.AvgPoolGrad, grad, input_spatial=padded, **pool)
    for i, size in enumerate(sizes):
        out = c.b.slice(out, 2 + i, low[i], low[i] + size)  # type: ignore[operator]
    return c.b.squeeze(out, [0]) if single else out


def _adaptive_matrix(size: int, out: int) -> np.ndarray:
    """[out, size]: each row averages its window, floor(i·s/o) to ceil((i+1)·s/o)."""
    m = np.zeros((out, size))
    for i in range(out):
        start, end = i * size // out, -(-(i + 1) * size // out)
        m[i, start:end] = 1 / (end - start)
    return m


def _apply_along(c: CallContext, x: SSAValue, axis: int, matrix: np.ndarray) -> SSAValue:
    """x multiplied by a matrix along one axis."""
    rank = rank_of(x)
    order = [i for i in range(rank) if i != axis] + [axis]
    moved = c.b.transpose(x, order)
    if rank == 1:
        return c.b.squeeze(
            c.emit(graph.MatMul, c.b.unsqueeze(moved, [0]), _const(c, matrix.T, x)), [0]
        )
    out = c.emit(graph.MatMul, moved, _const(c, matrix.T, x))
    return c.b.transpose(out, [order.index(i) for i in range(rank)])


def _const(c: CallContext, matrix: np.ndarray, like: SSAValue) -> SSAValue:
    return c.b.constant(np.ascontiguousarray(matrix), element_type(like))


@aten("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d")
def adaptive_avg_pool(c: CallContext, x: SSAValue, size: Any):
    n = 1 if "1d" in str(c.node.target) else 3 if "3d" in str(c.node.target) else 2
    outs = pair(size, n)
    spatial = shape_of(x)[-n:]
    if outs == [1] * n:
        axes = list(range(rank_of(x) - n, rank_of(x)))
        return c.emit(graph.ReduceMean, x, axes=axes, keepdims=True)
    known = [d for d in spatial if isinstance(d, int)]
    if len(known) < n or not all(isinstance(d, int) for d in outs):
        return NotImplemented
    if all(o and s % o == 0 for s, o in zip(known, outs, strict=True)):  # windows of one size
        x, single = _batched(c, x, n)
        sizes = [s // o for s, o in zip(known, outs, strict=True)]
        out = c.emit(graph.AvgPool, x, **_pool(n, sizes, sizes, 0, 1, False))
        return c.b.squeeze(out, [0]) if single else out
    for i, (s, o) in enumerate(zip(known, outs, strict=True)):
        x = _apply_along(c, x, rank_of(x) - n + i, _adaptive_matrix(s, o))
    return x


@aten("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward")
def adaptive_avg_pool_backward(c: CallContext, grad: SSAValue, x: SSAValue):
    n = 3 if "3d" in str(c.node.target) else 2
    sizes, outs = shape_of(x)[-n:], shape_of(grad)[-n:]
    if not all(isinstance(d, int) for d in [*sizes, *outs]):
        return NotImplemented
    for i, (s, o) in enumerate(zip(sizes, outs, strict=True)):
        matrix = _adaptive_matrix(s, o).T  # type: ignore[arg-type]
        grad = _apply_along(c, grad, rank_of(grad) - n + i, matrix)
    return grad


# ---------------------------------------------------------------------- normalisation


@aten("_softmax", "_log_softmax")
def softmax(c: CallContext, x: SSAValue, dim: int, half_to_float: bool = False):
    cls = graph.LogSoftmax if "_log_" in str(c.node.target) else graph.Softmax
    x = c.tensor(x, c.dtype())
    if rank_of(x) == 0:
        return c.b.squeeze(c.emit(cls, c.b.unsqueeze(x, [0]), axis=0), [0])
    return c.emit(cls, x, axis=dim % rank_of(x))


@aten("native_layer_norm")
def native_layer_norm(
    c: CallContext,
    x: SSAValue,
    shape: Sequence[Any],
    weight: SSAValue | None,
    bias: SSAValue | None,
    eps: float,
):
    axis = rank_of(x) - len(shape)
    return c.b.build(graph.LayerNorm, x, weight, bias, axis=axis, epsilon=eps).results


@aten("native_group_norm")
def native_group_norm(
    c: CallContext,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    n: Any,
    channels: Any,
    plane: Any,
    groups: int,
    eps: float,
):
    return c.b.build(graph.GroupNorm, x, weight, bias, groups=groups, epsilon=eps).results


@aten("_native_batch_norm_legit_no_training")
def batch_norm(
    c: CallContext,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    mean: SSAValue,
    variance: SSAValue,
    momentum: float,
    eps: float,
):
    stats = element_type(mean)
    shape = [d for d in shape_of(mean) if d is not None]
    weight = c.b.full(shape, 1, stats) if weight is None else weight
    bias = c.b.full(shape, 0, stats) if bias is None else bias
    out = c.emit(graph.BatchNorm, x, weight, bias, mean, variance, epsilon=eps)
    empty = c.b.full([0], 0, stats)
    return [out, empty, empty]


# ---------------------------------------------------------------------- resampling


def _resize(c: CallContext, x: SSAValue, mode: str, transform: str, scales: Any) -> SSAValue:
    n = rank_of(x) - 2
    return c.emit(
        graph.Resize,
        x,
        axes=list(range(2, n + 2)),
        sizes=c.b.structural(c.dims()[2:]),
        mode=mode,
        coordinate_transformation_mode=transform,
        nearest_mode="floor",
        scales=None if scales is None else list(scales),
    )


@aten("upsample_nearest1d.vec", "upsample_nearest2d.vec", "upsample_nearest3d.vec")
def upsample_nearest(c: CallContext, x: SSAValue, size: Any, scales: Any = None):
    return _resize(c, x, "nearest", "asymmetric", scales)


@aten("upsample_bilinear2d.vec", "upsample_linear1d.vec", "upsample_trilinear3d.vec")
def upsample_linear(c: CallContext, x: SSAValue, size: Any, align: bool, scales: Any = None):
    return _resize(c, x, "linear", "align_corners" if align else "half_pixel", scales)


@aten("grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(c: CallContext, x: SSAValue, grid: SSAValue, mode: int, padding: int, align: bool):
    return c.emit(
        graph.GridSample,
        x,
        grid,
        mode=("linear", "nearest", "cubic")[mode],
        padding_mode=("zeros", "border", "reflection")[padding],
        align_corners=align,
    )


@aten("col2im")
def col2im(
    c: CallContext,
    x: SSAValue,
    output_size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
):
    """Sum overlapping columns into an image: scatter-add of each to its flat pixel."""
    x, single = (c.b.unsqueeze(x, [0]), True) if rank_of(x) == 2 else (x, False)
    batch, columns = shape_of(x)[:2]
    if not isinstance(columns, int) or not all(isinstance(s, int) for s in output_size):
        return NotImplemented
    taps = math.prod(kernel)
    counts = [
        (output_size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    rows = np.arange(kernel[0])[:, None] * dilation[0] + np.arange(counts[0]) * stride[0]
    cols = np.arange(kernel[1])[:, None] * dilation[1] + np.arange(counts[1]) * stride[1]
    padded = [s + 2 * p for s, p in zip(output_size, padding, strict=True)]
    flat = rows[:, None, :, None] * padded[1] + cols[None, :, None, :]
    n = batch
    if n is None:
        return NotImplemented
    planes: list[Dim] = [n * (columns // taps), flat.size]
    source = c.b.transpose(c.b.reshape(x, planes), [1, 0])
    zeros = c.b.full([math.prod(padded), planes[0]], 0, element_type(x))
    index = c.b.constant(flat.reshape(-1, 1).astype(np.int64), i64)
    out = c.b.transpose(c.emit(graph.ScatterND, zeros, index, source, reduction="add"), [1, 0])
    out = c.b.reshape(out, [n, columns // taps, *padded])
    low = [0, 0, *(-p for p in padding)]
    out = c.emit(graph.Pad, out, c.scalar(0, out), low=low, high=low)
    return c.b.squeeze(out, [0]) if single else out
