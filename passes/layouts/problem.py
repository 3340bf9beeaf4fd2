"""What an assignment of layouts costs: the ops in theirs, and the conversions between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue

from aicc.ir.graph import Constant, Transpose
from aicc.ir.module import bound_symbols
from aicc.ir.op import GraphOp
from aicc.ir.types import bytes_of, rank_of, shape_of, symbols_of, typical
from aicc.passes.layouts.rules import (
    Permutation,
    allows,
    channels_last,
    composed,
    identity,
    inverse,
    layout_rank,
    operand_layouts,
    rule_of,
)

LAUNCH = float(1 << 20)
"""Bytes that move in the time that a conversion takes to start, and what it breaks apart."""

OpCost = Callable[[GraphOp, bool], float]
"""What an op costs more than it must, in bytes moved, as channels lie first or last (True)."""

Assignment = Mapping[Operation, Permutation]


@dataclass(frozen=True)
class Use:
    """A value that an op reads, through transposes or not: ``transpose(root, turned)``."""

    user: Operation
    operand: int
    turned: Permutation


@dataclass
class Problem:
    """The ops of a block that have a choice, and what the values between them weigh.

    `uses` are those of each value that is no constant: constants are turned as the model is
    compiled. What isn't in `ops` reads and gives tensors as the model has them.
    """

    ops: list[GraphOp]
    uses: dict[SSAValue, list[Use]]
    weights: dict[SSAValue, float]
    op_cost: OpCost
    chosen: set[Operation] = field(default_factory=set)
    roots: dict[Operation, list[tuple[SSAValue, Use]]] = field(default_factory=dict)

    @classmethod
    def of(cls, block: Block, op_cost: OpCost) -> Problem:
        bound = frozenset[str]()
        if isinstance(func := block.parent_op(), FuncOp):
            bound = frozenset(bound_symbols(func))
        ops: list[GraphOp] = []
        uses: dict[SSAValue, list[Use]] = {}
        for op in block.ops:
            if isinstance(op, Transpose):
                continue
            if isinstance(op, GraphOp) and has_choice(op) and is_bound(op, bound):
                ops.append(op)
            for i, value in enumerate(op.operands):
                root, turned = root_of(value)
                if turned is None or isinstance(root.owner, Constant):
                    continue
                uses.setdefault(root, []).append(Use(op, i, turned))
        weights = {value: conversion(value, found) for value, found in uses.items()}
        roots: dict[Operation, list[tuple[SSAValue, Use]]] = {}
        for value, found in uses.items():
            for use in found:
                roots.setdefault(use.user, []).append((value, use))
        return cls(ops, uses, weights, op_cost, set(ops), roots)

    def reads(self, op: Operation) -> list[tuple[SSAValue, Use]]:
        """What an op reads, and how."""
        return self.roots.get(op, [])

    def produced(self, value: SSAValue, assignment: Assignment) -> Permutation:
        """The layout in which a value is made."""
        own = identity(rank_of(value))
        owner = value.owner
        if not isinstance(value, OpResult) or value.index or not isinstance(owner, Operation):
            return own
        made = assignment.get(owner, own)
        return made if len(made) == len(own) else own  # a reduction that drops dims

    def wanted(self, use: Use, layout: Permutation | None) -> Permutation:
        """The layout of the root that a user in `layout` reads; None: one without a choice."""
        turned = use.turned
        if layout is None:
            return turned
        assert isinstance(use.user, GraphOp)
        own = operand_layouts(use.user, layout)[use.operand]
        return composed(turned, own) if own is not None else turned

    def label_for(self, use: Use, root_layout: Permutation) -> Permutation | None:
        """The layout in which the user reads a root that lies so as it is."""
        if use.user not in self.chosen:
            return None
        assert isinstance(use.user, GraphOp)
        own = composed(inverse(use.turned), root_layout)
        if len(own) != layout_rank(use.user) or not allows(use.user, own):
            return None
        return own if operand_layouts(use.user, own)[use.operand] == own else None

    def own_cost(self, op: GraphOp, layout: Permutation) -> float:
        return self.op_cost(op, len(layout) > 2 and layout == channels_last(len(layout)))

    def cost(self, assignment: Assignment) -> float:
        """All ops' costs, and every conversion once."""
        total = sum(self.own_cost(op, assignment[op]) for op in self.ops)
        for value, uses in self.uses.items():
            made = self.produced(value, assignment)
            read = {self.wanted(u, assignment.get(u.user)) for u in uses}
            total += self.weights[value] * len(read - {made})
        return total

    def nothing(self) -> dict[Operation, Permutation]:
        """Every op as the model has it."""
        return {op: identity(layout_rank(op)) for op in self.ops}


def has_choice(op: GraphOp) -> bool:
    return rule_of(op) is not None and layout_rank(op) > 2


def is_bound(op: GraphOp, bound: frozenset[str]) -> bool:
    """Whether the function's arguments say all the sizes that the op sees."""
    shapes = [shape_of(v) for v in (*op.operands, *op.results)]
    return all(None not in s and symbols_of(s) <= bound for s in shapes)


def conversion(value: SSAValue, uses: list[Use]) -> float:
    """What turning a value costs: reading and writing it, in a kernel that would not be there.

    At the edges, where a model reads its inputs and writes its outputs, somebody does so anyway.
    """
    size = bytes_of(value)
    moved = float(typical(size)) if size is not None else 0.0
    edge = isinstance(value, BlockArgument) or all(isinstance(u.user, ReturnOp) for u in uses)
    return moved if edge else LAUNCH + 2 * moved


def root_of(value: SSAValue) -> tuple[SSAValue, Permutation | None]:
    """What a value is a transpose of, and how it is turned; None for what has no dims to turn."""
    if not isinstance(value.type, TensorType):
        return value, None
    turned = identity(rank_of(value))
    while isinstance(value.owner, Transpose):
        turned = composed(value.owner.permutation, turned)
        value = value.owner.input
    return value, turned
