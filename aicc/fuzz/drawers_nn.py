"""Drawers of contractions, windows, norms, resampling and quantization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from aicc.fuzz.drawers_elementwise import arithmetic
from aicc.fuzz.maker import Maker
from aicc.ir import graph
from aicc.ir.dtypes import DType, dtype_of, f32, i1, i8, i32, i64, ui8
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, rank_of, shape_of


def real(d: DType) -> bool:
    """Floats that kernels compute with."""
    return d.is_float and arithmetic(d)


def matmul(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(arithmetic, 2, 4)
    shape, dtype = list(shape_of(x)), element_type(x)
    columns = m.shape(1)[0]
    lead = shape[:-2][m.choose((0, 0, len(shape))) :]
    lead = [1 if m.chance(0.2) else d for d in lead]
    y = m.like([*lead, shape[-1], columns], dtype)
    if dtype in (i8, ui8) and m.chance(0.7):
        return m.op(cls, x, y, out_dtype=i32)
    return m.op(cls, x, y)


def _image(m: Maker, rule=real, rank: tuple[int, int] = (3, 4), divisor: int = 1) -> SSAValue:
    """x[N, C, *S]: one of the pool, or a new one."""
    fits = [v for v in m.pool if rule(element_type(v)) and rank[0] <= rank_of(v) <= rank[1]]
    fits = [v for v in fits if isinstance(c := shape_of(v)[1], int) and c and c % divisor == 0]
    if fits and m.chance(0.6):
        return m.choose(fits)
    n = m.integer(rank[0], rank[1]) - 2
    batch = m.shape(1)[0] if m.chance(0.3) else m.integer(1, 2)
    spatial: list[Dim] = [m.choose((1, 3, 4, 5, 7, 8)) for _ in range(n)]
    dtype = m.choose((f32, f32, f32, dtype_of("f16"), dtype_of("f64")))
    return m.fresh([batch, divisor * m.choose((1, 2, 3)), *spatial], dtype)


def _window(m: Maker, x: SSAValue, kernel: list[int]) -> dict[str, list[int]]:
    n = len(kernel)
    dilations = [m.choose((1, 1, 1, 2)) for _ in range(n)]
    pads = [m.integer(0, (k - 1) * d // 2 + 0) for k, d in zip(kernel, dilations, strict=True)] * 2
    if m.chance(0.3):
        pads = [m.integer(0, 1) if k > 1 else 0 for k in kernel * 2]
    sizes = m.array(x).shape[2:]
    for i, size in enumerate(sizes):
        m.need(size + pads[i] + pads[n + i] >= (kernel[i] - 1) * dilations[i] + 1)
    strides = [m.choose((1, 1, 2, 3)) for _ in range(n)]
    return {"strides": strides, "pads": pads, "dilations": dilations}


def _kernel(m: Maker, x: SSAValue) -> list[int]:
    return [m.choose((1, 2, 3, 3)) for _ in range(rank_of(x) - 2)]


def _weight(m: Maker, shape: Sequence[Dim | None], dtype: DType) -> SSAValue:
    """A finite weight: whether padding times infinity counts differs among implementations."""
    weight = m.like(shape, dtype)
    m.need(bool(np.isfinite(m.array(weight).astype(np.float64)).all()))
    return weight


def conv(m: Maker, cls: type[GraphOp]) -> object:
    groups = m.choose((1, 1, 1, 2))
    x = _image(m, divisor=groups)
    channels, dtype = shape_of(x)[1], element_type(x)
    assert isinstance(channels, int)
    if m.chance(0.2):
        groups = channels
    kernel = _kernel(m, x)
    out = groups * m.choose((1, 2, 3, 4))
    weight = _weight(m, [out, channels // groups, *kernel], dtype)
    bias = m.like([out], dtype) if m.chance(0.5) else None
    return m.op(cls, x, weight, bias, groups=groups, **_window(m, x, kernel))


def conv_transpose(m: Maker, cls: type[GraphOp]) -> object:
    groups = m.choose((1, 1, 2))
    x = _image(m, divisor=groups)
    channels, dtype = shape_of(x)[1], element_type(x)
    assert isinstance(channels, int)
    kernel = _kernel(m, x)
    n = len(kernel)
    out = m.choose((1, 2, 3))
    weight = _weight(m, [channels, out, *kernel], dtype)
    bias = m.like([out * groups], dtype) if m.chance(0.5) else None
    strides = [m.choose((1, 2, 3)) for _ in range(n)]
    return m.op(
        cls,
        x,
        weight,
        bias,
        groups=groups,
        strides=strides,
        dilations=[m.choose((1, 1, 2)) for _ in range(n)],
        pads=[m.integer(0, (k - 1) // 2) for k in kernel] * 2,
        output_padding=[m.integer(0, s - 1) for s in strides],
    )


def conv_weight_grad(m: Maker, cls: type[GraphOp]) -> object:
    groups = m.choose((1, 1, 2))
    x = _image(m, divisor=groups)
    kernel = _kernel(m, x)
    window = _window(m, x, kernel)
    channels, dtype = shape_of(x)[1], element_type(x)
    assert isinstance(channels, int)
    weight = _weight(m, [groups * m.choose((1, 2)), channels // groups, *kernel], dtype)
    y = m.op(graph.Conv, x, weight, None, groups=groups, **window)
    grad = m.like(shape_of(y), dtype)
    return m.op(cls, x, grad, kernel_shape=kernel, groups=groups, **window)


def deform_conv(m: Maker, cls: type[GraphOp]) -> object:
    x = _image(m, lambda d: d == f32, (4, 4))
    m.need(element_type(x) == f32)
    kernel = _kernel(m, x)
    window = _window(m, x, kernel)
    weight = _weight(m, [m.choose((1, 2)), shape_of(x)[1], *kernel], f32)
    y = m.op(graph.Conv, x, weight, None, **window)
    taps, out = kernel[0] * kernel[1], shape_of(y)[2:]
    offset = m.like([shape_of(x)[0], taps * 2, *out], f32)
    m.need(bool(np.isfinite(m.array(offset)).all()))
    mask = m.like([shape_of(x)[0], taps, *out], f32) if m.chance(0.5) else None
    return m.op(cls, x, weight, offset, None, mask, **window)


def det(m: Maker, cls: type[GraphOp]) -> object:
    n = m.integer(1, 4)
    x = m.like([*m.shape(m.integer(0, 1)), n, n], m.choose((f32, dtype_of("f64"))))
    m.need(bool(np.isfinite(m.array(x)).all()))
    return m.op(cls, x)


def pool(m: Maker, cls: type[GraphOp]) -> object:
    x = _image(m)
    m.need(not np.isnan(m.array(x).astype(np.float64)).any())
    kernel = _kernel(m, x)
    window = _window(m, x, kernel)
    for i, k in enumerate(kernel):  # every window has an element of the image
        m.need(max(window["pads"][i], window["pads"][len(kernel) + i]) < k)
        m.need(window["dilations"][i] == 1 or window["pads"][i] == 0)
    params = {"ceil_mode": m.chance(0.2), "kernel_shape": kernel, **window}
    if cls is graph.AvgPool:
        params["count_include_pad"] = m.chance(0.4)
    return m.op(cls, x, **params)


def avg_pool_grad(m: Maker, cls: type[GraphOp]) -> object:
    x = _image(m)
    kernel = _kernel(m, x)
    window = _window(m, x, kernel)
    window["dilations"] = [1] * len(kernel)
    y = m.op(graph.AvgPool, x, kernel_shape=kernel, count_include_pad=True, **window)
    spatial = m.array(x).shape[2:]
    m.need(m.b.is_bound(shape_of(y)))
    grad = m.like(shape_of(y), element_type(x))
    params = {"kernel_shape": kernel, "count_include_pad": True, **window}
    return m.op(cls, grad, input_spatial=list(spatial), **params)


def max_pool_grad(m: Maker, cls: type[GraphOp]) -> object:
    x = _image(m)
    m.need(not np.isnan(m.array(x).astype(np.float64)).any())
    kernel = _kernel(m, x)
    window = _window(m, x, kernel)
    for i, k in enumerate(kernel):
        m.need(max(window["pads"][i], window["pads"][len(kernel) + i]) < k)
    window["dilations"] = [1] * len(kernel)
    y = m.op(graph.MaxPool, x, kernel_shape=kernel, **window)
    indices = y.owner.results[1]  # type: ignore[union-attr]
    grad = m.like(shape_of(y), element_type(x))
    windows = {"kernel_shape": kernel, **window} if m.chance(0.7) else {}
    windows.pop("ceil_mode", None)
    return m.op(cls, grad, indices, input_spatial=list(m.array(x).shape[2:]), **windows)


def softmax(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(real, 1)
    axis = m.axis(x)
    m.need(m.array(x).shape[axis] > 0)
    return m.op(cls, x, axis=axis)


def layer_norm(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(real, 1)
    axis = m.axis(x)
    shape, dtype = list(shape_of(x)), element_type(x)
    m.need(all(m.array(x).shape[axis:]))
    scale = m.like(shape[axis:], dtype) if m.chance(0.7) else None
    epsilon = m.choose((1e-5, 1e-3, 0.1))
    if cls is graph.RMSNorm:
        return m.op(cls, x, scale, axis=axis, epsilon=epsilon)
    bias = m.like(shape[axis:], dtype) if m.chance(0.5) else None
    return m.op(cls, x, scale, bias, axis=axis, epsilon=epsilon)


def batch_norm(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(real, 2)
    channels, dtype = shape_of(x)[1], element_type(x)
    scale, bias, mean = (m.like([channels], dtype) for _ in range(3))
    size = m.array(x).shape[1]

    def variances() -> np.ndarray:
        return np.asarray(m.rng.random(size) + 0.1).astype(dtype.np)

    variance = m.like([channels], dtype, values=variances)
    return m.op(cls, x, scale, bias, mean, variance, epsilon=m.choose((1e-5, 1e-3)))


def group_norm(m: Maker, cls: type[GraphOp]) -> object:
    groups = m.choose((1, 2, 3))
    x = _image(m, divisor=groups)
    channels, dtype = shape_of(x)[1], element_type(x)
    m.need(m.array(x).size > 0)
    scale = m.like([channels], dtype) if m.chance(0.7) else None
    bias = m.like([channels], dtype) if m.chance(0.7) else None
    return m.op(cls, x, scale, bias, groups=groups, epsilon=m.choose((1e-5, 0.1)))


def attention(m: Maker, cls: type[GraphOp]) -> object:
    dtype = m.choose((f32, f32, dtype_of("f16"), dtype_of("bf16")))
    batch, kv = m.shape(1)[0], m.integer(1, 2)
    heads = kv * m.integer(1, 2)
    (s, t), d, e = m.shape(2), m.choose((1, 4, 8, 16)), m.choose((1, 4, 8))
    query = m.like([batch, heads, s, d], dtype)
    key, value = m.like([batch, kv, t, d], dtype), m.like([batch, kv, t, e], dtype)
    m.need(all(m.array(v).size > 0 for v in (query, key, value)))
    tame = [np.abs(m.array(v).astype(np.float64)) < 1e4 for v in (query, key, value)]
    m.need(all(t.all() for t in tame))  # or scores overflow, or not, by when they are scaled
    mask = None
    if m.chance(0.4):
        mask = m.like([m.choose((1, batch)), 1, s, t], m.choose((i1, dtype)))
        m.need(not np.isnan(m.array(mask).astype(np.float64)).any())
    causal = m.choose(("none", "none", "upper_left", "lower_right"))
    return m.op(
        cls,
        query,
        key,
        value,
        mask,
        scale=m.choose((1.0, 0.5, 0.25)),
        causal=causal,
        window=m.choose((0, 0, 1, 3)) if causal != "none" else 0,
        softcap=m.choose((0.0, 0.0, 3.0)),
    )


def attention_backward(m: Maker, cls: type[GraphOp]) -> object:
    dtype = m.choose((f32, f32, dtype_of("f16")))
    (batch, heads), (s, t) = m.shape(2), m.shape(2)
    d, e = m.choose((1, 4, 8)), m.choose((1, 4, 8))
    q, k, v = (m.like([batch, heads, *r], dtype) for r in ([s, d], [t, d], [t, e]))
    grad = m.like([batch, heads, s, e], dtype)
    m.need(all(m.array(x).size > 0 for x in (q, k, v, grad)))
    m.need(all(bool((np.abs(m.array(x).astype("f8")) < 4).all()) for x in (q, k, v, grad)))
    lse, delta = (m.like([batch, heads, s], f32) for _ in range(2))
    m.need(all(bool((np.abs(m.array(x)) < 9).all()) for x in (lse, delta)))
    causal = m.choose(("none", "upper_left", "lower_right"))
    window = m.choose((0, 2)) if causal != "none" else 0
    scale = m.choose((0.5, 0.25))
    return m.op(cls, q, k, v, grad, lse, delta, scale=scale, causal=causal, window=window)


def resize(m: Maker, cls: type[GraphOp]) -> object:
    x = _image(m, lambda d: d == f32)
    m.need(element_type(x) == f32 and bool(np.isfinite(m.array(x)).all()))
    axes = list(range(2, rank_of(x)))
    mode = m.choose(("nearest", "linear", "cubic"))
    return m.op(
        cls,
        x,
        axes=axes,
        sizes=[m.choose((1, 2, 3, 5, 8)) for _ in axes],
        mode=mode,
        coordinate_transformation_mode=m.choose(
            ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        ),
        nearest_mode=m.choose(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
    )


def grid_sample(m: Maker, cls: type[GraphOp]) -> object:
    x = _image(m, lambda d: d == f32, (4, 4))
    m.need(element_type(x) == f32 and bool(np.isfinite(m.array(x)).all()))
    grid = m.like([shape_of(x)[0], m.integer(1, 4), m.integer(1, 4), 2], f32)
    m.need(bool(np.isfinite(m.array(grid)).all()))
    return m.op(
        cls,
        x,
        grid,
        mode=m.choose(("nearest", "linear", "cubic")),
        padding_mode=m.choose(("zeros", "border", "reflection")),
        align_corners=m.chance(0.5),
    )


def roi_align(m: Maker, cls: type[GraphOp]) -> object:
    x = _image(m, lambda d: d == f32, (4, 4))
    m.need(element_type(x) == f32 and m.array(x).shape[0] > 0)
    n = m.integer(1, 3)
    corners = m.rng.random((n, 2)) * 3
    boxes = np.concatenate([corners, corners + m.rng.random((n, 2)) * 4], 1).astype(np.float32)
    batch = m.rng.integers(0, m.array(x).shape[0], n)
    return m.op(
        cls,
        x,
        m.fresh([n, 4], f32, boxes),
        m.fresh([n], i64, batch),
        mode=m.choose(("avg", "max")),
        output_height=m.integer(1, 3),
        output_width=m.integer(1, 3),
        sampling_ratio=m.integer(0, 2),
    )


def non_max_suppression(m: Maker, cls: type[GraphOp]) -> object:
    n = m.integer(1, 6)
    corners = m.rng.random((1, n, 2)) * 3
    boxes = np.concatenate([corners, corners + m.rng.random((1, n, 2)) * 3], 2)
    scores = m.rng.permutation(n * 2).reshape(1, 2, n) / (2 * n)  # no two are equal
    return m.op(
        cls,
        m.fresh([1, n, 4], f32, boxes.astype(np.float32)),
        m.fresh([1, 2, n], f32, scores.astype(np.float32)),
        m.constant(m.integer(0, 4), i64),
        m.constant(m.choose((0.3, 0.5)), f32),
        m.constant(0.2, f32) if m.chance(0.5) else None,
    )


def dft(m: Maker, cls: type[GraphOp]) -> object:
    n = m.choose((1, 2, 3, 5, 8))
    onesided = m.chance(0.4)
    x = m.like([m.integer(1, 3), n, 1 if onesided else 2], m.choose((f32, dtype_of("f64"))))
    m.need(bool(np.isfinite(m.array(x)).all()))
    return m.op(cls, x, axis=1, length=[m.choose((n, n, n + 2))], onesided=onesided)


def _scaling(m: Maker, x: SSAValue, to: DType, storage: DType) -> tuple[list, dict]:
    """Scale and zero point of a kind (scalar, by channel, by block), and the parameters of it."""
    kind = m.integer(0, 2) if rank_of(x) >= 1 else 0
    axis, shape, params = 0, [], {}
    if kind == 1:
        axis = m.axis(x)
        shape, params = [shape_of(x)[axis]], {"axis": axis}
    elif kind == 2:
        axis = m.axis(x)
        size = shape_of(x)[axis]
        m.need(isinstance(size, int) and size > 0)
        blocks = [b for b in (1, 2, 4, 8) if size % b == 0]  # type: ignore[operator]
        block = m.choose(blocks)
        shape = list(shape_of(x))
        shape[axis] = size // block  # type: ignore[operator]
        params = {"axis": axis, "block_size": block}
    concrete = [d if isinstance(d, int) else m.array(x).shape[axis] for d in shape]
    m.need(None not in shape and (kind == 1 or all(isinstance(d, int) for d in shape)))
    scales = np.asarray(2.0 ** m.rng.integers(-4, 2, concrete) * m.choose((1.0, 1.25)))
    scale = m.fresh(shape, to, scales.astype(to.np))
    if not storage.is_integer or m.chance(0.4):
        return [scale], params
    low, high = storage.integer_range
    zeros = m.rng.integers(max(low, -8), min(high, 9) + 1, concrete)
    wide = np.asarray(zeros).astype(np.int8 if storage.bits < 8 else storage.np)
    return [scale, m.fresh(shape, storage, wide.astype(storage.np))], params


STORAGE = tuple(
    dtype_of(n) for n in ("i8", "i8", "ui8", "ui8", "i16", "ui16", "i4", "ui4", "f8E4M3FN")
)


def quantize(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: d == f32)
    m.need(bool(np.isfinite(m.array(x)).all()))
    storage = m.choose(STORAGE)
    operands, params = _scaling(m, x, f32, storage)
    return m.op(cls, x, *operands, dtype=storage, **params)


def dequantize(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: d in STORAGE)
    operands, params = _scaling(m, x, f32, element_type(x))
    return m.op(cls, x, *operands, dtype=f32, **params)
