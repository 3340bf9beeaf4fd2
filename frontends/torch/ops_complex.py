"""Complex numbers and Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import DType, dtype_of
from aicc.ir.types import element_type, numel, rank_of, shape_of


def _part(x: SSAValue) -> DType:
    """The float type of a complex tensor's parts."""
    return dtype_of(f"f{element_type(x).bits // 2}")


def _is_complex(x: SSAValue) -> bool:
    return element_type(x).kind == "complex"


@aten("view_as_real", "view_as_real_copy")
def view_as_real(c: CallContext, x: SSAValue):
    return c.emit(graph.Bitcast, x, to=_part(x))


@aten("view_as_complex", "view_as_complex_copy")
def view_as_complex(c: CallContext, x: SSAValue):
    return c.emit(graph.Bitcast, x, to=dtype_of(f"complex<f{element_type(x).bits}>"))


def _joined(c: CallContext, real: SSAValue, imaginary: SSAValue) -> SSAValue:
    last = rank_of(real)
    parts = [c.b.unsqueeze(p, [last]) for p in (real, imaginary)]
    return view_as_complex(c, c.emit(graph.Concat, parts, axis=last))


def complex_parts(c: CallContext, x: SSAValue) -> tuple[SSAValue, SSAValue]:
    """The real and the imaginary part."""
    both, last = view_as_real(c, x), rank_of(x)
    return tuple(c.b.squeeze(c.b.slice(both, last, i, i + 1), [last]) for i in (0, 1))  # type: ignore


@aten("complex")
def complex_(c: CallContext, real: SSAValue, imaginary: SSAValue):
    dims = c.dims()
    return _joined(c, c.b.expand(real, dims), c.b.expand(imaginary, dims))


@aten("polar")
def polar(c: CallContext, size: SSAValue, angle: SSAValue):
    real = c.emit(graph.Mul, size, c.emit(graph.Cos, angle))
    return _joined(c, real, c.emit(graph.Mul, size, c.emit(graph.Sin, angle)))


@aten("_conj", "_conj_physical", "conj_physical", "resolve_conj", "resolve_neg")
def conj(c: CallContext, x: SSAValue):
    if not _is_complex(x) or "resolve" in str(c.node.target):
        return x
    real, imaginary = complex_parts(c, x)
    return _joined(c, real, c.emit(graph.Neg, imaginary))


@aten("angle")
def angle(c: CallContext, x: SSAValue):
    if _is_complex(x):
        real, imaginary = complex_parts(c, x)
        return c.emit(graph.Atan2, imaginary, real)
    x = c.tensor(x, c.dtype())
    turned = c.emit(graph.Lt, x, c.scalar(0, x))
    out = c.emit(graph.Select, turned, c.scalar(math.pi, x), c.scalar(0, x))
    return c.emit(graph.Select, c.emit(graph.IsNaN, x), x, out)


def _normalized(c: CallContext, x: SSAValue, mode: int, count: int, inverse: int) -> SSAValue:
    """Scale by 1 (mode 0), 1/√n (1) or 1/n (2); `inverse` elements have been divided out before."""
    scale = inverse / {0: 1, 1: math.sqrt(count), 2: count}[mode]
    return x if scale == 1 else c.emit(graph.Mul, x, c.scalar(scale, x))


@aten("_fft_c2c")
def fft_c2c(c: CallContext, x: SSAValue, dim: Sequence[int], normalization: int, forward: bool):
    axes = [d % rank_of(x) for d in dim]
    sizes = [shape_of(x)[a] for a in axes]
    count = numel(sizes)
    if not isinstance(count, int):
        return NotImplemented
    pairs = view_as_real(c, x)
    for axis, n in zip(axes, sizes, strict=True):
        pairs = c.emit(graph.DFT, pairs, axis=axis, inverse=not forward, length=[n])
    scaled = _normalized(c, pairs, normalization, count, 1 if forward else count)
    return view_as_complex(c, scaled)


@aten("_fft_r2c")
def fft_r2c(c: CallContext, x: SSAValue, dim: Sequence[int], normalization: int, onesided: bool):
    axes = [d % rank_of(x) for d in dim]
    sizes = [shape_of(x)[a] for a in axes]
    count = numel(sizes)
    if not isinstance(count, int):
        return NotImplemented
    pairs = c.b.unsqueeze(x, [rank_of(x)])
    pairs = c.emit(graph.DFT, pairs, axis=axes[-1], onesided=onesided, length=[sizes[-1]])
    for axis, n in zip(axes[:-1], sizes[:-1], strict=True):
        pairs = c.emit(graph.DFT, pairs, axis=axis, length=[n])
    return view_as_complex(c, _normalized(c, pairs, normalization, count, 1))


@aten("_fft_c2r")
def fft_c2r(
    c: CallContext, x: SSAValue, dim: Sequence[int], normalization: int, last_dim_size: Any
):
    axes = [d % rank_of(x) for d in dim]
    sizes = [*(shape_of(x)[a] for a in axes[:-1]), last_dim_size]
    count = numel(sizes)
    if not isinstance(count, int):
        return NotImplemented
    pairs = view_as_real(c, x)
    for axis, n in zip(axes[:-1], sizes[:-1], strict=True):
        pairs = c.emit(graph.DFT, pairs, axis=axis, inverse=True, length=[n])
    pairs = c.emit(
        graph.DFT, pairs, axis=axes[-1], inverse=True, onesided=True, length=[last_dim_size]
    )
    real = c.b.squeeze(pairs, [rank_of(x)])
    return _normalized(c, real, normalization, count, count)
