"""Attention. What the op set can't say in one op comes from the schema's function body."""

from __future__ import annotations

import math

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.dtypes import i1
from aicc.ir.types import element_type, shape_of


@onnx_op("Attention")
def attention(c: NodeContext):
    plain = (
        c.rank() == 4
        and c.attr("left_window_size", -1) < 0
        and c.attr("right_window_size", -1) < 0
        and not c.has(4)
        and not c.has(5)
        and not c.has(6)
        and not any(c.wants(i) for i in (1, 2, 3))
        and not c.attr("softmax_precision", 0)
        and c.dtype().name in ("f32", "f64")
    )
    mask = c.optional(3)
    if mask is not None and plain:
        # Only masks as long as the keys: shorter ones are padded by the function body.
        plain = shape_of(mask)[-1] == shape_of(c[1])[2] and len(shape_of(mask)) <= 4
        plain = plain and not (c.attr("softcap", 0.0) and element_type(mask) != i1)
        plain = plain and (element_type(mask) == i1 or element_type(mask) == c.dtype())
    depth = shape_of(c[0])[-1] if plain else None
    if not plain or not isinstance(depth, int):
        return NotImplemented
    return c.emit(
        graph.Attention,
        c[0],
        c[1],
        c[2],
        mask,
        scale=c.attr("scale", None) or 1 / math.sqrt(depth),
        causal="upper_left" if c.attr("is_causal", 0) else "none",
        softcap=c.attr("softcap", 0.0),
    )
