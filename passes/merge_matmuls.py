"""Merges products of one operand with several weights: query, key and value projections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Add, MatMul, Reshape
from aicc.ir.graph.folders import constant_of
from aicc.ir.graph.roles import Role, role_of
from aicc.ir.types import element_type, rank_of, shape_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.matrices import Matrix, joined, matrix_of
from aicc.passes.weights import derived_constant, resource_of

SEARCH = 64
"""How many ops a search for where two products meet looks at."""


@dataclass(frozen=True)
class MergeMatMuls(ModulePass):
    """x @ W₁, x @ W₂, … → slices of x @ [W₁ W₂ …], for constant weights; biases likewise.

    x is read once, and one large product takes the place of several small ones. Products whose
    elements meet in an op of elements, as a gate and what it lets through do, are left: one kernel
    can make both, and combine them where they are. So are sums of integers, each of which has a
    scale and a rounding of its own behind it that its kernel does.
    """

    name = "merge-matmuls"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        readers: dict[tuple[object, ...], list[Sibling]] = {}
        for inner in op.walk():
            if isinstance(inner, MatMul) and (found := sibling(inner)) is not None:
                dtypes = element_type(inner.rhs), element_type(inner.result)
                readers.setdefault((inner.lhs, inner.parent, *dtypes), []).append(found)
        for siblings in readers.values():
            apart = [s for s in siblings if not meets_another(s, siblings)]
            if len(apart) > 1:
                merge(apart)
        eliminate_dead_code(op)


@dataclass(eq=False)
class Sibling:
    """A product with a constant weight ``[K, N]``, and the constant ``[N]`` that is added to it."""

    product: MatMul
    weight: Matrix
    add: Add | None = None
    bias: np.ndarray | None = None

    @property
    def last(self) -> MatMul | Add:
        return self.add or self.product


def sibling(product: MatMul) -> Sibling | None:
    """The product with what is added to it, if it may be merged with others."""
    weight = matrix_of(product.rhs)
    if weight is None or len(weight.shape) != 2 or rank_of(product.lhs) < 2:
        return None
    if not element_type(product.result).is_float:
        return None
    found = Sibling(product, weight)
    if product.result.has_one_use():
        add = next(iter(product.result.uses)).operation
        if isinstance(add, Add) and add.result.type == product.result.type:
            bias = constant_of(add.rhs if add.lhs is product.result else add.lhs)
            if bias is not None and bias.size == weight.shape[1] == bias.shape[-1]:
                found.add, found.bias = add, bias.reshape(-1)
    return found


def meets_another(one: Sibling, siblings: Sequence[Sibling]) -> bool:
    """Whether elements of the product and of another's are operands of one op of elements."""
    mine = elements_after(one)
    return any(other is not one and mine & elements_after(other) for other in siblings)


def elements_after(one: Sibling) -> set[Operation]:
    """Ops that elements of the product go through one by one, in their order."""
    found: set[Operation] = set()
    pending: list[SSAValue] = [one.product.result]
    while pending and len(found) < SEARCH:
        for use in pending.pop().uses:
            op = use.operation
            kept = isinstance(op, Reshape) or role_of(op) is Role.POINTWISE
            if kept and op not in found:
                found.add(op)
                pending.extend(op.results)
    return found


def merge(siblings: Sequence[Sibling]) -> None:
    first = siblings[0].product
    b = GraphBuilder.before(first)
    weights = joined([s.weight for s in siblings])
    names = [resource_of(s.product.rhs) for s in siblings]
    how = "merged" if None not in names else ""
    weight = derived_constant(first.rhs, weights, how, [n for n in names if n is not None])
    weight.result.name_hint = _joined(s.product.rhs for s in siblings)
    block = first.parent
    assert block is not None
    block.insert_op_before(weight, first)
    out = b.emit(MatMul, first.lhs, weight.result, out_dtype=first.out_dtype)
    out.name_hint = _joined(s.product.result for s in siblings)
    if any(s.bias is not None for s in siblings):
        parts = [
            s.bias if s.bias is not None else np.zeros(s.weight.shape[1], s.weight.dtype)
            for s in siblings
        ]
        out = b.emit(Add, out, b.constant(np.concatenate(parts)))
    axis, start = rank_of(out) - 1, 0
    for s in siblings:
        columns = s.weight.shape[1]
        part = b.slice(out, axis, start, start + columns)
        old = s.last.results[0]
        assert (shape_of(part), element_type(part)) == (shape_of(old), element_type(old))
        part.name_hint = old.name_hint
        old.replace_all_uses_with(part)
        start += columns


def _joined(values: Iterator[SSAValue] | Sequence[SSAValue]) -> str | None:
    """One name for several values: their first, for those that have one."""
    names = [v.name_hint for v in values if v.name_hint]
    return names[0] if names else None
