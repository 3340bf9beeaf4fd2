"""Random well-typed modules, drawn by hypothesis, for tests of laws."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from aicc.backends.numpy.backend import NumpyBackend
from aicc.backends.numpy.runtime import RunError
from aicc.ir import graph
from aicc.ir.asm import print_module
from aicc.ir.builder import GraphBuilder, SymbolScope
from aicc.ir.dtypes import f32, i1, i64
from aicc.ir.module import finish_function, new_function
from aicc.ir.symbols import evaluate, sym
from aicc.ir.types import element_type, rank_of, shape_of, tensor

SIZES = {"n": 4, "m": 1}
"""What the symbolic dims are in the inputs."""

BACKEND = NumpyBackend()

UNARY = (graph.Neg, graph.Abs, graph.Relu, graph.Tanh, graph.Sigmoid, graph.Sign, graph.Floor)
BINARY = (graph.Add, graph.Sub, graph.Mul, graph.Max, graph.Min)
COMPARE = (graph.Lt, graph.Ge, graph.Eq)
REDUCE = (graph.ReduceSum, graph.ReduceMean, graph.ReduceMax, graph.ReduceMin, graph.ReduceProd)


class Drawn:
    """A module, inputs that fit it, and the outputs that they give."""

    def __init__(
        self, module: ModuleOp, inputs: list[np.ndarray], outputs: list[np.ndarray]
    ) -> None:
        self.module, self.inputs, self.outputs = module, inputs, outputs

    def __repr__(self) -> str:
        return f"{print_module(self.module)}\n{self.inputs}"


def values(rng: np.random.Generator, shape, dtype) -> np.ndarray:
    """Small numbers, with zeros, ones and repeated values among them: what patterns look for."""
    if dtype == i1:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype == i64:
        return rng.integers(-3, 4, shape)
    picked = rng.choice([0.0, 1.0, -1.0, 0.5, 2.0, -0.0, 3.25], shape)
    noise = rng.normal(0, 1, shape)
    return np.where(rng.random(shape) < 0.5, picked, noise).astype(np.float32)


class Maker:
    """Adds one random op after another."""

    def __init__(self, draw, builder: GraphBuilder, rng: np.random.Generator):
        self.draw, self.b, self.rng = draw, builder, rng
        self.pool: list[SSAValue] = []

    def pick(self, dtype=None, rank_at_least: int = 0) -> SSAValue | None:
        fits = [
            v
            for v in self.pool
            if (dtype is None or element_type(v) == dtype) and rank_of(v) >= rank_at_least
        ]
        return self.draw(st.sampled_from(fits)) if fits else None

    def constant(self) -> SSAValue:
        shape = self.draw(st.sampled_from([(), (1,), (4,), (3, 4), (1, 4), (2, 1, 4)]))
        dtype = self.draw(st.sampled_from([f32, f32, i64]))
        return self.b.constant(values(self.rng, shape, dtype))

    def step(self) -> SSAValue | None:
        kind = self.draw(st.sampled_from(STEPS))
        return kind(self)

    def unary(self) -> SSAValue | None:
        x = self.pick(f32)
        return None if x is None else self.b.emit(self.draw(st.sampled_from(UNARY)), x)

    def binary(self) -> SSAValue | None:
        x = self.pick()
        if x is None or element_type(x) == i1:
            return None
        y = self.pick(element_type(x))
        cls = self.draw(st.sampled_from((*BINARY, *COMPARE)))
        return None if y is None else self.b.emit(cls, x, y)

    def select(self) -> SSAValue | None:
        c, x = self.pick(i1), self.pick(f32)
        y = self.pick(f32)
        return None if c is None or x is None else self.b.emit(graph.Select, c, x, y)

    def cast(self) -> SSAValue | None:
        x = self.pick()
        to = self.draw(st.sampled_from([f32, i64]))
        if x is None or (element_type(x) == f32 and to == i64):
            return None
        return self.b.cast(x, to)

    def reduce(self) -> SSAValue | None:
        x = self.pick(f32, 1)
        if x is None:
            return None
        axes = self.draw(st.sets(st.integers(0, rank_of(x) - 1), min_size=1))
        cls = self.draw(st.sampled_from(REDUCE))
        return self.b.emit(cls, x, axes=sorted(axes), keepdims=self.draw(st.booleans()))

    def transpose(self) -> SSAValue | None:
        x = self.pick(None, 2)
        if x is None:
            return None
        return self.b.transpose(x, self.draw(st.permutations(range(rank_of(x)))))

    def reshape(self) -> SSAValue | None:
        x = self.pick()
        if x is None:
            return None
        choice = self.draw(st.integers(0, 2))
        if choice == 0:
            return self.b.reshape(x, [-1])
        if choice == 1:
            return self.b.unsqueeze(x, [self.draw(st.integers(0, rank_of(x)))])
        ones = [i for i, d in enumerate(shape_of(x)) if d == 1]
        return self.b.squeeze(x, ones[:1]) if ones else None

    def slice(self) -> SSAValue | None:
        x = self.pick(None, 1)
        if x is None:
            return None
        axis = self.draw(st.integers(0, rank_of(x) - 1))
        start, limit = self.draw(st.integers(-2, 2)), self.draw(st.sampled_from([2, 9, -1, 2**62]))
        steps = [self.draw(st.sampled_from([1, 1, 2, -1]))]
        return self.b.emit(graph.Slice, x, axes=[axis], starts=[start], limits=[limit], steps=steps)

    def concat(self) -> SSAValue | None:
        x = self.pick(None, 1)
        if x is None:
            return None
        same = [v for v in self.pool if v.type == x.type]
        return self.b.emit(graph.Concat, [x, self.draw(st.sampled_from(same))], axis=0)

    def pad(self) -> SSAValue | None:
        x = self.pick(f32, 1)
        if x is None:
            return None
        n = rank_of(x)
        low, high = ([self.draw(st.integers(0, 1)) for _ in range(n)] for _ in range(2))
        return self.b.emit(graph.Pad, x, self.b.scalar_like(0.5, x), low=low, high=high)

    def expand(self) -> SSAValue | None:
        x = self.pick()
        if x is None or None in shape_of(x):
            return None
        return self.b.expand(x, [2, *(d for d in shape_of(x) if d is not None)])

    def matmul(self) -> SSAValue | None:
        x, y = self.pick(f32, 2), self.pick(f32, 2)
        return None if x is None or y is None else self.b.emit(graph.MatMul, x, y)

    def projections(self) -> SSAValue | None:
        """Products of one operand, normed or not, with one or two weights."""
        x = self.pick(f32, 2)
        if x is None or not isinstance(depth := shape_of(x)[-1], int) or depth < 1:
            return None
        axis = rank_of(x) - 1
        norm = self.draw(st.sampled_from([None, graph.RMSNorm, graph.LayerNorm]))
        if norm is not None:
            scale = self.b.constant(values(self.rng, (depth,), f32))
            x = self.b.emit(norm, x, scale, axis=axis, epsilon=0.1)
        columns = self.draw(st.sampled_from([1, 4, depth]))
        for _ in range(self.draw(st.integers(1, 2))):
            weight = self.b.constant(values(self.rng, (depth, columns), f32))
            self.pool.append(self.b.emit(graph.MatMul, x, weight))
        return self.pool.pop()

    def composite(self) -> SSAValue | None:
        x = self.pick(f32, 1)
        if x is None:
            return None
        cls = self.draw(st.sampled_from([graph.Softmax, graph.LogSoftmax, graph.Gelu, graph.Silu]))
        if cls in (graph.Softmax, graph.LogSoftmax):
            return self.b.emit(cls, x, axis=self.draw(st.integers(0, rank_of(x) - 1)))
        return self.b.emit(cls, x)


STEPS = (
    Maker.unary,
    Maker.unary,
    Maker.binary,
    Maker.binary,
    Maker.binary,
    Maker.select,
    Maker.cast,
    Maker.reduce,
    Maker.transpose,
    Maker.transpose,
    Maker.reshape,
    Maker.reshape,
    Maker.slice,
    Maker.concat,
    Maker.pad,
    Maker.expand,
    Maker.matmul,
    Maker.projections,
    Maker.composite,
    Maker.constant,
)

SHAPES = (("n", 4), (3, 4), (1, 4), ("m", "n"), (2, 3, 4), (4,), ())


@st.composite
def modules(draw, inputs: int = 3, steps: int = 14) -> Drawn:
    """A module of up to `steps` ops on `inputs` inputs (0: on constants only)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signature = []
    for i in range(inputs):
        shape = draw(st.sampled_from(SHAPES))
        dims = [sym(d) if isinstance(d, str) else d for d in shape]
        signature.append((f"x{i}", tensor(dims, draw(st.sampled_from([f32, f32, i64])))))
    func = new_function("main", signature)
    bound = {s for _, t in signature for d in shape_of(t) if not isinstance(d, int) and d
             for s in d.symbols()}  # fmt: skip
    maker = Maker(draw, GraphBuilder(func.body.block, scope=SymbolScope(bound)), rng)
    maker.pool += func.args
    while len(maker.pool) < 3:
        maker.pool.append(maker.constant())
    for _ in range(draw(st.integers(1, steps))):
        try:
            made = maker.step()
        except (VerifyException, ValueError):  # operands that don't fit each other
            made = None
        if made is not None and small(made):
            maker.pool.append(made)
    results = draw(st.lists(st.sampled_from(maker.pool), min_size=1, max_size=3))
    finish_function(func, [(f"y{i}", v) for i, v in enumerate([*results, maker.pool[-1]])])
    module = ModuleOp([func])
    module.verify()
    arrays = [
        values(rng, [evaluate(d, SIZES) for d in shape_of(t)], element_type(a))  # type: ignore
        for a, (_, t) in zip(func.args, signature, strict=True)
    ]
    try:
        outputs = BACKEND.run(module, arrays)
    except RunError:  # symbolic sizes that broadcast for other numbers only
        assume(False)
        raise
    return Drawn(module, arrays, outputs)


def small(value: SSAValue) -> bool:
    """Whether the value has few elements, so that examples stay quick."""
    sizes = [4 if d is None else evaluate(d, {**SIZES, **_others(d)}) for d in shape_of(value)]
    return math.prod(sizes) <= 4096 and len(sizes) <= 5


def _others(d) -> dict[str, int]:
    return {} if isinstance(d, int) else {s: 3 for s in d.symbols() if s not in SIZES}
