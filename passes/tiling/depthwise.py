"""Convolutions of one channel each: a few loads for each element of the result, and no dot.

As a product such a convolution would have one row: its matrix would be mostly padding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from xdsl.ir import Block

from aicc.ir import graph
from aicc.ir.graph import Fused
from aicc.ir.symbols import Dim, floordiv, sym
from aicc.ir.types import Shape, element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.pooling import Window
from aicc.passes.tiling.rows import ROW, RowKernel
from aicc.passes.tiling.spaces import collapsed, index_expressions, known_shape, output_of

MOST_TAPS = 64
"""Larger windows are products: their sums would be a kernel of very many lines."""


def is_depthwise(conv: graph.Conv) -> bool:
    """Whether each channel of the result comes from one of the input, through a small window."""
    _, summed, *window = weight_shape(conv)
    known = all(isinstance(d, int) for d in window)
    few = known and math.prod(window) <= MOST_TAPS  # type: ignore[arg-type]
    dtype, out = element_type(conv.input), element_type(conv.result)
    summable = out.is_float or (dtype.name, out.name) == ("i8", "i32")
    return summed == 1 and conv.groups > 1 and few and summable


def weight_shape(conv: graph.Conv) -> Shape:
    """The weight's dims in the order [M, C, *K]."""
    shape = shape_of(conv.weight)
    return (shape[-1], shape[-2], *shape[:-2]) if conv.layout == "nhwc" else shape


def lower_depthwise(op: Fused, conv: graph.Conv) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is built around `conv`, and its parameters."""
    dtype = element_type(conv.result)
    shape, image = (known_shape(shape_of(v)) for v in (conv.result, conv.input))
    channels, _, *taps = known_shape(weight_shape(conv))
    last = conv.layout == "nhwc"
    names = [n.axis_name(f"i{i}") for i in range(len(shape))]
    extents = dict(zip(names, shape, strict=True))
    tracer = n.Tracer(extents)
    at = [sym(a) for a in names]
    channel, places = (at[-1], at[1:-1]) if last else (at[1], at[2:])
    source = channel if channels == conv.groups else floordiv(channel, channels // conv.groups)  # type: ignore
    kind = "f" if dtype.is_float else "i"
    window = Window(conv, places, image[1:-1] if last else image[2:])

    def product(tap: Sequence[Dim]) -> n.Node:
        places, inside = window.under(tap)
        x = (at[0], *places, source) if last else (at[0], source, *places)
        w = (*tap, 0, channel) if last else (channel, 0, *tap)
        x, w = tracer.value(conv.input, x, tuple(inside)), tracer.value(conv.weight, w)
        x = tracer.chosen(inside, x, 0)
        if not dtype.is_float:
            x, w = (n.Convert(dtype, node.axes, node) for node in (x, w))
        return n.Combine(dtype, x.axes | w.axes, f"arith.mul{kind}", x, w)

    each = [product(tap) for tap in itertools.product(*(range(int(d)) for d in taps))]  # type: ignore
    result = n.combined(dtype, f"arith.add{kind}", each)
    if conv.bias is not None:
        bias = tracer.value(conv.bias, (channel,))
        result = n.Combine(dtype, result.axes, f"arith.add{kind}", result, bias)
    tracer.given[conv.result] = result
    outputs = [output_of(tracer, v, shape, at, names) for v in op.yielded().inputs]
    exprs = index_expressions(tracer, *(o.node for o in outputs))
    kinds = dict.fromkeys(names, ROW)
    space = collapsed(extents, kinds, [*exprs, *(o.offset for o in outputs)])
    return RowKernel(op, tracer, space, outputs).build()
