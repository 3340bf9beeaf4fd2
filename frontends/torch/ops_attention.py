"""Scaled dot-product attention and its gradients, as each of torch's implementations has them.

All give the log-sum-exp of each row's scores beside the output; they differ in its shape, in what
else they give, which is for dropout and for ragged batches, and in the order of their operands.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.graph.decompositions import repeat_heads
from aicc.ir.types import element_type, shape_of


def _params(q: SSAValue, causal: bool, scale: float | None) -> dict[str, Any]:
    depth = shape_of(q)[3]
    if scale is None and not isinstance(depth, int):
        raise ValueError("the head size must be known")
    return {
        "scale": 1 / math.sqrt(depth) if scale is None else scale,  # type: ignore[arg-type]
        "causal": "upper_left" if causal else "none",
    }


def _attention(
    c: CallContext,
    operands: tuple[SSAValue | None, ...],
    dropout: float,
    causal: bool,
    scale: float | None,
) -> Any:
    """The output, the log-sum-exp where somebody reads it, and zeros for the rest."""
    query = operands[0]
    if dropout or query is None:
        return NotImplemented
    params = _params(query, causal, scale)
    read = [u for u in c.node.users if len(u.args) > 1 and u.args[1] == 1 and u.users]
    rest = [
        c.b.full(c.dims(i), 0, c.dtype(i)) if isinstance(value, torch.Tensor) else value
        for i, value in enumerate(c.node.meta["val"])
        if i > 1
    ]
    if not read:
        out = c.emit(graph.Attention, *operands, **params)
        return [out, c.b.full(c.dims(1), 0, c.dtype(1)), *rest]
    out, lse = c.b.build(graph.AttentionWithLse, *operands, **params).results
    return [out, _padded(c, lse), *rest]


def _padded(c: CallContext, lse: SSAValue) -> SSAValue:
    """[B, H, S] in the traced shape: with more rows, or a last dim of 1."""
    goal = c.dims(1)
    if len(goal) == 4:
        return c.b.unsqueeze(lse, [3])
    if tuple(goal) == shape_of(lse):
        return lse
    more = goal[2] - shape_of(lse)[2]  # type: ignore[operator]
    return c.emit(graph.Pad, lse, c.scalar(0.0, lse), low=[0, 0, 0], high=[0, 0, more])


def _backward(
    c: CallContext,
    operands: tuple[SSAValue, ...],
    mask: SSAValue | None,
    dropout: float,
    causal: bool,
    scale: float | None,
) -> Any:
    """Gradients by q, k and v (Dao et al. 2022, appendix B), from grad, q, k, v, out and lse."""
    if dropout:
        return NotImplemented
    grad, q, k, v, out, lse = operands
    params = _params(q, causal, scale)
    batch, heads, length, _ = shape_of(q)
    if len(shape_of(lse)) == 4:
        lse = c.b.squeeze(lse, [3])
    if shape_of(lse)[2] != length:
        assert length is not None
        lse = c.b.slice(lse, 2, 0, length)
    rows = element_type(lse)
    both = c.emit(graph.Mul, c.b.cast(grad, rows), c.b.cast(out, rows))
    delta = c.emit(graph.ReduceSum, both, axes=[3])
    groups = shape_of(k)[1]
    shapes = [shape_of(x) for x in (k, v)]
    if groups != heads:
        if not isinstance(groups, int) or not isinstance(heads, int):
            return NotImplemented
        k, v = (repeat_heads(c.b, x, heads // groups) for x in (k, v))
    if mask is not None and shape_of(mask) == (0,):  # none, in place of None
        mask = None
    given = (q, k, v, grad, lse, delta, mask)
    by_query = c.emit(graph.AttentionBackwardQuery, *given, **params)
    others = c.b.build(graph.AttentionBackwardKeyValue, *given, **params).results
    if groups == heads:
        return [by_query, *others]
    summed = []
    for x, (_, _, keys, width) in zip(others, shapes, strict=True):
        parts = c.b.reshape(x, [batch, groups, heads // groups, keys, width])  # type: ignore[list-item, operator]
        summed.append(c.emit(graph.ReduceSum, parts, axes=[2]))
    return [by_query, *summed]


# ---------------------------------------------------------------------- the CPU's


@aten("_scaled_dot_product_flash_attention_for_cpu")
def on_cpu(c: CallContext, q, k, v, dropout=0.0, causal=False, attn_mask=None, scale=None):
    return _attention(c, (q, k, v, attn_mask), dropout, causal, scale)


@aten("_scaled_dot_product_flash_attention_for_cpu_backward")
def on_cpu_backward(
    c: CallContext, grad, q, k, v, out, lse, dropout, causal, attn_mask=None, scale=None
):
    return _backward(c, (grad, q, k, v, out, lse), attn_mask, dropout, causal, scale)


# ---------------------------------------------------------------------- GPUs'


@aten("_scaled_dot_product_flash_attention")
def flash(c: CallContext, q, k, v, dropout=0.0, causal=False, debug=False, scale=None):
    if debug:
        return NotImplemented
    return _attention(c, (q, k, v, None), dropout, causal, scale)


@aten("_scaled_dot_product_flash_attention_backward")
def flash_backward(
    c: CallContext,
    *operands,  # grad, q, k, v, out, lse; cumulative lengths and longest of q and k
    scale=None,
):
    dropout, causal = operands[10:12]
    return _backward(c, operands[:6], None, dropout, causal, scale)


@aten("_scaled_dot_product_efficient_attention")
def efficient(c: CallContext, q, k, v, bias, with_lse, dropout=0.0, causal=False, scale=None):
    return _attention(c, (q, k, v, bias), dropout, causal, scale)


@aten("_scaled_dot_product_efficient_attention_backward")
def efficient_backward(
    c: CallContext,
    *operands,  # grad, q, k, v, bias, out, lse, seed, offset, dropout, wanted gradients
    scale=None,
):
    bias, dropout, wanted = operands[4], operands[9], operands[10]
    causal = operands[11] if len(operands) > 11 else False
    if wanted[3]:
        return NotImplemented
    given = (*operands[:4], *operands[5:7])
    found = _backward(c, given, bias, dropout, causal, scale)
    return found if found is NotImplemented else [*found, None]


@aten("_scaled_dot_product_cudnn_attention")
def cudnn(
    c: CallContext, q, k, v, bias, with_lse, dropout=0.0, causal=False, debug=False, scale=None
):
    if debug:
        return NotImplemented
    return _attention(c, (q, k, v, bias), dropout, causal, scale)


@aten("_scaled_dot_product_cudnn_attention_backward")
def cudnn_backward(
    c: CallContext,
    *operands,  # grad, q, k, v, out, lse, seed, offset, bias, lengths (4), dropout, causal
    scale=None,
):
    bias, dropout, causal = operands[8], operands[13], operands[14]
    return _backward(c, operands[:6], bias, dropout, causal, scale)
