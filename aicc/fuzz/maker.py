"""Building a random module op by op, each op run as it is added.

Running at once tells what a static type doesn't: sizes of data-dependent dims, whether an index is
in range, whether numbers are still finite. An operand that no value fits comes into being as a new
input of the function, or as a constant, so no draw is thrown away for want of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, SSAValue
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import VerifyException

from aicc.fuzz.values import DTYPES, draw_values
from aicc.ir import graph
from aicc.ir.builder import GraphBuilder, SymbolScope
from aicc.ir.dtypes import DType
from aicc.ir.interfaces import Evaluator
from aicc.ir.module import NAME, finish_function, new_function
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim, SymExpr, evaluate, sym
from aicc.ir.types import element_type, rank_of, shape_of, symbols_of, tensor

MAX_ELEMENTS = 1 << 13
MAX_RANK = 5
SIZES = (1, 2, 3, 4, 5, 7, 8, 16, 17, 33)

_T = TypeVar("_T")


class Misfit(Exception):
    """A draw that fits no op: another one is made."""


class Contradiction(Exception):
    """The IR and its interpreter disagree: a type is inferred that a value doesn't have."""


@dataclass
class Case:
    """A random module, inputs that fit it, and what it gives for them."""

    module: ModuleOp
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


class Maker:
    """Draws from `rng` and adds ops to a function ``@main`` that grows inputs as it needs them."""

    def __init__(self, rng: np.random.Generator, evaluator: Evaluator):
        self.rng = rng
        self.evaluator = evaluator
        self.func: FuncOp = new_function("main", [])
        self.sizes: dict[str, int] = {}
        self.arrays: dict[SSAValue, np.ndarray] = {}
        self.inputs: list[np.ndarray] = []
        self.pool: list[SSAValue] = []
        self.special = rng.random() < 0.15
        """Whether inputs hold NaN, infinities and the largest numbers."""
        self.dynamic = rng.random() < 0.4
        self.b = GraphBuilder(self.func.body.block, scope=SymbolScope(set()))
        self.depth = 0

    # ------------------------------------------------------------------ choices

    def choose(self, among: Sequence[_T]) -> _T:
        return among[int(self.rng.integers(len(among)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def axis(self, x: SSAValue) -> int:
        self.need(rank_of(x) > 0)
        return self.integer(0, rank_of(x) - 1)

    def axes(self, x: SSAValue, least: int = 1) -> list[int]:
        n = rank_of(x)
        self.need(n >= least)
        return sorted(self.rng.permutation(n)[: self.integer(least, n)].tolist())

    def need(self, condition: bool) -> None:
        if not condition:
            raise Misfit

    # ------------------------------------------------------------------ values

    def array(self, x: SSAValue) -> np.ndarray:
        """What a value is for the case's inputs."""
        return self.arrays[x]

    def shape(self, rank: int | None = None) -> list[Dim]:
        """A new shape; dims may be symbols, and rarely 0."""
        if rank is None:
            rank = self.choose((0, 1, 1, 2, 2, 2, 3, 3, 4))
        dims: list[Dim] = []
        for _ in range(rank):
            if self.dynamic and self.chance(0.5):
                name = self.choose(("n", "m"))
                if name not in self.sizes:
                    self.sizes[name] = 0 if self.chance(0.05) else self.choose(SIZES)
                dims.append(sym(name))
            else:
                dims.append(0 if self.chance(0.02) else self.choose(SIZES))
        while math.prod(max(evaluate(d, self.sizes), 1) for d in dims) > MAX_ELEMENTS // 4:
            dims[self.integer(0, rank - 1)] = self.integer(1, 3)
        return dims

    def fresh(
        self, shape: Sequence[Dim | None], dtype: DType, values: np.ndarray | None = None
    ) -> SSAValue:
        """A new constant or input, of `values` or of random ones."""
        self.need(None not in shape)
        dims = [d for d in shape if d is not None]
        actual = [evaluate(d, self.sizes) for d in dims]
        if values is None:
            values = draw_values(self.rng, actual, dtype, self.special)
        static = all(isinstance(d, int) for d in dims)
        if static and self.chance(0.4):
            return self.remember(self.b.constant(values), values)
        if not static and not symbols_of(dims) <= {"n", "m"}:
            raise Misfit
        return self.input(dims, dtype, values)

    def constant(self, value: Any, dtype: DType) -> SSAValue:
        made = self.b.constant(value, dtype)
        return self.remember(made, np.asarray(value, dtype.np))

    def dims(self, dims: Sequence[Dim]) -> SSAValue:
        """Sizes as a tensor, from symbols that the function binds."""
        self.need(self.b.is_bound(dims))
        value = self.b.dims(dims)
        return self.remember(value, np.array([evaluate(d, self.sizes) for d in dims], np.int64))

    def input(self, dims: Sequence[Dim], dtype: DType, values: np.ndarray) -> SSAValue:
        block = self.func.body.block
        index = len(block.args)
        dims = [d if isinstance(d, int) else self.plain(d) for d in dims]
        arg = block.insert_arg(tensor(dims, dtype), index)
        self.inputs.append(values)
        names = symbols_of(dims)
        self.b.scope.bound |= names
        return self.remember(arg, values)

    def plain(self, d: SymExpr) -> Dim:
        """A dim that an input may have without binding new names."""
        if symbols_of([d]) == {str(d)} or symbols_of([d]) <= self.b.scope.bound:
            return d
        raise Misfit

    def remember(self, value: SSAValue, array: np.ndarray) -> SSAValue:
        self.arrays[value] = array
        self.pool.append(value)
        return value

    def pick(
        self, rule: Callable[[DType], bool] | None = None, low: int = 0, high: int = MAX_RANK
    ) -> SSAValue:
        """A value of the pool with a dtype that fits and a rank in range, or a new one."""
        fits = [
            v
            for v in self.pool
            if (rule is None or rule(element_type(v))) and low <= rank_of(v) <= high
        ]
        if fits and not self.chance(0.1):
            recent = fits[-4:]
            return self.choose(recent if self.chance(0.6) else fits)
        dtypes = [d for d in DTYPES if rule is None or rule(d)]
        self.need(bool(dtypes))
        ranks = [r for r in (0, 1, 1, 2, 2, 3, 4, 5) if low <= r <= high]
        return self.fresh(self.shape(self.choose(ranks)), self.choose(dtypes))

    def like(
        self,
        shape: Sequence[Dim | None],
        dtype: DType,
        exact: bool = True,
        values: Callable[[], np.ndarray] | None = None,
    ) -> SSAValue:
        """A value of a dtype and shape, or with `exact` off one that broadcasts to the shape."""
        if not exact:
            shape = list(shape)[self.choose((0, 0, 0, 1, len(shape))) :]
            shape = [1 if self.chance(0.2) else d for d in shape]
        type = tensor(shape, dtype) if None not in shape else None
        if values is None:
            fits = [v for v in self.pool if v.type == type]
            if fits and not self.chance(0.25):
                return self.choose(fits)
        return self.fresh(shape, dtype, None if values is None else values())

    # ------------------------------------------------------------------ ops

    def op(self, cls: type[GraphOp], *operands: Any, **params: Any) -> SSAValue:
        """Add an op and run it; gives its first result. Raises Misfit where either can't be."""
        try:
            made = self.b.build(cls, *operands, **params)
        except (VerifyException, ValueError, OverflowError) as e:
            raise Misfit from e
        return self.run(made)[0]

    def run(self, op: GraphOp) -> list[SSAValue]:
        """Run an op that was added, and remember its results."""
        try:
            results = self.results(op)
        except (ValueError, IndexError, ArithmeticError, RuntimeError, MemoryError) as e:
            Rewriter.erase_op(op)
            raise Misfit from e
        if any(r.size > MAX_ELEMENTS or r.ndim > MAX_RANK for r in results):
            Rewriter.erase_op(op)
            raise Misfit
        for value, array in zip(op.results, results, strict=True):
            self.check(value, array)
        return [self.remember(v, a) for v, a in zip(op.results, results, strict=True)]

    def results(self, op: GraphOp) -> list[np.ndarray]:
        if isinstance(op, graph.Constant):
            return [op.value.array]
        if isinstance(op, graph.ShapeExpr):
            return [np.array([evaluate(d, self.sizes) for d in op.exprs], np.int64)]
        if op.regions:
            return self.run_module(op)
        operands = [self.arrays[v] for v in op.operands]
        bound = op.clone()
        for p in op.STRUCTURAL:
            dims = getattr(op, p)
            if dims is not None:
                bound.set_param(p, [evaluate(d, self.sizes) for d in dims])
        used = graph.Yield.make(list(bound.results), result_types=[])  # none is left out as unused
        found = self.evaluator.evaluate(bound, operands)
        used.drop_all_references()
        bound.erase()
        return [np.array(r) for r in found]

    def run_module(self, op: GraphOp) -> list[np.ndarray]:
        """The results of control flow, which one op's operands don't decide."""
        mapper: dict[SSAValue, SSAValue] = {}
        module = self.finished(list(op.results), self.func.clone(mapper), mapper)
        return self.evaluator.run(module, self.inputs)

    def check(self, value: SSAValue, array: np.ndarray) -> None:
        """Learn the sizes of dims that were named after the fact; check the others."""
        shape = shape_of(value)
        where = f"{value.owner}: {array.dtype}{list(array.shape)}"
        if len(shape) != array.ndim or element_type(value).np != array.dtype:
            raise Contradiction(where)
        for d, size in zip(shape, array.shape, strict=True):
            if d is None:
                continue
            if isinstance(d, SymExpr) and str(d) in d.symbols():
                self.sizes.setdefault(str(d), size)
            if symbols_of([d]) <= self.sizes.keys() and evaluate(d, self.sizes) != size:
                raise Contradiction(f"{where}: {d} should be {evaluate(d, self.sizes)}")

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        """Add ops to a block of a region; what they make is unknown outside."""
        outer, pool = self.b, list(self.pool)
        self.b, self.depth = outer.in_block(block), self.depth + 1
        try:
            yield
        finally:
            made_outside = [v for v in self.pool if _block_of(v) is self.func.body.block]
            self.pool = [v for v in made_outside if v not in pool]
            self.pool = [*pool, *self.pool]
            self.b, self.depth = outer, self.depth - 1

    # ------------------------------------------------------------------ the end

    def finished(
        self, outputs: Sequence[SSAValue], func: FuncOp, mapper: dict[SSAValue, SSAValue]
    ) -> ModuleOp:
        names = [DictionaryAttr({NAME: StringAttr(f"x{i}")}) for i in range(len(func.args))]
        func.arg_attrs = ArrayAttr(names) if names else None
        finish_function(func, [(f"y{i}", mapper.get(v, v)) for i, v in enumerate(outputs)])
        return ModuleOp([func])

    def case(self, outputs: Sequence[SSAValue]) -> Case:
        """The module that returns some values."""
        arrays = [self.arrays[v] for v in outputs]
        module = self.finished(outputs, self.func, {})
        module.verify()
        return Case(module, self.inputs, arrays)


def _block_of(value: SSAValue) -> Block | None:
    owner = value.owner
    return owner if isinstance(owner, Block) else owner.parent
