"""Sums that need an earlier reduction of the same row, added up in the pass that finds that one.

Each lane of an accumulator keeps what its own elements gave so far, and the lanes are joined at the
end. Sums of e^(x − max x): Milakov and Gimelshein, "Online normalizer calculation for softmax"
(2018). Sums of (x − mean)²: Youngs and Cramer (1971), lanes joined as Chan, Golub and LeVeque
(1983) have it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from aicc.ir import graph
from aicc.ir.symbols import Dim
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.emitter import Emitter
from aicc.passes.tiling.reductions import Reduction


@dataclass(frozen=True)
class Elements:
    """Elements of a row, where they are `inside` it, and lanes of `first` without and with them."""

    value: SSAValue
    inside: SSAValue | None
    before: SSAValue
    after: SSAValue


@dataclass(eq=False)
class Online(ABC):
    """A sum over elements less `shift`, which only the reduction `first` of them is needed for."""

    first: n.Reduced
    shift: n.Node

    @staticmethod
    @abstractmethod
    def shifted(arg: n.Node) -> n.Node | None:
        """x − shift, where a summand `arg` is made from that as this class sums them up."""

    @classmethod
    @abstractmethod
    def suits(cls, first: n.Reduced, shift: n.Node) -> bool:
        """Whether the reduction is the one that the pass finds anyway."""

    @abstractmethod
    def start(self, e: Emitter, plan: Reduction, shape: Sequence[Dim]) -> list[SSAValue]:
        """What a loop carries for the sum at first."""

    @abstractmethod
    def step(self, e: Emitter, state: Sequence[SSAValue], new: Elements) -> list[SSAValue]:
        """What is carried on, with more elements."""

    @abstractmethod
    def joined(
        self, e: Emitter, plan: Reduction, state: Sequence[SSAValue], lanes: SSAValue
    ) -> SSAValue:
        """The sum of the whole row, from `first` of the lanes."""


class ExpSum(Online):
    """Σ e^(x − s), s a function of max x: sums shrink whenever a lane's maximum grows."""

    @staticmethod
    def shifted(arg: n.Node) -> n.Node | None:
        return arg.inputs()[0] if is_apply(arg, graph.Exp) else None

    @classmethod
    def suits(cls, first: n.Reduced, shift: n.Node) -> bool:
        return isinstance(first.op, graph.ReduceMax)

    def start(self, e: Emitter, plan: Reduction, shape: Sequence[Dim]) -> list[SSAValue]:
        total = plan.start(shape)
        total.name_hint = "total"
        return [total]

    def step(self, e: Emitter, state: Sequence[SSAValue], new: Elements) -> list[SSAValue]:
        """One exponential serves both: e^(−|x − max|) scales either the sum or the element.

        Infinities that are equal differ by 0 here. Beyond the row, −inf counts in lanes whose
        maximum is −inf too: `joined` multiplies these by 0.
        """
        s, (total,) = e.scalars, state
        value, before = new.value, new.before
        gap = s.op("math.absf", s.op("arith.subf", value, before))
        gap = s.select(s.compare("oeq", value, before), s.full(0, gap), gap)
        factor = s.op("math.exp", s.op("arith.negf", gap))
        one = s.full(1, factor)
        grown = s.op("arith.addf", s.op("arith.mulf", total, factor), one)
        added = s.op("arith.addf", total, factor)
        return [s.select(s.compare("ogt", value, before), grown, added)]

    def joined(
        self, e: Emitter, plan: Reduction, state: Sequence[SSAValue], lanes: SSAValue
    ) -> SSAValue:
        s, (total,) = e.scalars, state
        scale = s.op("math.exp", e.binary("arith.subf", lanes, e.node(self.shift)))
        return plan.reduce(s.op("arith.mulf", total, scale))


class SquareSum(Online):
    """Σ (x − mean x)²: with the n-th x of a lane, n / (n − 1) (x − mean of the n)² is added."""

    @staticmethod
    def shifted(arg: n.Node) -> n.Node | None:
        twice = is_apply(arg, graph.Mul) and arg.inputs()[0] is arg.inputs()[1]
        return arg.inputs()[0] if twice else None

    @classmethod
    def suits(cls, first: n.Reduced, shift: n.Node) -> bool:
        return isinstance(first.op, graph.ReduceMean) and shift is first

    def start(self, e: Emitter, plan: Reduction, shape: Sequence[Dim]) -> list[SSAValue]:
        """The squares, the step n (the same for all lanes), and the elements of each lane."""
        state = [plan.start(shape), plan.start([1] * len(shape)), plan.start(shape)]
        for value, name in zip(state, ("squares", "steps", "count"), strict=True):
            value.name_hint = name
        return state

    def step(self, e: Emitter, state: Sequence[SSAValue], new: Elements) -> list[SSAValue]:
        s, (total, step, count) = e.scalars, state
        one = s.full(1, step)
        now = s.op("arith.addf", step, one)
        weight = s.op("arith.divf", now, s.op("arith.maximumf", step, one))
        mean = e.binary("arith.mulf", new.after, s.op("arith.divf", one, now))
        away = e.binary("arith.subf", new.value, mean)
        square = e.binary("arith.mulf", s.op("arith.mulf", away, away), weight)
        unit = s.full(1, count)
        if new.inside is not None:
            square = s.select(*e.together([new.inside, square, s.full(0, square)]))
            unit = s.select(*e.together([new.inside, unit, s.full(0, unit)]))
        return [s.op("arith.addf", total, square), now, s.op("arith.addf", count, unit)]

    def joined(
        self, e: Emitter, plan: Reduction, state: Sequence[SSAValue], lanes: SSAValue
    ) -> SSAValue:
        s, (total, _, count) = e.scalars, state
        mean = s.op("arith.divf", lanes, s.op("arith.maximumf", count, s.full(1, count)))
        away = e.binary("arith.subf", mean, e.node(self.shift))
        between = s.op("arith.mulf", s.op("arith.mulf", away, away), count)
        return plan.reduce(s.op("arith.addf", total, between))


SUMS = (graph.ReduceSum, graph.ReduceMean)


def is_apply(node: n.Node, op: type[graph.GraphOp]) -> bool:
    return isinstance(node, n.Apply) and isinstance(node.op, op)


def online_sums(nodes: Iterable[n.Node]) -> dict[n.Reduced, Online]:
    """The sums that can be had in the pass of another reduction: each by itself."""
    found: dict[n.Reduced, Online] = {}
    for node in nodes:
        sums = isinstance(node, n.Reduced) and isinstance(node.op, SUMS) and node.dtype.is_float
        for kind in (ExpSum, SquareSum) if sums else ():
            assert isinstance(node, n.Reduced) and node.arg is not None
            shifted = kind.shifted(node.arg)
            if shifted is None or not is_apply(shifted, graph.Sub):
                continue
            x, shift = shifted.inputs()
            needed = [m for m in n.nodes_below(shift) if isinstance(m, n.Reduced)]
            if len(needed) != 1 or shift.axes & set(node.over):
                continue
            (first,) = needed
            if first.arg is x and first.over == node.over and kind.suits(first, shift):
                found[node] = kind(first, shift)
    return found
