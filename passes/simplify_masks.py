"""Attention masks that constants make: those that hide nothing go, causal ones become params."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.traits import Pure

from aicc.ir.graph import Constant, ShapeExpr
from aicc.ir.graph.attention import AttentionBackward, AttentionOp
from aicc.ir.graph.folders import constant_of
from aicc.ir.interfaces import CompileContext, Evaluator, value_of
from aicc.ir.op import GraphOp
from aicc.ir.types import static_shape
from aicc.passes.dce import eliminate_dead_code

LARGEST = 1 << 24
"""Up to so many elements are computed to see what a mask is."""


class SimplifyMasks(ModulePass):
    """Drop attention masks that keep every key, and write causal ones as `causal` and `window`.

    A mask is evaluated if it comes from constants only. Additive masks may hide by −∞, or by the
    lowest number of their dtype, as long as each query keeps a key. A causal kernel does half the
    work of one that reads a mask, and needs no mask in memory.
    """

    name = "simplify-masks"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if not isinstance(ctx, CompileContext) or ctx.evaluator is None:
            return
        known: dict[SSAValue, np.ndarray | None] = {}
        for inner in list(op.walk()):
            if isinstance(inner, (AttentionOp, AttentionBackward)) and inner.mask is not None:
                mask = evaluated(inner.mask, ctx.evaluator, known)
                if mask is not None and (kept := what_it_keeps(mask)) is not None:
                    simplify(inner, kept)
        eliminate_dead_code(op)


def simplify(op: AttentionOp | AttentionBackward, kept: np.ndarray) -> None:
    """Rewrite `op`, whose mask keeps the keys `kept` ``[..., queries, keys]``."""
    shape = static_shape(op.query), static_shape(op.key)
    causal, window = op.causal, op.window
    if not kept.all():
        if causal != "none" or None in shape or kept.ndim < 2:
            return
        queries, keys = shape[0][2], shape[1][2]  # type: ignore[index]
        if kept.shape[-2:] != (queries, keys):
            return
        kinds = ("upper_left", "lower_right")
        found = [(k, w) for k in kinds if (w := window_of(kept, k)) is not None]
        if not found:
            return
        causal, window = found[0]
    params = {**op.param_values(), "causal": causal, "window": window}
    new = type(op).make(
        *op.operands[:-1], result_types=[r.type for r in op.results], location=op.location, **params
    )
    block = op.parent
    assert block is not None
    block.insert_op_before(new, op)
    for old, made in zip(op.results, new.results, strict=True):
        made.name_hint = old.name_hint
        old.replace_all_uses_with(made)
    op.detach()
    op.erase()


def window_of(kept: np.ndarray, kind: str) -> int | None:
    """How many keys up to its own each query keeps, 0 for all; None if it keeps others, or none."""
    queries, keys = kept.shape[-2:]
    ahead = keys - queries if kind == "lower_right" else 0
    if not kept.any(-1).all():
        return None
    window = int(kept.reshape(-1, keys)[queries - 1].sum()) if queries - 1 + ahead < keys else 0
    past = np.tri(queries, keys, ahead, bool)
    for w in (0, window):
        near = past & ~np.tri(queries, keys, ahead - w, bool) if w else past
        if (kept == near).all():
            return w
    return None


def what_it_keeps(mask: np.ndarray) -> np.ndarray | None:
    """Where a mask keeps keys, or None if it does more than keep and hide."""
    if mask.dtype == np.bool_:
        return mask
    wide = mask.astype(np.float64)
    kept = wide == 0
    hidden = wide <= float(ml_dtypes.finfo(mask.dtype).min)
    return kept if (kept | hidden).all() and kept.any(-1).all() else None


def evaluated(
    value: SSAValue, evaluator: Evaluator, known: dict[SSAValue, np.ndarray | None]
) -> np.ndarray | None:
    """The elements of a value that is computed from constants; None of any other."""
    pending: list[tuple[SSAValue, bool]] = [(value, False)]
    size = 0
    while pending:
        v, ready = pending.pop()
        if v in known:
            continue
        if (constant := constant_of(v)) is not None:
            known[v] = constant
            continue
        op, shape = v.owner, static_shape(v)
        if shape is None or not isinstance(op, GraphOp) or not may_evaluate(op):
            return None
        if ready:
            known[v] = run(op, v, evaluator, known)
            if known[v] is None:
                return None
            continue
        size += math.prod(shape)
        if size > LARGEST:
            return None
        pending.append((v, True))
        pending += [(o, False) for o in op.operands]
    return known[value]


def may_evaluate(op: GraphOp) -> bool:
    """Whether the op's operands say its results, and it isn't a constant of unknown elements."""
    return op.has_trait(Pure) and not op.regions and not isinstance(op, (Constant, ShapeExpr))


def run(
    op: Operation, value: SSAValue, evaluator: Evaluator, known: dict[SSAValue, np.ndarray | None]
) -> np.ndarray | None:
    operands = [a for o in op.operands if (a := known[o]) is not None]
    if len(operands) < len(op.operands):
        return None
    results = value_of(evaluator, op, operands)
    return None if results is None else results[list(op.results).index(value)]  # type: ignore[arg-type]
