"""Layers that torch fuses in inference: of a transformer's encoder, and attention of many heads.

`torch.nn.TransformerEncoderLayer` and `torch.nn.MultiheadAttention` become one call each where no
gradient is wanted. Masks are True where a key is hidden, as torch's fused layers have them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import SSAValue

from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.dtypes import i1
from aicc.ir.types import element_type, rank_of, shape_of

SQUARE, PADDING = 0, 1
"""Kinds of masks: of queries by keys, and of a batch's keys; others are of batch, heads, both."""


def _linear(c: CallContext, x: SSAValue, weight: SSAValue, bias: SSAValue | None) -> SSAValue:
    out = c.emit(graph.MatMul, x, c.b.transpose(weight, [1, 0]))
    return out if bias is None else c.emit(graph.Add, out, bias)


def _kept(c: CallContext, mask: SSAValue, kind: int | None) -> SSAValue | None:
    """Which keys a query sees, of rank 4; None for masks that are no booleans."""
    if element_type(mask) != i1:
        return None
    mask = c.emit(graph.Not, mask)
    rank = rank_of(mask)
    if kind == PADDING and rank == 2:
        return c.b.unsqueeze(mask, [1, 2])
    if kind == SQUARE and rank == 2:
        return c.b.unsqueeze(mask, [0, 1])
    return mask if rank == 4 else None


def _self_attention(
    c: CallContext,
    x: SSAValue,
    heads: int,
    weights: Sequence[SSAValue | None],
    mask: SSAValue | None,
    kind: int | None,
) -> SSAValue | None:
    """Attention of x [B, T, D] to itself; `weights`: of queries, keys and values; of the result."""
    into, into_bias, out_of, out_of_bias = weights
    batch, length, width = shape_of(x)
    assert into is not None and out_of is not None
    if not isinstance(width, int) or width % heads:
        return None
    if mask is not None and (mask := _kept(c, mask, kind)) is None:
        return None
    each = [batch, length, 3, heads, width // heads]
    both = c.b.reshape(_linear(c, x, into, into_bias), each)  # type: ignore[arg-type]
    q, k, v = (
        c.b.transpose(c.b.squeeze(c.b.slice(both, 2, i, i + 1), [2]), [0, 2, 1, 3])
        for i in range(3)
    )
    scale = 1 / math.sqrt(width // heads)
    out = c.emit(graph.Attention, q, k, v, mask, scale=scale, causal="none")
    out = c.b.reshape(c.b.transpose(out, [0, 2, 1, 3]), [batch, length, width])  # type: ignore[list-item]
    return _linear(c, out, out_of, out_of_bias)


@aten("_native_multi_head_attention")
def multi_head_attention(
    c: CallContext,
    query: SSAValue,
    key: SSAValue,
    value: SSAValue,
    width: int,
    heads: int,
    qkv_weight: SSAValue,
    qkv_bias: SSAValue | None,
    proj_weight: SSAValue,
    proj_bias: SSAValue | None,
    mask: SSAValue | None = None,
    need_weights: bool = True,
    average: bool = True,
    kind: int | None = None,
):
    if need_weights or query is not key or key is not value or rank_of(query) != 3:
        return NotImplemented
    weights = qkv_weight, qkv_bias, proj_weight, proj_bias
    out = _self_attention(c, query, heads, weights, mask, kind)
    if out is None:
        return NotImplemented
    return [out, c.b.full([0], 0, element_type(out))]


@aten("_transformer_encoder_layer_fwd")
def encoder_layer(
    c: CallContext,
    x: SSAValue,
    width: int,
    heads: int,
    qkv_weight: SSAValue,
    qkv_bias: SSAValue | None,
    proj_weight: SSAValue,
    proj_bias: SSAValue | None,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: SSAValue,
    norm_bias_1: SSAValue,
    norm_weight_2: SSAValue,
    norm_bias_2: SSAValue,
    ffn_weight_1: SSAValue,
    ffn_bias_1: SSAValue,
    ffn_weight_2: SSAValue,
    ffn_bias_2: SSAValue,
    mask: SSAValue | None = None,
    kind: int | None = None,
):
    if rank_of(x) != 3:
        return NotImplemented

    def norm(value: SSAValue, weight: SSAValue, bias: SSAValue) -> SSAValue:
        return c.emit(graph.LayerNorm, value, weight, bias, axis=2, epsilon=eps)

    weights = qkv_weight, qkv_bias, proj_weight, proj_bias
    given = norm(x, norm_weight_1, norm_bias_1) if norm_first else x
    attended = _self_attention(c, given, heads, weights, mask, kind)
    if attended is None:
        return NotImplemented
    x = c.emit(graph.Add, x, attended)
    x = x if norm_first else norm(x, norm_weight_1, norm_bias_1)
    inner = norm(x, norm_weight_2, norm_bias_2) if norm_first else x
    inner = _linear(c, inner, ffn_weight_1, ffn_bias_1)
    inner = c.emit(graph.Gelu, inner) if use_gelu else c.emit(graph.Relu, inner)
    x = c.emit(graph.Add, x, _linear(c, inner, ffn_weight_2, ffn_bias_2))
    return x if norm_first else norm(x, norm_weight_2, norm_bias_2)
