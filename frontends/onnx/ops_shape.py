"""Operators that make, reshape, move and index tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.errors import ImportError_
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.constants import DenseAttr
from aicc.ir.dtypes import i1, i64
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, is_static, numel, rank_of, shape_of


@onnx_op("Constant")
def constant(c: NodeContext):
    if c.has_attr("value"):
        return c.emit(graph.Constant, value=c.importer.state.weights.attribute(c.attr("value")))
    if c.has_attr("sparse_value"):
        return c.b.constant(c.importer.state.weights.sparse(c.attr("sparse_value")))
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if c.has_attr(name):
            return c.b.constant(np.array(c.attr(name), dtype))
    raise ImportError_("a constant without a tensor value (strings are not supported)")


@onnx_op("ConstantOfShape")
def constant_of_shape(c: NodeContext):
    weights = c.importer.state.weights
    value = weights.array(c.attr("value")) if c.has_attr("value") else np.zeros((), np.float32)
    return c.b.expand(c.b.constant(value.reshape(())), c.dims(0))


@onnx_op("Shape")
def shape(c: NodeContext):
    start, end = c.attr("start", 0), c.attr("end", None)
    rank = c.rank()
    window = range(rank)[slice(start, end)]
    if len(window) == rank:
        return c.b.shape(c[0])
    return c.b.slice(c.b.shape(c[0]), 0, window.start, window.stop)


@onnx_op("Size")
def size(c: NodeContext):
    total = numel(c.shape())
    if isinstance(total, int):
        return c.b.constant(total, i64)
    return c.emit(graph.ReduceProd, c.b.shape(c[0]), axes=[0])


@onnx_op("Reshape", until=5)
def reshape_1(c: NodeContext):
    return _reshape(c, c.b.constant(np.array(c.attr("shape"), np.int64)))


@onnx_op("Reshape", since=5)
def reshape(c: NodeContext):
    return _reshape(c, c[1])


def _reshape(c: NodeContext, target: SSAValue) -> SSAValue:
    known = c.b.values.get(target)
    if known is None or (None in known and not c.attr("allowzero", 0)):
        # A size of 0 copies the operand's: only a run can tell.
        n = shape_of(target)[0]
        if not isinstance(n, int):
            raise ImportError_("the rank of the new shape isn't known")
        if not c.attr("allowzero", 0):
            own = c.b.shape(c[0])
            if n != c.rank():
                filler = c.b.constant(np.zeros(max(n - c.rank(), 0), np.int64))
                own = (
                    c.emit(graph.Concat, [own, filler], axis=0)
                    if n > c.rank()
                    else c.b.slice(own, 0, 0, n)
                )
            zero = c.emit(graph.Eq, target, c.b.constant(0, i64))
            target = c.emit(graph.Select, zero, own, target)
        return c.b.reshape(c[0], target)
    if None in known:
        return c.b.reshape(c[0], target)
    dims: list[Dim] = [d for d in known if d is not None]
    own_dims = c.shape()
    if not c.attr("allowzero", 0):
        for i, d in enumerate(dims):
            if d == 0:
                if i >= len(own_dims):
                    raise ImportError_(f"size {i} of the new shape is 0, the input has no dim {i}")
                copied = own_dims[i]
                if copied is None:
                    raise ImportError_(f"dim {i} of the input isn't known")
                dims[i] = copied
    return c.b.reshape(c[0], dims)


@onnx_op("Flatten")
def flatten(c: NodeContext):
    axis = c.attr("axis", 1)
    axis = axis + c.rank() if axis < 0 else axis
    head, tail = numel(c.shape()[:axis]), numel(c.shape()[axis:])
    if head is not None and tail is not None:
        return c.b.reshape(c[0], [head, tail])
    return c.b.reshape(c[0], [head if head is not None else -1, tail if tail is not None else -1])


@onnx_op("Squeeze")
def squeeze(c: NodeContext):
    axes = c.axes_from("axes", 1)
    if axes is None:
        axes = [i for i, d in enumerate(c.shape()) if d == 1]
    for a in axes:
        if isinstance(c.shape()[a], int) and c.shape()[a] != 1:
            raise ImportError_(f"dim {a} of size {c.shape()[a]} can't be squeezed")
    return c.b.squeeze(c[0], axes)


@onnx_op("Unsqueeze")
def unsqueeze(c: NodeContext):
    raw = c.attr("axes", None)
    raw = c.ints(1, "axes") if raw is None else raw
    rank = c.rank() + len(raw)
    axes = sorted(c.normalize(int(a), rank) for a in raw)
    if len(set(axes)) != len(axes):
        raise ImportError_(f"axes {raw} repeat")
    return c.b.unsqueeze(c[0], axes)


@onnx_op("Transpose")
def transpose(c: NodeContext):
    return c.b.transpose(c[0], c.attr("perm", list(range(c.rank()))[::-1]))


@onnx_op("Concat")
def concat(c: NodeContext):
    default = 1 if c.version < 4 else None
    return c.emit(graph.Concat, c.tensors(), axis=c.axis(default))


@onnx_op("Expand")
def expand(c: NodeContext):
    return c.b.expand(c[0], c.dims(1))


@onnx_op("Tile", since=6)
def tile(c: NodeContext):
    return tile_by(c, c[0], c[1])


def tile_by(c: NodeContext, x: SSAValue, repeats: SSAValue) -> SSAValue:
    """Repeat each dim: put a dim of size `repeats` before each, then merge."""
    own = shape_of(x)
    known = c.b.values.all_known(repeats)
    if known is not None and None not in own:
        paired = [v for r, d in zip(known, own, strict=True) for v in (r, d)]
        spread = c.b.reshape(x, [v for d in own for v in (1, d)])
        merged = [r * d for r, d in zip(known, own, strict=True)]  # type: ignore[operator]
        return c.b.reshape(c.b.expand(spread, paired), merged)
    n = len(own)
    sizes = c.b.shape(x)
    column = c.b.reshape(c.b.cast(repeats, i64), [n, 1])
    pairs = c.emit(graph.Concat, [column, c.b.reshape(sizes, [n, 1])], axis=1)
    spread = c.b.unsqueeze(x, list(range(0, 2 * n, 2)))
    wide = c.b.expand(spread, c.b.reshape(pairs, [2 * n]))
    return c.b.reshape(wide, c.emit(graph.Mul, sizes, c.b.cast(repeats, i64)))


@onnx_op("Slice", until=10)
def slice_1(c: NodeContext):
    starts, ends = c.attr("starts"), c.attr("ends")
    axes = c.attr("axes", list(range(len(starts))))
    axes = [c.normalize(a, c.rank()) for a in axes]
    return c.emit(graph.Slice, c[0], axes=axes, starts=starts, limits=ends, steps=[1] * len(axes))


@onnx_op("Slice", since=10)
def slice_10(c: NodeContext):
    n = shape_of(c[1])[0]
    if not isinstance(n, int):
        raise ImportError_("the number of sliced axes isn't known")
    raw = c.ints(3, "axes") if c.has(3) else list(range(n))
    axes = [c.normalize(a, c.rank()) for a in raw]
    steps = c.dims(4) if c.has(4) else [1] * n
    starts, limits = c.dims(1), c.dims(2)
    known = c.b.values.get(c[2])
    if not isinstance(limits, SSAValue) and known is not None:
        limits = list(limits)
    return c.emit(graph.Slice, c[0], axes=axes, starts=starts, limits=limits, steps=steps)


@onnx_op("Split")
def split(c: NodeContext):
    axis = c.axis(0)
    n = c.output_count
    size = c.shape()[axis]
    sizes: Sequence[Dim] | None = c.attr("split", None)
    if sizes is None and c.has(1):
        sizes = c.b.values.all_known(c[1])
        if sizes is None or not is_static(sizes):
            sizes = c.ints(1, "split") if sizes is None else sizes
    if sizes is None:
        if not isinstance(size, int):
            raise ImportError_(f"dim {axis} must be known to split it evenly")
        each = -(-size // n)
        sizes = [each] * (n - 1) + [size - each * (n - 1)]
    out, start = [], 0
    for s in sizes:
        out.append(c.b.slice(c[0], axis, start, start + s))
        start = start + s
    return out


@onnx_op("Pad", until=11)
def pad_2(c: NodeContext):
    pads = c.attr("pads", None) or c.attr("paddings")
    n = len(pads) // 2
    value = c.scalar(c.attr("value", 0.0))
    return c.emit(
        graph.Pad, c[0], value, mode=c.attr("mode", "constant"), low=pads[:n], high=pads[n:]
    )


@onnx_op("Pad", since=11)
def pad(c: NodeContext):
    rank = c.rank()
    value = c.b.reshape(c[2], []) if c.has(2) else c.scalar(0)
    axes = [c.normalize(a, rank) for a in c.ints(3, "axes")] if c.has(3) else list(range(rank))
    n = len(axes)
    known = c.b.values.all_known(c[1])
    mode = c.attr("mode", "constant")
    if known is not None and c.b.is_bound(known):
        low: list[Dim] = [0] * rank
        high: list[Dim] = [0] * rank
        for i, a in enumerate(axes):
            low[a], high[a] = known[i], known[n + i]
        return c.emit(graph.Pad, c[0], value, mode=mode, low=low, high=high)
    pads = c.b.cast(c[1], i64)
    ends = [c.b.slice(pads, 0, 0, n), c.b.slice(pads, 0, n, 2 * n)]
    if axes != list(range(rank)):
        index = c.b.constant(np.array(axes, np.int64))
        zeros = c.b.constant(np.zeros(rank, np.int64))
        ends = [c.emit(graph.ScatterElements, zeros, index, e, axis=0) for e in ends]
    return c.emit(graph.Pad, c[0], value, mode=mode, low=ends[0], high=ends[1])


@onnx_op("Gather")
def gather(c: NodeContext):
    return c.emit(graph.Gather, c[0], c[1], axis=c.axis(0))


@onnx_op("GatherElements")
def gather_elements(c: NodeContext):
    return c.emit(graph.GatherElements, c[0], c[1], axis=c.axis(0))


@onnx_op("GatherND")
def gather_nd(c: NodeContext):
    return c.emit(graph.GatherND, c[0], c[1], batch_dims=c.attr("batch_dims", 0))


@onnx_op("Scatter", "ScatterElements")
def scatter_elements(c: NodeContext):
    return c.emit(
        graph.ScatterElements,
        c[0],
        c[1],
        c[2],
        axis=c.axis(0),
        reduction=c.attr("reduction", "none"),
    )


@onnx_op("ScatterND")
def scatter_nd(c: NodeContext):
    return c.emit(graph.ScatterND, c[0], c[1], c[2], reduction=c.attr("reduction", "none"))


@onnx_op("Compress")
def compress(c: NodeContext):
    x, axis = c[0], 0
    if c.has_attr("axis"):
        axis = c.axis()
    else:
        x = c.b.reshape(x, [-1])
    keep = c.b.squeeze(c.emit(graph.NonZero, c[1]), [0])
    return c.emit(graph.Gather, x, keep, axis=axis)


@onnx_op("OneHot")
def one_hot(c: NodeContext):
    indices, values = c[0], c[2]
    rank = c.rank() + 1
    axis = c.normalize(c.attr("axis", -1), rank)
    depth = c.b.cast(c.b.reshape(c[1], []), i64)
    index = c.b.cast(indices, i64)
    wrapped = c.emit(graph.Add, index, depth)
    negative = c.emit(graph.Lt, index, c.b.constant(0, i64))
    index = c.b.unsqueeze(c.emit(graph.Select, negative, wrapped, index), [axis])
    line = c.emit(graph.Iota, shape=c.b.structural(c.b.reshape(depth, [1])), dtype=i64)
    line = c.b.unsqueeze(line, list(range(1, rank - axis)))
    hit = c.emit(graph.Eq, line, index)
    off, on = (c.b.squeeze(c.b.slice(values, 0, i, i + 1), [0]) for i in (0, 1))
    return c.emit(graph.Select, hit, on, off)


@onnx_op("EyeLike")
def eye_like(c: NodeContext):
    rows = c.emit(graph.Iota, shape=c.b.structural(c.b.shape(c[0])), axis=0, dtype=i64)
    columns = c.emit(graph.Iota, shape=c.b.structural(c.b.shape(c[0])), axis=1, dtype=i64)
    rows = c.emit(graph.Add, rows, c.b.constant(c.attr("k", 0), i64))
    dtype = c.dtype_attr("dtype", c.dtype())
    return c.b.cast(c.emit(graph.Eq, rows, columns), dtype)


@onnx_op("Trilu")
def trilu(c: NodeContext):
    sizes = c.b.slice(c.b.shape(c[0]), 0, c.rank() - 2, c.rank())
    shape = c.b.structural(sizes)
    row = c.emit(graph.Iota, shape=shape, axis=0, dtype=i64)
    column = c.emit(graph.Iota, shape=shape, axis=1, dtype=i64)
    if c.has(1):
        row = c.emit(graph.Add, row, c.b.reshape(c[1], []))
    keep = c.emit(graph.Ge if c.attr("upper", 1) else graph.Le, column, row)
    return c.emit(graph.Select, keep, c[0], c.scalar(0))


@onnx_op("Range")
def range_(c: NodeContext):
    start, limit, delta = (c.b.reshape(c[i], []) for i in range(3))
    dtype = element_type(start)
    span = c.emit(graph.Sub, limit, start)
    if dtype.is_float:
        count = c.b.cast(c.emit(graph.Ceil, c.emit(graph.Div, span, delta)), i64)
    else:
        span, step = c.b.cast(span, i64), c.b.cast(delta, i64)
        known = [c.b.values.get(v) for v in (span, step)]
        if known[1] == (1,):
            count = span
        else:
            # ceil(span / step) = -floor(-span / step), with Python's floor
            down = c.emit(graph.Neg, span)
            floor = c.emit(graph.Sub, down, c.emit(graph.Mod, down, step))
            count = c.emit(graph.Neg, c.emit(graph.Div, floor, step))
    count = c.emit(graph.Max, count, c.b.constant(0, i64))
    line = c.emit(graph.Iota, shape=c.b.structural(c.b.reshape(count, [1])), dtype=dtype)
    return c.emit(graph.Add, start, c.emit(graph.Mul, line, delta))


@onnx_op("DepthToSpace")
def depth_to_space(c: NodeContext):
    s = c.attr("blocksize")
    n, channels, h, w = c.shape()
    depth = _exact(channels, s * s)
    if c.attr("mode", "DCR") == "DCR":
        x = c.b.reshape(c[0], [n, s, s, depth, h, w])
        x = c.b.transpose(x, [0, 3, 4, 1, 5, 2])
    else:
        x = c.b.reshape(c[0], [n, depth, s, s, h, w])
        x = c.b.transpose(x, [0, 1, 4, 2, 5, 3])
    return c.b.reshape(x, [n, depth, h * s, w * s])  # type: ignore[operator]


def _exact(size: Dim | None, by: int) -> int:
    if not isinstance(size, int) or size % by:
        raise ImportError_(f"{size} must be a known multiple of {by}")
    return size // by


@onnx_op("SpaceToDepth")
def space_to_depth(c: NodeContext):
    s = c.attr("blocksize")
    n, channels, h, w = c.shape()
    rows, columns = _exact(h, s), _exact(w, s)
    x = c.b.reshape(c[0], [n, channels, rows, s, columns, s])
    depth_first = c.attr("mode", "DCR") == "DCR"
    x = c.b.transpose(x, [0, 3, 5, 1, 2, 4] if depth_first else [0, 1, 3, 5, 2, 4])
    return c.b.reshape(x, [n, _times(channels, s * s), rows, columns])


def _times(size: Dim | None, by: int) -> Dim:
    if size is None:
        raise ImportError_("the number of channels must be known")
    return size * by


@onnx_op("ReverseSequence")
def reverse_sequence(c: NodeContext):
    batch, time = c.attr("batch_axis", 1), c.attr("time_axis", 0)
    rank = c.rank()
    steps = c.emit(
        graph.Iota, shape=c.b.structural(c.b.reshape(c.b.size(c[0], time), [1])), dtype=i64
    )
    steps = c.b.unsqueeze(steps, [1 - time])
    lengths = c.b.unsqueeze(c.b.cast(c[1], i64), [1 - batch])
    mirrored = c.emit(graph.Sub, c.emit(graph.Sub, lengths, c.b.constant(1, i64)), steps)
    index = c.emit(graph.Select, c.emit(graph.Lt, steps, lengths), mirrored, steps)
    index = c.b.unsqueeze(index, list(range(2, rank)))
    index = c.b.expand(index, c.b.shape(c[0]))
    return c.emit(graph.GatherElements, c[0], index, axis=time)


@onnx_op("TensorScatter")
def tensor_scatter(c: NodeContext):
    past, update = c[0], c[1]
    rank = c.rank()
    axis = c.axis(-2)
    limit = c.b.size(past, axis)
    new = c.b.size(update, axis)
    steps = c.emit(graph.Iota, shape=c.b.structural(c.b.reshape(new, [1])), dtype=i64)
    steps = c.b.unsqueeze(steps, [0])
    if c.has(2):
        steps = c.emit(graph.Add, steps, c.b.unsqueeze(c.b.cast(c[2], i64), [1]))
    if c.attr("mode", "linear") == "circular":
        steps = c.emit(graph.Mod, steps, limit)
    index = c.b.unsqueeze(steps, [i for i in range(rank) if i not in (0, axis)])
    index = c.b.expand(index, c.b.shape(update))
    return c.emit(graph.ScatterElements, past, index, update, axis=axis)


@onnx_op("Dropout")
def dropout(c: NodeContext):
    training = c.array(2)
    if c.version >= 12 and c.has(2) and (training is None or bool(training)):
        ratio = c.array(1) if c.has(1) else np.float32(0.5)
        if training is None or ratio is None or float(np.ravel(ratio)[0]) != 0.0:
            return _random_dropout(c)
    mask = c.b.expand(c.b.constant(True, i1), c.b.shape(c[0])) if c.wants(1) else None
    if mask is not None and c.version < 10:
        mask = c.b.cast(mask, c.dtype())
    return [c[0], mask]


def _random_dropout(c: NodeContext):
    from aicc.ir.dtypes import f32

    ratio = c.b.cast(c.b.reshape(c[1], []), f32) if c.has(1) else c.b.constant(0.5, f32)
    shape = c.b.structural(c.b.shape(c[0]))
    draw = c.emit(graph.RngUniform, shape=shape, dtype=f32, seed=c.attr("seed", None))
    keep = c.emit(graph.Ge, draw, ratio)
    training = c.b.reshape(c[2], [])
    keep = c.emit(graph.Or, keep, c.emit(graph.Not, training))
    share = c.emit(graph.Sub, c.b.constant(1.0, f32), ratio)
    share = c.emit(graph.Select, training, share, c.b.constant(1.0, f32))
    scaled = c.emit(graph.Div, c[0], c.b.cast(share, c.dtype()))
    return [c.emit(graph.Select, keep, scaled, c.scalar(0)), keep]


def _random(cls, like: bool):
    def importer(c: NodeContext):
        seed = c.attr("seed", None)
        dtype = c.dtype_attr("dtype", c.dtype() if like else 1)
        shape = c.b.structural(c.b.shape(c[0])) if like else c.attr("shape")
        low, high = ("low", "high") if cls is graph.RngUniform else ("mean", "scale")
        first, second = c.attr(low, 0.0), c.attr(high, 1.0)
        names = ("low", "high") if cls is graph.RngUniform else ("mean", "std")
        return c.emit(
            cls,
            shape=shape,
            dtype=dtype,
            seed=None if seed is None else int(abs(seed) * 1e6),
            **dict(zip(names, (first, second), strict=True)),
        )

    return importer


onnx_op("RandomUniform")(_random(graph.RngUniform, False))
onnx_op("RandomUniformLike")(_random(graph.RngUniform, True))
onnx_op("RandomNormal")(_random(graph.RngNormal, False))
onnx_op("RandomNormalLike")(_random(graph.RngNormal, True))

__all__ = ["DenseAttr", "rank_of"]
