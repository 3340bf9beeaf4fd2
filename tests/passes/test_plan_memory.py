"""Memory planning: buffers that live at the same time don't overlap, dead ones are used again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import f32
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import finish_function, main_of, new_function
from aicc.ir.symbols import Dim, evaluate, maximum, sym
from aicc.ir.types import tensor
from aicc.passes.arena import Block, place, stacked
from aicc.pipeline import PassManager, parse_pipeline

NUMPY = NumpyBackend()

intervals = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 8), st.integers(1, 20), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)


def overlap(blocks: list[Block], offsets: list[int], sizes: list[int]) -> bool:
    """Whether two blocks that live at the same time share a byte."""
    for i, a in enumerate(blocks):
        for j, b in enumerate(blocks[:i]):
            together = a.first <= b.last and b.first <= a.last
            below = offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]
            if together and not below:
                return True
    return False


@given(intervals)
def test_blocks_do_not_overlap(drawn):
    blocks = [Block(first, first + steps, 256 * size) for first, steps, size, _ in drawn]
    sizes = [256 * size for _, _, size, _ in drawn]
    offsets = place(blocks, sizes)
    assert not overlap(blocks, offsets, sizes)
    most = max(
        sum(s for b, s in zip(blocks, sizes, strict=True) if b.first <= step <= b.last)
        for step in range(40)
    )
    height = max(o + s for o, s in zip(offsets, sizes, strict=True))
    assert most <= height <= sum(sizes)


@given(intervals, st.integers(0, 9), st.integers(0, 9))
def test_symbolic_blocks_do_not_overlap_at_any_size(drawn, s, t):
    kinds: list[Dim] = [1, sym("s"), sym("t"), sym("s") * sym("t")]
    blocks = [Block(first, first + steps, kinds[kind] * size) for first, steps, size, kind in drawn]
    typical = [evaluate(b.bytes, {"s": 8, "t": 8}) for b in blocks]
    offsets = stacked(blocks, place(blocks, typical))
    known = [(b, o) for b, o in zip(blocks, offsets, strict=True) if o is not None]
    at = {"s": s, "t": t}
    kept, places = [b for b, _ in known], [evaluate(o, at) for _, o in known]
    assert not overlap(kept, places, [evaluate(b.bytes, at) for b in kept])


def test_symbolic_offsets_equal_the_fixed_ones_at_the_typical_size():
    n = sym("n")
    blocks = [Block(0, 2, n * 4), Block(1, 3, n * 8), Block(3, 5, n * 4), Block(4, 6, n * 8)]
    sizes = [evaluate(b.bytes, {"n": 64}) for b in blocks]
    fixed = place(blocks, sizes)
    found = stacked(blocks, fixed)
    assert [evaluate(o, {"n": 64}) for o in found if o is not None] == fixed
    assert str(maximum(*(o + b.bytes for o, b in zip(found, blocks, strict=True) if o is not None)))


def planned(module: ModuleOp, spec: str = "plan-memory") -> ModuleOp:
    context = CompileContext(evaluator=NUMPY)
    PassManager(parse_pipeline(f"fuse,lower-to-tile,dce,{spec}"), context).run(module)
    return module


def chain(size: int = 64, layers: int = 6) -> ModuleOp:
    """Products in pairs, each pair added to what it was made from."""
    types = [tensor((size, size), "f32")] * 2
    func = new_function("main", [("x", types[0]), ("w", types[1])])
    b = GraphBuilder(func.body.block)
    x, w = func.args
    for _ in range(layers):
        h = b.emit(graph.Relu, b.emit(graph.MatMul, x, w))
        x = b.emit(graph.Add, x, b.emit(graph.MatMul, h, w))
    finish_function(func, [("y", x)])
    return ModuleOp([func])


def test_a_residual_stream_is_written_in_place():
    for spec, tensors in (("plan-memory", 2), ("plan-memory{in_place=false}", 3)):
        func = main_of(planned(chain(), spec))
        assert tile.arena_bytes(func) == tensors * 64 * 64 * 4 == tile.most_live_bytes(func)


def test_elements_are_overwritten_only_where_nothing_else_reads_them():
    def body(b, x, w):
        y = b.emit(graph.Exp, b.emit(graph.MatMul, x, w))
        z = b.emit(graph.Softmax, b.emit(graph.MatMul, y, w), axis=1)
        turned = b.emit(graph.Transpose, z, permutation=(1, 0))
        return b.emit(graph.Add, b.emit(graph.MatMul, b.emit(graph.Relu, z), w), turned)

    func = new_function("main", [("x", tensor((48, 48), "f32")), ("w", tensor((48, 48), "f32"))])
    finish_function(func, [("y", body(GraphBuilder(func.body.block), *func.args))])
    module = ModuleOp([func])
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(48, 48)).astype(np.float32) for _ in range(2)]
    want = NUMPY.run(module, inputs)
    for spec in ("plan-memory", "plan-memory{in_place=false}"):
        made = planned(module.clone(), spec)
        np.testing.assert_allclose(NUMPY.run(made, inputs)[0], want[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 40])
def test_results_outlive_the_arena(layers):
    """What is returned is in memory of its own: a second call doesn't change it."""
    module = planned(chain(16, layers))
    run = NUMPY.load(module)
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=(16, 16)).astype(np.float32) / 4 for _ in range(2))
    (first,) = run(x, w)
    kept = first.copy()
    run(x + 1, w)
    np.testing.assert_array_equal(first, kept)


def test_sizes_that_data_tells():
    """A buffer whose size is known only once its operand is there is made where it is written."""
    func = new_function("main", [("x", tensor((5, 5), "f32"))])
    b = GraphBuilder(func.body.block)
    b.names_dims = True
    places = b.emit(graph.Cast, b.emit(graph.NonZero, *func.args), to=f32)
    made = b.emit(graph.Exp, b.emit(graph.ReduceSum, places, axes=(0,), keepdims=False))
    finish_function(func, [("y", b.emit(graph.Softmax, made, axis=0))])
    module = ModuleOp([func])
    x = np.eye(5, dtype=np.float32)
    want = NUMPY.run(module, [x])
    made = planned(module)
    assert any(isinstance(op, tile.Launch) for op in main_of(made).body.block.ops)
    np.testing.assert_allclose(NUMPY.run(made, [x])[0], want[0], rtol=1e-6)
