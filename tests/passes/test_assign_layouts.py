"""Layouts: results stay, transposes go, and the assignment is the cheapest there is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir import graph
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.types import rank_of, shape_of, tensor
from aicc.passes.layouts.problem import Problem
from aicc.passes.layouts.rules import allows, identity, layout_rank
from aicc.passes.layouts.solve import solved
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import module_of

NUMPY = NumpyBackend()
SIZE = 4
WINDOW = {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1]}
POOL = {"kernel_shape": [3, 3], **WINDOW}


ELEMENTS = ("relu", "add", "bias", "pick")
KINDS = (*ELEMENTS, "turn", "turn", "conv", "pool", "concat", "reduce", "wall")


def weight(rng: np.random.Generator, channels: int = SIZE) -> np.ndarray:
    return rng.normal(0, 0.3, (channels, channels, 3, 3)).astype(np.float32)


def random_module(seed: int, most: int = 12) -> ModuleOp:
    """Up to so many ops on images of one size: elements, windows, transposes, barriers."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, most + 1))

    def body(b, x):
        values = [x]
        turns = [(0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2)]
        while sum(1 for op in x.owner.ops if not isinstance(op, graph.Constant)) < count:
            v, u = (values[int(i)] for i in rng.integers(0, len(values), 2))
            kind = rng.choice(KINDS)
            if kind == "relu":
                made = b.emit(graph.Relu, v)
            elif kind == "add":
                made = b.emit(graph.Add, v, u)
            elif kind == "turn":
                made = b.transpose(v, turns[int(rng.integers(0, 3))])
            elif kind == "conv":
                made = b.emit(graph.Conv, v, b.constant(weight(rng)), None, **WINDOW)
            elif kind == "pool":
                made = b.emit(graph.AvgPool, v, **POOL)
            elif kind == "concat":
                both = b.emit(graph.Concat, [v, u], axis=1)
                made = b.slice(both, 1, 2, 2 + SIZE)
            elif kind == "reduce":
                made = b.emit(graph.Sub, v, b.emit(graph.ReduceMax, v, axes=[1], keepdims=True))
            elif kind == "bias":
                made = b.emit(graph.Mul, v, b.constant(rng.normal(0, 1, (SIZE, 1, 1)).astype("f4")))
            elif kind == "pick":
                index = b.constant(rng.integers(0, SIZE, SIZE))
                made = b.emit(graph.Gather, v, index, axis=int(rng.integers(1, 4)))
            else:
                made = b.reshape(b.reshape(v, [SIZE**4]), [SIZE] * 4)
            values.append(made)
        ends = [v for v in values if v.first_use is None] or [values[-1]]
        return ends[:3]

    return module_of(body, tensor([SIZE] * 4, "f32"))


def problem_of(module: ModuleOp, seed: int) -> Problem:
    """With convolutions and poolings that prefer one layout or the other, more or less."""
    rng = np.random.default_rng(seed + 1)
    size = 4 * SIZE**4
    known: dict[Operation, float] = {}

    def cost(op: Operation, last: bool) -> float:
        if not isinstance(op, (graph.Conv, graph.AvgPool)):
            return 0.0
        likes_last = known.setdefault(op, float(rng.choice([-1, 1, 1]) * rng.choice([1, 3, 9])))
        return max(-likes_last if last else likes_last, 0.0) * size

    return Problem.of(main_of(module).body.block, cost)


def optimum(problem: Problem) -> float:
    """The least cost of all assignments, by integer programming."""
    labels: dict[Any, list] = {
        op: [p for p in itertools.permutations(range(layout_rank(op))) if allows(op, p)]
        for op in problem.ops
    }
    costs: list[float] = []
    chosen: dict[tuple[Operation, tuple], int] = {}
    for op, options in labels.items():
        for label in options:
            chosen[op, label] = len(costs)
            costs.append(problem.own_cost(op, label))
    rows: list[dict[int, float]] = []
    least: list[float] = []
    most: list[float] = []
    for op, options in labels.items():
        rows.append({chosen[op, p]: 1.0 for p in options})
        least.append(1.0)
        most.append(1.0)
    fixed = 0.0
    for value, uses in problem.uses.items():
        owner = value.owner
        free = isinstance(owner, Operation) and owner in labels and value is owner.results[0]
        free = free and layout_rank(owner) == rank_of(value)  # type: ignore[arg-type]
        converted: dict[tuple, int] = {}
        for use in uses:
            options = labels.get(use.user, [None])
            for label in options:
                wanted = problem.wanted(use, label)
                made = chosen.get((owner, wanted)) if free else None  # type: ignore[arg-type]
                if not free and wanted == identity(rank_of(value)):
                    continue
                if wanted not in converted:
                    converted[wanted] = len(costs)
                    costs.append(problem.weights[value])
                row = {converted[wanted]: 1.0}
                bound = 0.0
                if label is None:
                    bound = 1.0
                else:
                    index = chosen[use.user, label]
                    row[index] = row.get(index, 0.0) - 1.0
                if made is not None:
                    row[made] = row.get(made, 0.0) + 1.0
                rows.append(row)
                least.append(bound)
                most.append(np.inf)
    if not costs:
        return fixed
    matrix = np.zeros((len(rows), len(costs)))
    for i, row in enumerate(rows):
        for j, c in row.items():
            matrix[i, j] = c
    limits: Any = (least, most)
    done = milp(
        np.array(costs),
        constraints=LinearConstraint(matrix, *limits),
        integrality=np.ones(len(costs)),
        bounds=(0, 1),
    )
    assert done.success, done.message
    return float(done.fun)


