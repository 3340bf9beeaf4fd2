"""Ops that the Triton target leaves to torch: one row an op, with the call it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aicc.ir import graph
from aicc.ir.op import GraphOp
from aicc.ir.types import shape_of

if TYPE_CHECKING:
    from aicc.backends.triton.program import Program


def _reshape(p: Program, op: graph.Reshape) -> None:
    """No kernel: the same memory."""
    x = p.operand(op.input)
    p.line(f"{p.name(op.result)} = {x}.view({p.shape(shape_of(op.result))})")


def _shape_expr(p: Program, op: graph.ShapeExpr) -> None:
    items = ", ".join(p.dim(d) for d in op.exprs)
    p.line(f"{p.name(op.result)} = torch.tensor([{items}], device=device)")


LIBRARY: dict[type[GraphOp], Callable[[Program, Any], None]] = {
    graph.Reshape: _reshape,
    graph.ShapeExpr: _shape_expr,
}
