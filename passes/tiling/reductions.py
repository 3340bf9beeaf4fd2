"""Reductions of tiles: neutral elements, accumulators, and what is done at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import i32, i64
from xdsl.ir import Attribute, SSAValue

from aicc.ir import graph, tile
from aicc.ir.dtypes import DType
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.tile.types import tile_element
from aicc.ir.types import element_type, shape_of
from aicc.passes.tiling.nodes import Unsupported
from aicc.passes.tiling.scalars import Scalars, computed


@dataclass(frozen=True)
class Rule:
    """How one kind of reduction combines elements.

    `kind` and `bools` are kinds of `tile.reduce`, `combine` the ops on floats and integers that do
    the same to two elements.
    """

    kind: str
    bools: str
    combine: tuple[str, str]
    neutral: Callable[[DType], int | float]


def _least(d: DType) -> int | float:
    return -math.inf if d.is_float else _limits(d)[0]


def _greatest(d: DType) -> int | float:
    return math.inf if d.is_float else _limits(d)[1]


def _limits(d: DType) -> tuple[int, int]:
    if d.kind == "bool":
        return 0, 1
    signed = np.iinfo(f"int{d.bits}")  # unsigned elements are shifted into the signed range
    return int(signed.min), int(signed.max)


_ADD = Rule("add", "or", ("arith.addf", "arith.addi"), lambda d: 0)
_MAX = Rule("max", "or", ("arith.maximumf", "arith.maxsi"), _least)
_MIN = Rule("min", "and", ("arith.minimumf", "arith.minsi"), _greatest)

RULES: dict[type[GraphOp], Rule] = {
    graph.ReduceSum: _ADD,
    graph.ReduceMean: _ADD,
    graph.ReduceProd: Rule("mul", "and", ("arith.mulf", "arith.muli"), lambda d: 1),
    graph.ReduceMax: _MAX,
    graph.ReduceMin: _MIN,
    graph.MaxPool: _MAX,
    graph.AvgPool: _ADD,
    graph.ArgMax: _MAX,
    graph.ArgMin: _MIN,
}


class Reduction:
    """One reduction in a kernel: of `op`'s operand, along one dim of tiles."""

    def __init__(self, op: GraphOp, dim: int, scalars: Scalars):
        if type(op) not in RULES:
            raise Unsupported(f"{op.kind} has no reduction of tiles")
        self.op, self.dim, self.scalars = op, dim, scalars
        self.rule = RULES[type(op)]
        self.dtype = element_type(op.operands[0])
        self.is_arg = isinstance(op, (graph.ArgMax, graph.ArgMin))
        if getattr(op, "select_last_index", False):
            raise Unsupported(f"the last of equal elements: decompose takes {op.kind} apart")
        if self.dtype.kind == "complex" or self.dtype.bits < 8:
            raise Unsupported(f"{op.kind} of {self.dtype}")

    @property
    def counts(self) -> bool:
        """Whether the result is divided by the number of elements."""
        return isinstance(self.op, graph.ReduceMean)

    @property
    def neutral(self) -> int | float:
        return self.rule.neutral(self.dtype)

    def start(self, shape: Sequence[Dim]) -> SSAValue:
        """An accumulator that nothing was combined into yet."""
        value = float(self.neutral) if self.dtype.is_float else int(self.neutral)
        made = tile.Full.make(value=value, result_types=[tile_type(shape, self.element)])
        return self.scalars.insert(made)

    @property
    def flips(self) -> bool:
        """Whether elements are unsigned and compared: then their top bit is inverted."""
        return self.dtype.kind == "uint" and self.rule in (_MAX, _MIN)

    @property
    def element(self) -> Attribute:
        """The element type that is accumulated in."""
        if self.dtype.is_integer and self.rule not in (_MAX, _MIN):
            if self.counts:
                return i64
            return i64 if self.dtype.bits > 32 else i32
        return computed(self.dtype)

    def prepared(self, value: SSAValue) -> SSAValue:
        """An operand as it is accumulated."""
        if self.flips:
            top = self.scalars.full(_limits(self.dtype)[0], value)
            return self.scalars.op("arith.xori", value, top)
        return self.scalars.cast(value, self.element, self.dtype.kind == "uint")

    def combine(self, total: SSAValue, value: SSAValue) -> SSAValue:
        """One accumulator of elements from two."""
        if self.dtype.kind == "bool":
            return self.scalars.op(f"arith.{self.rule.bools}i", total, value)
        return self.scalars.op(self.rule.combine[not self.dtype.is_float], total, value)

    def better(self, value: SSAValue, best: SSAValue) -> SSAValue:
        """Whether a later element takes the place of the best so far, for arg reductions."""
        s, most = self.scalars, self.rule is _MAX
        if not self.dtype.is_float:
            sign = "u" if self.dtype.kind == "bool" else "s"
            return s.compare(sign + ("gt" if most else "lt"), value, best)
        beats = s.compare("ogt" if most else "olt", value, best)
        is_nan = s.compare("uno", value, value)
        had_nan = s.compare("uno", best, best)
        first_nan = s.op("arith.andi", is_nan, s.op("arith.xori", had_nan, s.full(1, had_nan)))
        return s.op("arith.ori", beats, first_nan)

    def reduce(self, value: SSAValue) -> SSAValue:
        kind = self.rule.bools if self.dtype.kind == "bool" else self.rule.kind
        made = tile.Reduce.make(value, kind=kind, dim=self.dim)
        return self.scalars.insert(made)

    def arg_reduce(self, value: SSAValue, index: SSAValue) -> SSAValue:
        if self.dtype.kind == "bool":
            value = self.scalars.cast(value, i32, unsigned=True)
        made: Any = tile.ArgReduce.make(value, index, kind=self.rule.kind, dim=self.dim)
        self.scalars.insert(made)
        return self.scalars.cast(made.at, i64)

    def finished(self, total: SSAValue, count: SSAValue | None) -> SSAValue:
        """The result from the combined elements; a mean is divided by `count`, an index."""
        s = self.scalars
        if self.flips:
            total = s.op("arith.xori", total, s.full(_limits(self.dtype)[0], total))
        if count is not None:
            goal = tile_element(total.type)
            divisor = s.cast(count, goal)
            whole = "arith.divui" if self.dtype.kind == "uint" else "arith.divsi"
            name = "arith.divf" if self.dtype.is_float else whole
            total = s.op(name, total, divisor)
        return s.cast(total, computed(self.dtype))

    def count(self) -> Dim:
        """How many elements one result has."""
        shape = shape_of(self.op.operands[0])
        axes: tuple[int, ...] = getattr(self.op, "axes", ())
        return product_of([d for i, d in enumerate(shape) if i in axes and d is not None])
