"""Products, convolutions, pooling and normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.errors import ImportError_
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.dtypes import i32
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, numel, rank_of, shape_of


def matmul_of(c: NodeContext, a: SSAValue, b: SSAValue, **params) -> SSAValue:
    """NumPy's matmul, vectors included."""
    rank_a, rank_b = rank_of(a), rank_of(b)
    if rank_a == 1:
        a = c.b.unsqueeze(a, [0])
    if rank_b == 1:
        b = c.b.unsqueeze(b, [1])
    out = c.emit(graph.MatMul, a, b, **params)
    rank = rank_of(out)
    drop = ([rank - 2] if rank_a == 1 else []) + ([rank - 1] if rank_b == 1 else [])
    return c.b.squeeze(out, drop) if drop else out


@onnx_op("MatMul")
def matmul(c: NodeContext):
    return matmul_of(c, c[0], c[1])


@onnx_op("Gemm")
def gemm(c: NodeContext):
    a, b = c[0], c[1]
    a = c.b.transpose(a, [1, 0]) if c.attr("transA", 0) else a
    b = c.b.transpose(b, [1, 0]) if c.attr("transB", 0) else b
    out = c.emit(graph.MatMul, a, b)
    alpha, beta = c.attr("alpha", 1.0), c.attr("beta", 1.0)
    if alpha != 1.0:
        out = c.emit(graph.Mul, out, c.scalar(alpha))
    if c.has(2) and beta != 0:
        bias = c[2] if beta == 1.0 else c.emit(graph.Mul, c[2], c.scalar(beta))
        out = c.emit(graph.Add, out, bias)
    return out


@onnx_op("Einsum")
def einsum(c: NodeContext):
    return einsum_of(c, c.attr("equation"), c.tensors())


def einsum_of(c: NodeContext, equation: str, operands: list[SSAValue]) -> SSAValue:
    """Any einsum: one operand after another is folded in by a batched matrix product."""
    equation = equation.replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ImportError_(f"'{equation}' names {len(terms)} operands, got {len(operands)}")
    letters = [_letters(t, rank_of(x), equation) for t, x in zip(terms, operands, strict=True)]
    dots = sorted({s for ls in letters for s in ls if s.startswith(".")}, reverse=True)
    if arrow:
        output = _output_letters(right, dots)
    else:
        counts: dict[str, int] = {}
        for ls in letters:
            for s in ls:
                counts[s] = counts.get(s, 0) + 1
        output = dots + sorted(s for s, k in counts.items() if k == 1 and not s.startswith("."))
    values = [_diagonals(c, x, ls) for x, ls in zip(operands, letters, strict=True)]
    value, names = values[0]
    for i, (other, other_names) in enumerate(values[1:], 1):
        later = {s for _, ns in values[i + 1 :] for s in ns} | set(output)
        value, names = _contract(c, value, names, other, other_names, later)
    extra = [i for i, s in enumerate(names) if s not in output]
    if extra:
        value = c.emit(graph.ReduceSum, value, axes=extra)
        names = [s for s in names if s in output]
    return c.b.transpose(value, [names.index(s) for s in output])


def _letters(term: str, rank: int, equation: str) -> list[str]:
    if "..." not in term:
        found = list(term)
    else:
        head, _, tail = term.partition("...")
        n = rank - len(head) - len(tail)
        found = [*head, *(f".{k}" for k in range(n - 1, -1, -1)), *tail]
    if len(found) != rank:
        raise ImportError_(f"'{term}' of '{equation}' doesn't fit an operand of rank {rank}")
    return found


def _output_letters(term: str, dots: list[str]) -> list[str]:
    head, ellipsis, tail = term.partition("...")
    return [*head, *(dots if ellipsis else []), *tail]


