"""Chooses the order in which tensors' dims lie in memory, for the whole graph at once."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriteWalker
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Reshape, Transpose
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import functions
from aicc.ir.op import GraphOp
from aicc.ir.types import rank_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.layouts.absorb import FlattenIntoWeights, TransposeOfOnes
from aicc.passes.layouts.problem import OpCost, Problem, root_of
from aicc.passes.layouts.rules import (
    Permutation,
    composed,
    identity,
    inverse,
    operand_layouts,
    rule_of,
)
from aicc.passes.layouts.solve import Labels, solved

CHOICES = ("auto", "nchw", "nhwc")

FORCED = 1e15
"""What it costs to go against a layout that was asked for."""


@dataclass(frozen=True)
class AssignLayouts(ModulePass):
    """Give each op the layout by which ops and conversions together move the fewest bytes.

    The target says what convolutions and poolings cost as channels lie first or last; other ops
    work in any layout, or only in the model's own. Transposes of the model are conversions like any
    other: those that no op needs are gone, weights are turned as the model is compiled. `layout` is
    auto, or the one that convolutions get: nchw or nhwc. Remarks say what conversions remain.
    """

    name = "assign-layouts"
    layout: str = "auto"

    def __post_init__(self) -> None:
        if self.layout not in CHOICES:
            raise ValueError(f"no layout '{self.layout}' (there are: {', '.join(CHOICES)})")

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = ctx if isinstance(ctx, CompileContext) else CompileContext()
        cost = self.cost(context.target.layout_cost)
        for func in functions(op).values():
            problem = Problem.of(func.body.block, cost)
            labels = solved(problem)
            if problem.cost(labels) < problem.cost(problem.nothing()):
                _Rewriter(func.body.block, labels).run()
        eliminate_dead_code(op)
        patterns = GreedyRewritePatternApplier([TransposeOfOnes(), FlattenIntoWeights()])
        PatternRewriteWalker(patterns).rewrite_module(op)
        eliminate_dead_code(op)
        if context.remarks is not None:
            context.remarks += conversions(op)

    def cost(self, of_target: OpCost) -> OpCost:
        if self.layout == "auto":
            return of_target
        wanted = self.layout == "nhwc"

        def forced(op: GraphOp, last: bool) -> float:
            return FORCED if hasattr(op, "layout") and last != wanted else 0.0

        return forced


class _Rewriter:
    """Makes the ops of a block anew in their layouts, conversions where nothing else helps."""

    def __init__(self, block: Block, labels: Labels):
        self.block, self.labels = block, labels
        self.lying: dict[SSAValue, dict[Permutation, SSAValue]] = {}

    def run(self) -> None:
        for op in list(self.block.ops):
            if isinstance(op, Transpose):
                continue
            label = self.labels.get(op)
            if label is None or label == identity(len(label)):
                self.keep(op)
            else:
                assert isinstance(op, GraphOp)
                self.remake(op, label)

    def keep(self, op: Operation) -> None:
        """An op that stays: what it reads must lie as the model has it."""
        for i, value in enumerate(op.operands):
            root, turned = root_of(value)
            if turned is not None and (root is not value or root in self.lying):
                op.operands[i] = self.get(root, turned, op)

    def remake(self, op: GraphOp, label: Permutation) -> None:
        b = GraphBuilder.before(op)
        operands = []
        for value, layout in zip(op.operands, operand_layouts(op, label), strict=True):
            root, turned = root_of(value)
            if turned is None or (layout is None and root is value and root not in self.lying):
                operands.append(value)
                continue
            wanted = turned if layout is None else composed(turned, layout)
            operands.append(self.get(root, wanted, op))
        rule = rule_of(op)
        assert rule is not None
        made = rule.build(b, op, label, operands)
        made.name_hint = op.results[0].name_hint
        if rank_of(made) != len(label):  # a reduction that drops dims gives the rest in order
            op.results[0].replace_all_uses_with(made)
            return
        self.lying[op.results[0]] = {label: made}

    def get(self, root: SSAValue, layout: Permutation, user: Operation) -> SSAValue:
        """A value in a layout: as it lies already, or converted before its first reader."""
        known = self.lying.setdefault(root, {})
        if not known:
            known[identity(rank_of(root))] = root
        if layout not in known:
            start, value = next(iter(known.items()))
            turn = composed(inverse(start), layout)
            known[layout] = self.convert(value, turn, user)
        return known[layout]

    def convert(self, value: SSAValue, turn: Permutation, user: Operation) -> SSAValue:
        made = Transpose.make(value, permutation=turn, location=user.location)
        made.result.name_hint = value.name_hint
        owner = value.owner
        if isinstance(owner, Operation):
            point = InsertPoint.after(owner)
            made.location = owner.location
        else:
            point = InsertPoint.at_start(self.block)
        Rewriter.insert_op(made, point)
        return made.result


def conversions(module: ModuleOp) -> list[str]:
    """The transposes of what is computed from inputs, a line each: of what, and who wants it."""
    lines = []
    given: set[SSAValue] = {a for func in functions(module).values() for a in func.args}
    for op in module.walk():
        if any(v in given for v in op.operands):
            given.update(op.results)
        if not isinstance(op, Transpose) or op.input not in given:
            continue
        name = op.input.name_hint or "a value"
        readers = {f"{u.operation.name.removeprefix('graph.')}" for u in op.result.uses}
        ends = isinstance(op.input, BlockArgument) or readers == {"func.return"}
        own = isinstance(op.input.owner, Reshape) and readers == {"reshape"}
        where = "at the edge" if ends else "between reshapes" if own else "inside"
        lines.append(
            f"layout: {name} is transposed by {list(op.permutation)} for "
            f"{', '.join(sorted(readers))}, {where}, at {op.location}"
        )
    return lines
