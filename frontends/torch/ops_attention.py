"""Scaled dot-product attention and its gradient."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.types import element_type, shape_of


def _scale(q: SSAValue, scale: float | None) -> float:
    depth = shape_of(q)[3]
    if scale is not None:
        return scale
    if not isinstance(depth, int):
        raise ValueError("the head size must be known")
    return 1 / math.sqrt(depth)


@aten("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    c: CallContext,
    q: SSAValue,
    k: SSAValue,
    v: SSAValue,
    dropout: float = 0.0,
    causal: bool = False,
    attn_mask: SSAValue | None = None,
    scale: float | None = None,
):
    """The output, and the log-sum-exp of each row's scores where somebody reads it."""
    if dropout:
        return NotImplemented
    params = {"scale": _scale(q, scale), "causal": "upper_left" if causal else "none"}
    read = [u for u in c.node.users if len(u.args) > 1 and u.args[1] == 1 and u.users]
    if not read:
        out = c.emit(graph.Attention, q, k, v, attn_mask, **params)
        return [out, c.b.full(c.dims(1), 0, c.dtype(1))]
    return list(c.b.build(graph.AttentionWithLse, q, k, v, attn_mask, **params).results)


@aten("_scaled_dot_product_flash_attention_for_cpu_backward")
def flash_attention_backward(
    c: CallContext,
    grad: SSAValue,
    q: SSAValue,
    k: SSAValue,
    v: SSAValue,
    out: SSAValue,
    lse: SSAValue,
    dropout: float,
    causal: bool,
    attn_mask: SSAValue | None = None,
    scale: float | None = None,
):
    """Gradients by q, k and v (Dao et al. 2022, appendix B)."""
    if dropout:
        return NotImplemented
    params = {"scale": _scale(q, scale), "causal": "upper_left" if causal else "none"}
    rows = element_type(lse)
    both = c.emit(graph.Mul, c.b.cast(grad, rows), c.b.cast(out, rows))
    delta = c.emit(graph.ReduceSum, both, axes=[3])
    operands = (q, k, v, grad, lse, delta, attn_mask)
    by_query = c.emit(graph.AttentionBackwardQuery, *operands, **params)
    return [by_query, *c.b.build(graph.AttentionBackwardKeyValue, *operands, **params).results]