def _diagonals(c: NodeContext, x: SSAValue, names: list[str]) -> tuple[SSAValue, list[str]]:
    """Take the diagonal of each letter that stands twice in one operand."""
    while len(set(names)) != len(names):
        first = next(i for i, s in enumerate(names) if names.count(s) > 1)
        second = names.index(names[first], first + 1)
        order = [i for i in range(len(names)) if i not in (first, second)] + [first, second]
        x = c.b.transpose(x, order)
        n = shape_of(x)[-1]
        if n is None:
            raise ImportError_("a repeated dim must have a known size")
        index = c.b.reshape(c.emit(graph.Iota, shape=[n], dtype="i64"), [n, 1])
        rank = rank_of(x)
        head = list(range(rank - 2))
        moved = c.b.transpose(x, [rank - 2, rank - 1, *head])
        pair = c.emit(graph.Concat, [index, index], axis=1)
        picked = c.emit(graph.GatherND, moved, pair)
        x = c.b.transpose(picked, [*range(1, rank - 1), 0])
        names = [names[i] for i in order][:-1]
    return x, names


def _contract(
    c: NodeContext,
    a: SSAValue,
    a_names: list[str],
    b: SSAValue,
    b_names: list[str],
    later: set[str],
) -> tuple[SSAValue, list[str]]:
    shared = [s for s in a_names if s in b_names]
    batch = [s for s in shared if s in later]
    summed = [s for s in shared if s not in later]
    a_only = [s for s in a_names if s not in shared]
    b_only = [s for s in b_names if s not in shared]
    sizes: dict[str, Dim | None] = {}
    for names, v in ((a_names, a), (b_names, b)):
        for s, d in zip(names, shape_of(v), strict=True):
            if sizes.get(s) in (None, 1):
                sizes[s] = d

    def arrange(v: SSAValue, names: list[str], groups: Sequence[list[str]]) -> SSAValue:
        v = c.b.transpose(v, [names.index(s) for g in groups for s in g])
        now = [s for g in groups for s in g]
        target = [sizes[s] for s in now]
        if any(s in shared and d == 1 != sizes[s] for s, d in zip(now, shape_of(v), strict=True)):
            v = c.b.expand(v, target)
        merged = [numel([sizes[s] for s in g]) for g in groups[-2:]]
        return c.b.reshape(v, [*(sizes[s] for s in groups[0]), *merged])

    left = arrange(a, a_names, (batch, a_only, summed))
    right = arrange(b, b_names, (batch, summed, b_only))
    out = c.emit(graph.MatMul, left, right)
    names = batch + a_only + b_only
    return c.b.reshape(out, [sizes[s] for s in names]), names


# ---------------------------------------------------------------------- windows


