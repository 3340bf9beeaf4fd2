"""Attention and its gradients: softmax between two products, without the scores in memory."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import opt_operand_def

from aicc.ir.dtypes import i1
from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    is_float,
    operand_def,
    require,
    require_dtype,
    require_rank,
    require_same_dtype,
    result_def,
)
from aicc.ir.graph.norm import statistics_dtype
from aicc.ir.op import graph_op
from aicc.ir.params import param
from aicc.ir.symbols import Dim
from aicc.ir.types import compatible_dim, element_type, numel, shape_of, tensor
from aicc.ir.values import SymbolicValues

CAUSAL = ("none", "upper_left", "lower_right")


class Scores(GraphOp):
    """What has scores q kᵀ · scale + mask of q[B, H, S, D] and k[B, G, T, D], for v[B, G, T, E]."""

    scale: float = param(float)
    causal: str = param(str, default="none", choices=CAUSAL)
    window: int = param(int, default=0)

    def check(self, mask: SSAValue | None) -> None:
        require(self, self.window >= 0, f"a window of {self.window} keys")
        require(self, not self.window or self.causal != "none", "a window needs causal attention")
        require_dtype(self, self.operands[0], is_float)
        require_same_dtype(self, *self.operands[:3])
        for value, name in zip(self.operands, ("query", "key", "value"), strict=False):
            require_rank(self, value, 4, name)
        q, k, v = map(shape_of, self.operands[:3])
        require(self, compatible_dim(q[3], k[3]), "query and key differ in their last dim")
        require(self, compatible_dim(k[2], v[2]), "key and value differ in length")
        require(self, compatible_dim(k[1], v[1]), "key and value differ in heads")
        if isinstance(q[1], int) and isinstance(k[1], int):
            require(self, k[1] > 0 and q[1] % k[1] == 0, f"{q[1]} heads over {k[1]} key heads")
        if mask is not None and element_type(mask) != i1:
            require_dtype(self, mask, is_float, "the mask")

    def products(self, scores: int, weighted: int) -> Dim:
        """Operations of so many products over D and over E."""
        q, k, v = map(shape_of, self.operands[:3])
        count, depth, width = numel((*q[:3], k[2])), q[3], v[3]
        if count is None or depth is None or width is None:
            return 0
        return 2 * count * (scores * depth + weighted * width)


class AttentionOp(Scores):
    """Attention, with or without what its gradient needs."""

    query = operand_def(TENSOR)
    key = operand_def(TENSOR)
    value = operand_def(TENSOR)
    mask = opt_operand_def(TENSOR)
    softcap: float = param(float, default=0.0)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        self.check(self.mask)
        q, v = shape_of(self.query), shape_of(self.value)
        return [tensor((q[0], q[1], q[2], v[3]), element_type(self.query))]

    def flops(self) -> Dim:
        return self.products(1, 1)


@graph_op
class Attention(AttentionOp):
    """softmax(q kᵀ · scale + mask) v for q[B, H, S, D], k[B, G, T, D], v[B, G, T, E].

    H is a multiple of G (grouped-query attention). `mask` broadcasts to [B, H, S, T]: i1 keeps
    where true, a float one is added. `causal` hides keys after the query, counted from the first
    ("upper_left") or the last ("lower_right") position, and a `window` w > 0 those from w before
    it on: a query sees w keys (Beltagy et al. 2020). `softcap` c > 0 maps scores to
    c·tanh(score/c). Rows with every key hidden give 0. ONNX Attention,
    aten.scaled_dot_product_attention (Vaswani et al. 2017).
    """

    name = "graph.attention"
    traits = PURE
    result = result_def(TENSOR)


@graph_op
class AttentionWithLse(AttentionOp):
    """As `attention`, and the log-sum-exp of each row's scores.

    The second result is ``log Σ e^score``, [B, H, S], of f32 for 16-bit floats and −∞ for rows with
    every key hidden. aten._scaled_dot_product_flash_attention.
    """

    name = "graph.attention_with_lse"
    traits = PURE
    result = result_def(TENSOR)
    lse = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = statistics_dtype(element_type(self.query))
        return [*super().infer(values), tensor(shape_of(self.query)[:3], dtype)]


class AttentionBackward(Scores):
    """A part of attention's gradient; H equals G.

    `grad` is of the shape of attention's result, `lse` its log-sum-exp, and `delta` Σ grad · result
    over the last dim, both [B, H, S]. Weights are computed once more: p = e^(score − lse), and the
    gradient by the scores is p · (grad vᵀ − delta) (Dao et al. 2022, appendix B).
    """

    query = operand_def(TENSOR)
    key = operand_def(TENSOR)
    value = operand_def(TENSOR)
    grad = operand_def(TENSOR)
    lse = operand_def(TENSOR)
    delta = operand_def(TENSOR)
    mask = opt_operand_def(TENSOR)

    def check_both(self) -> None:
        self.check(self.mask)
        require_same_dtype(self, self.query, self.grad)
        rows = statistics_dtype(element_type(self.query))
        for name in ("lse", "delta"):
            require_dtype(self, getattr(self, name), lambda d: d == rows, name)
            require_rank(self, getattr(self, name), 3, name)
        q, k, g = (shape_of(x) for x in (self.query, self.key, self.grad))
        require(self, compatible_dim(q[1], k[1]), "query and key differ in heads")
        require_rank(self, self.grad, 4, "grad")
        require(self, compatible_dim(g[2], q[2]), "grad and query differ in length")


@graph_op
class AttentionBackwardQuery(AttentionBackward):
    """The gradient of attention by its queries.

    aten._scaled_dot_product_flash_attention_backward.
    """

    name = "graph.attention_backward_query"
    traits = PURE
    result = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        self.check_both()
        return [tensor(shape_of(self.query), element_type(self.query))]

    def flops(self) -> Dim:
        return self.products(2, 1)


@graph_op
class AttentionBackwardKeyValue(AttentionBackward):
    """The gradients of attention by its keys and by its values.

    aten._scaled_dot_product_flash_attention_backward.
    """

    name = "graph.attention_backward_key_value"
    traits = PURE
    by_key = result_def(TENSOR)
    by_value = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        self.check_both()
        dtype = element_type(self.query)
        return [tensor(shape_of(x), dtype) for x in (self.key, self.value)]

    def flops(self) -> Dim:
        return self.products(2, 2)