def test_assignments_are_the_cheapest():
    """On 500 graphs of up to 12 ops: never worse than nothing, the optimum in 95 of 100."""
    best = 0
    for seed in range(500):
        module = random_module(seed)
        problem = problem_of(module, seed)
        found = problem.cost(solved(problem))
        assert found <= problem.cost(problem.nothing())
        least = optimum(problem)
        assert found >= least - 1e-6, "cheaper than the cheapest"
        best += found <= least + 1e-6
    assert best >= 475


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("layout", ["auto", "nchw", "nhwc"])
def test_results_stay(layout, seed):
    module = random_module(seed)
    x = np.random.default_rng(seed).normal(0, 1, [SIZE] * 4).astype(np.float32)
    want = NUMPY.run(module, [x])
    problem = problem_of(module, seed)
    description = replace(NUMPY.description, layout_cost=problem.op_cost)
    context = CompileContext(evaluator=NUMPY, target=description)
    PassManager(parse_pipeline(f"assign-layouts{{layout={layout}}}"), context).run(module)
    for a, b in zip(NUMPY.run(module, [x]), want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    for op in module.walk():
        if isinstance(op, graph.Conv) and layout != "auto":
            assert op.layout == layout


def from_tensorflow(b, x):
    """Convolutions of images with channels last, each between two transposes."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = b.transpose(x, (0, 3, 1, 2))
        x = b.emit(graph.Conv, x, b.constant(weight(rng)), None, **WINDOW)
        x = b.transpose(x, (0, 2, 3, 1))
        x = b.emit(graph.Add, x, b.constant(rng.normal(0, 1, SIZE).astype(np.float32)))
        x = b.emit(graph.Relu, x)
    return [b.emit(graph.ReduceMean, x, axes=[1, 2])]


@pytest.mark.parametrize("layout, ends", [("nchw", 1), ("nhwc", 0), ("auto", 0)])
def test_transposes_inside_are_gone(layout, ends):
    module = module_of(from_tensorflow, tensor((2, 5, 6, SIZE), "f32"))
    x = np.random.default_rng(0).normal(0, 1, (2, 5, 6, SIZE)).astype(np.float32)
    (want,) = NUMPY.run(module, [x])
    context = CompileContext(evaluator=NUMPY, remarks=[])
    PassManager(parse_pipeline(f"assign-layouts{{layout={layout}}}"), context).run(module)
    left = [op for op in module.walk() if isinstance(op, graph.Transpose)]
    assert len(left) == ends == len(context.remarks or [])
    (found,) = NUMPY.run(module, [x])
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


def test_a_large_graph():
    """4,500 ops, all in one region: linear in their number, or it would take hours."""

    def body(b, x):
        w = b.constant(np.ones((4, 4, 1, 1), np.float32))
        for i in range(1500):
            y = b.emit(graph.Conv, b.emit(graph.Relu, x), w, None, **{**WINDOW, "pads": [0] * 4})
            x = b.emit(graph.Add, x, y) if i % 2 else y
        return [x]

    module = module_of(body, tensor((1, 4, 8, 8), "f32"))
    description = replace(NUMPY.description, layout_cost=lambda op, last: 0.0 if last else 1e6)
    PassManager(parse_pipeline("assign-layouts"), CompileContext(target=description)).run(module)
    convs = [op for op in module.walk() if isinstance(op, graph.Conv)]
    assert len(convs) == 1500 and all(op.layout == "nhwc" for op in convs)
    assert shape_of(main_of(module).args[0]) == (1, 4, 8, 8)