def auto_pads(
    c: NodeContext,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    spatial: Sequence[Dim | None],
) -> list[int]:
    """Pads from the attributes `pads` and `auto_pad`: low ends, then high ends."""
    mode = c.attr("auto_pad", "NOTSET")
    n = len(kernel)
    if mode in ("NOTSET", ""):
        return list(c.attr("pads", [0] * 2 * n))
    if mode == "VALID":
        return [0] * 2 * n
    low, high = [], []
    for k, s, d, size in zip(kernel, strides, dilations, spatial, strict=True):
        span = (k - 1) * d + 1
        if isinstance(size, int):
            total = max((-(-size // s) - 1) * s + span - size, 0)
        elif s == 1:
            total = span - 1
        else:
            raise ImportError_(f"auto_pad {mode} with stride {s} needs a known size, got {size}")
        less = total // 2
        low.append(less if mode == "SAME_UPPER" else total - less)
        high.append(total - less if mode == "SAME_UPPER" else less)
    return low + high


def window(c: NodeContext, kernel: Sequence[int], rank: int) -> dict[str, list[int]]:
    n = rank - 2
    strides = list(c.attr("strides", None) or [1] * n)
    dilations = list(c.attr("dilations", None) or [1] * n)
    pads = auto_pads(c, kernel, strides, dilations, c.shape()[2:])
    return {"strides": strides, "pads": pads, "dilations": dilations}


def kernel_of(c: NodeContext, weight: SSAValue) -> list[int]:
    kernel = shape_of(weight)[2:]
    if not all(isinstance(k, int) for k in kernel):
        raise ImportError_("the kernel's size must be known")
    return list(kernel)  # type: ignore[arg-type]


@onnx_op("Conv")
def conv(c: NodeContext):
    params = window(c, kernel_of(c, c[1]), c.rank())
    return c.emit(graph.Conv, c[0], c[1], c.optional(2), groups=c.attr("group", 1), **params)


@onnx_op("ConvInteger")
def conv_integer(c: NodeContext):
    params = window(c, kernel_of(c, c[1]), c.rank())
    x, w = integer_operand(c, c[0], c.optional(2)), integer_operand(c, c[1], c.optional(3), 0)
    return c.emit(graph.Conv, x, w, groups=c.attr("group", 1), out_dtype=i32, **params)


def integer_operand(
    c: NodeContext, x: SSAValue, zero_point: SSAValue | None, axis: int | None = None
) -> SSAValue:
    """An 8-bit operand as i32 with its zero point taken off."""
    wide = c.b.cast(x, i32)
    if zero_point is None:
        return wide
    zero = c.b.cast(zero_point, i32)
    if rank_of(zero) == 1 and shape_of(zero)[0] == 1:
        zero = c.b.reshape(zero, [])
    elif rank_of(zero) == 1 and axis is not None:
        zero = c.b.unsqueeze(zero, [i for i in range(rank_of(x)) if i != axis])
    return c.emit(graph.Sub, wide, zero)


@onnx_op("MatMulInteger")
def matmul_integer(c: NodeContext):
    a_axis = c.rank(0) - 2 if c.rank(0) >= 2 else None
    a = integer_operand(c, c[0], c.optional(2), a_axis)
    b = integer_operand(c, c[1], c.optional(3))
    return matmul_of(c, a, b, out_dtype=i32)


@onnx_op("ConvTranspose")
def conv_transpose(c: NodeContext):
    kernel = kernel_of(c, c[1])
    n = len(kernel)
    strides = list(c.attr("strides", None) or [1] * n)
    dilations = list(c.attr("dilations", None) or [1] * n)
    extra = list(c.attr("output_padding", None) or [0] * n)
    mode = c.attr("auto_pad", "NOTSET")
    wanted = c.attr("output_shape", None)
    pads = list(c.attr("pads", [0] * 2 * n))
    if wanted is not None or mode.startswith("SAME"):
        spatial = c.shape()[2:]
        pads = [0] * 2 * n
        for i in range(n):
            size = spatial[i]
            if not isinstance(size, int):
                raise ImportError_("output_shape and auto_pad need known sizes")
            out = wanted[-n:][i] if wanted is not None else size * strides[i]
            span = (kernel[i] - 1) * dilations[i] + 1
            total = strides[i] * (size - 1) + extra[i] + span - out
            if total < 0:
                extra[i] -= total
                total = 0
            half = total // 2
            low = half if mode == "SAME_UPPER" else total - half
            pads[i], pads[n + i] = low, total - low
    return c.emit(
        graph.ConvTranspose,
        c[0],
        c[1],
        c.optional(2),
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=c.attr("group", 1),
        output_padding=extra,
    )


@onnx_op("DeformConv")
def deform_conv(c: NodeContext):
    params = window(c, kernel_of(c, c[1]), c.rank())
    return c.emit(
        graph.DeformConv,
        c[0],
        c[1],
        c[2],
        c.optional(3),
        c.optional(4),
        groups=c.attr("group", 1),
        offset_groups=c.attr("offset_group", 1),
        **params,
    )


def _pool_params(c: NodeContext) -> dict:
    kernel = list(c.attr("kernel_shape"))
    ceil = bool(c.attr("ceil_mode", 0))
    return {"kernel_shape": kernel, "ceil_mode": ceil, **window(c, kernel, c.rank())}


@onnx_op("MaxPool")
def max_pool(c: NodeContext):
    params = _pool_params(c)
    values, indices = c.b.build(graph.MaxPool, c[0], **params).results
    if not c.wants(1):
        return values
    n, channels, *spatial = c.shape()
    plane = numel(spatial)
    if not isinstance(plane, int) or not isinstance(n, int) or not isinstance(channels, int):
        raise ImportError_("indices need known sizes")
    if c.attr("storage_order", 0):
        indices = _column_major(c, indices, spatial)
    base = np.arange(n * channels, dtype=np.int64) * plane
    base = base.reshape(n, channels, *[1] * len(spatial))
    return [values, c.emit(graph.Add, indices, c.b.constant(base))]


def _column_major(c: NodeContext, indices: SSAValue, spatial: Sequence) -> SSAValue:
    """Row-major flat indices into column-major ones."""
    total: SSAValue | None = None
    rest, stride = indices, math.prod(spatial)
    forward = 1
    parts = []
    for size in spatial:
        stride //= size
        step = c.b.constant(stride, "i64")
        parts.append(c.emit(graph.Div, rest, step))
        rest = c.emit(graph.Rem, rest, step)
    for part, size in zip(parts, spatial, strict=True):
        term = c.emit(graph.Mul, part, c.b.constant(forward, "i64"))
        total = term if total is None else c.emit(graph.Add, total, term)
        forward *= size
    assert total is not None
    return total


@onnx_op("AveragePool")
def average_pool(c: NodeContext):
    pad = bool(c.attr("count_include_pad", 0))
    return c.emit(graph.AvgPool, c[0], count_include_pad=pad, **_pool_params(c))


@onnx_op("LpPool")
def lp_pool(c: NodeContext):
    """(Σ |x|^p)^(1/p): a mean over the whole window times its size."""
    p = c.attr("p", 2)
    params = _pool_params(c)
    power = _power(c, c.emit(graph.Abs, c[0]), p)
    n = len(params["kernel_shape"])
    zeros = [0, 0]
    if any(params["pads"]):
        low = zeros + params["pads"][:n]
        high = zeros + params["pads"][n:]
        power = c.emit(graph.Pad, power, c.scalar(0), low=low, high=high)
        params["pads"] = [0] * 2 * n
    if params["ceil_mode"]:
        size = shape_of(power)[2:]
        span = [
            (k - 1) * d + 1
            for k, d in zip(params["kernel_shape"], params["dilations"], strict=True)
        ]
        high = [0, 0]
        for s, w, st in zip(size, span, params["strides"], strict=True):
            if not isinstance(s, int):
                raise ImportError_("ceil_mode needs known sizes")
            count = -(-(s - w) // st) + 1
            high.append(max((count - 1) * st + w - s, 0))
        power = c.emit(graph.Pad, power, c.scalar(0), low=[0] * (n + 2), high=high)
        params["ceil_mode"] = False
    mean = c.emit(graph.AvgPool, power, **params)
    total = c.emit(graph.Mul, mean, c.scalar(math.prod(params["kernel_shape"])))
    return _root(c, total, p)


def _power(c: NodeContext, x: SSAValue, p: int) -> SSAValue:
    if p == 1:
        return x
    if p == 2:
        return c.emit(graph.Mul, x, x)
    return c.emit(graph.Pow, x, c.scalar(p, x))


def _root(c: NodeContext, x: SSAValue, p: int) -> SSAValue:
    if p == 1:
        return x
    return c.emit(graph.Sqrt, x) if p == 2 else c.emit(graph.Pow, x, c.scalar(1 / p, x))


def _spatial(c: NodeContext) -> list[int]:
    return list(range(2, c.rank()))


@onnx_op("GlobalAveragePool")
def global_average_pool(c: NodeContext):
    return c.emit(graph.ReduceMean, c[0], axes=_spatial(c), keepdims=True)


@onnx_op("GlobalMaxPool")
def global_max_pool(c: NodeContext):
    return c.emit(graph.ReduceMax, c[0], axes=_spatial(c), keepdims=True)


@onnx_op("GlobalLpPool")
def global_lp_pool(c: NodeContext):
    p = c.attr("p", 2)
    total = c.emit(
        graph.ReduceSum, _power(c, c.emit(graph.Abs, c[0]), p), axes=_spatial(c), keepdims=True
    )
    return _root(c, total, p)


@onnx_op("MaxUnpool")
def max_unpool(c: NodeContext):
    n = c.rank() - 2
    kernel = c.attr("kernel_shape")
    strides = c.attr("strides", [1] * n)
    pads = c.attr("pads", [0] * 2 * n)
    natural = [
        (s - 1) * st + k - pads[i] - pads[n + i]  # type: ignore[operator]
        for i, (s, st, k) in enumerate(zip(c.shape()[2:], strides, kernel, strict=True))
    ]
    wanted = c.ints(2, "output_shape")[2:] if c.has(2) else natural
    plane = math.prod(natural)
    index = c.emit(graph.Rem, c[1], c.b.constant(plane, "i64"))
    if wanted != natural:
        # The indices count in the natural shape: rewrite them for the wanted one.
        rest, stride, total = index, plane, None
        for size, goal in zip(natural, wanted, strict=True):
            stride //= size
            step = c.b.constant(stride, "i64")
            part, rest = c.emit(graph.Div, rest, step), c.emit(graph.Rem, rest, step)
            scaled = (
                part
                if total is None
                else c.emit(graph.Add, c.emit(graph.Mul, total, c.b.constant(goal, "i64")), part)
            )
            total = scaled
        assert total is not None
        index = total
    return c.emit(graph.MaxPoolGrad, c[0], index, input_spatial=wanted)


# ---------------------------------------------------------------------- normalisation


def flattened(c: NodeContext, axis: int, body: Callable[[SSAValue], SSAValue]) -> SSAValue:
    """Run `body` on input 0 seen as a matrix split at `axis`, as opsets below 13 define it."""
    head, tail = numel(c.shape()[:axis]), numel(c.shape()[axis:])
    if head is None or tail is None:
        raise ImportError_("the input's dims must be known")
    out = body(c.b.reshape(c[0], [head, tail]))
    return c.b.reshape(out, c.shape())


def _softmax(cls):
    def old(c: NodeContext):
        return flattened(c, c.axis(1), lambda x: c.emit(cls, x, axis=1))

    def new(c: NodeContext):
        if c.dtype().name == "f16":
            # The schema's function body rounds to f16 at each step, and models are checked
            # against that.
            return NotImplemented
        return c.emit(cls, c[0], axis=c.axis(-1))

    return old, new


for _name, _cls in {"Softmax": graph.Softmax, "LogSoftmax": graph.LogSoftmax}.items():
    _old, _new = _softmax(_cls)
    onnx_op(_name, until=13)(_old)
    onnx_op(_name, since=13)(_new)


@onnx_op("BatchNormalization")
def batch_normalization(c: NodeContext):
    epsilon = c.attr("epsilon", 1e-5)
    if (c.version < 14 and c.version >= 7) or not c.attr("training_mode", 0):
        if c.version < 9 and c.version >= 7 and c.wants(1):
            raise ImportError_("training mode of opset 7 is not supported")
        return c.emit(graph.BatchNorm, *c.tensors()[:5], epsilon=epsilon)
    x, scale, bias, mean, variance = c.tensors()[:5]
    momentum = c.attr("momentum", 0.9)
    axes = [i for i in range(c.rank()) if i != 1]
    wide = element_type(mean)
    data = c.b.cast(x, wide)
    now_mean = c.emit(graph.ReduceMean, data, axes=axes)
    centered = c.emit(graph.Sub, data, c.b.unsqueeze(now_mean, list(range(1, c.rank() - 1))))
    now_variance = c.emit(graph.ReduceMean, c.emit(graph.Mul, centered, centered), axes=axes)
    out = c.emit(graph.BatchNorm, x, scale, bias, now_mean, now_variance, epsilon=epsilon)

    def blend(old: SSAValue, new: SSAValue) -> SSAValue:
        kept = c.emit(graph.Mul, old, c.scalar(momentum, old))
        return c.emit(graph.Add, kept, c.emit(graph.Mul, new, c.scalar(1 - momentum, old)))

    return [out, blend(mean, now_mean), blend(variance, now_variance)]


@onnx_op("InstanceNormalization")
def instance_normalization(c: NodeContext):
    channels = c.shape()[1]
    if not isinstance(channels, int):
        raise ImportError_("the number of channels must be known")
    return c.emit(
        graph.GroupNorm, c[0], c[1], c[2], groups=channels, epsilon=c.attr("epsilon", 1e-5)
    )


@onnx_op("GroupNormalization", since=21)
def group_normalization(c: NodeContext):
    return c.emit(
        graph.GroupNorm,
        c[0],
        c[1],
        c[2],
        groups=c.attr("num_groups"),
        epsilon=c.attr("epsilon", 1e-5),
    )


@onnx_op("GroupNormalization", until=21)
def group_normalization_18(c: NodeContext):
    groups = c.attr("num_groups")
    channels = c.shape()[1]
    if not isinstance(channels, int):
        raise ImportError_("the number of channels must be known")
    each = channels // groups

    def per_channel(v: SSAValue) -> SSAValue:
        return c.b.reshape(c.b.expand(c.b.unsqueeze(v, [1]), [groups, each]), [channels])

    return c.emit(
        graph.GroupNorm,
        c[0],
        per_channel(c[1]),
        per_channel(c[2]),
        groups=groups,
        epsilon=c.attr("epsilon", 1e-5),
    )


@onnx_op("LayerNormalization")
def layer_normalization(c: NodeContext):
    op = c.b.build(
        graph.LayerNorm,
        c[0],
        c[1],
        c.optional(2),
        axis=c.axis(-1),
        epsilon=c.attr("epsilon", 1e-5),
    )
    return op.results


@onnx_op("RMSNormalization")
def rms_normalization(c: NodeContext):
    return c.emit(graph.RMSNorm, c[0], c[1], axis=c.axis(-1), epsilon=c.attr("epsilon", 1e-5))


@onnx_op("LRN")
def lrn(c: NodeContext):
    """x / (bias + alpha/size · Σ x²)^beta over a window of channels."""
    size = c.attr("size")
    low, high = (size - 1) // 2, size - 1 - (size - 1) // 2
    square = c.emit(graph.Mul, c[0], c[0])
    rest = [0] * (c.rank() - 2)
    wide = c.emit(graph.Pad, square, c.scalar(0), low=[0, low, *rest], high=[0, high, *rest])
    channels = c.shape()[1]
    if channels is None:
        raise ImportError_("the number of channels isn't known")
    total = c.b.slice(wide, 1, 0, channels)
    for i in range(1, size):
        total = c.emit(graph.Add, total, c.b.slice(wide, 1, i, channels + i))
    mean = c.emit(graph.Div, total, c.scalar(size))
    base = c.emit(graph.Mul, mean, c.scalar(c.attr("alpha", 1e-4)))
    base = c.emit(graph.Add, base, c.scalar(c.attr("bias", 1.0)))
    return c.emit(graph.Div, c[0], c.emit(graph.Pow, base, c.scalar(c.attr("beta", 0.75))))


@onnx_op("Det")
def det(c: NodeContext):
    return c.emit(graph.Det, c[0])


@onnx_op("Col2Im")
def col2im(c: NodeContext):
    """Sum overlapping columns back into an image: a transposed convolution with unit taps."""
    image, block = c.ints(1, "image_shape"), c.ints(2, "block_shape")
    n = len(image)
    strides = list(c.attr("strides", [1] * n))
    pads = list(c.attr("pads", [0] * 2 * n))
    dilations = list(c.attr("dilations", [1] * n))
    batch, columns, _ = c.shape()
    taps = math.prod(block)
    if not isinstance(columns, int):
        raise ImportError_("the number of columns must be known")
    channels = columns // taps
    counts = [
        (image[i] + pads[i] + pads[n + i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        for i in range(n)
    ]
    x = c.b.reshape(c[0], [batch, columns, *counts])
    unit = np.tile(np.eye(taps).reshape(taps, 1, *block), (channels, 1, *[1] * n))
    weight = c.b.constant(unit, c.dtype())
    natural = [
        (counts[i] - 1) * strides[i] + (block[i] - 1) * dilations[i] + 1 - pads[i] - pads[n + i]
        for i in range(n)
    ]
    return c.emit(
        graph.ConvTranspose,
        x,
        weight,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=channels,
        output_padding=[i - m for i, m in zip(image, natural, strict=True)],
    )
