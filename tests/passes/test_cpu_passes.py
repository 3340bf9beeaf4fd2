"""Schedules for CPUs and what goes with them: packed weights, padded images, lists of places."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.cpp.backend import CppBackend
from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.constants import DenseAttr
from aicc.ir.dtypes import dtype_of, i32
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.symbols import sym
from aicc.ir.types import shape_of, tensor
from aicc.pipeline import PassManager, parse_pipeline
from aicc.verify import sample_inputs
from tests.backends.test_kernels import module_of

NUMPY = NumpyBackend()
CPP = CppBackend(NUMPY)


def run_passes(module: ModuleOp, pipeline: str) -> ModuleOp:
    context = CompileContext(evaluator=NUMPY, target=CPP.description)
    PassManager(parse_pipeline(pipeline), context).run(module)
    module.verify()
    return module


def kernels(module: ModuleOp) -> list[tile.Kernel]:
    return [op for op in module.ops if isinstance(op, tile.Kernel)]


def product(m: int, k: int, n: int, constant: bool = True) -> ModuleOp:
    weight = np.random.default_rng(0).standard_normal((k, n), np.float32)

    def body(b, x, *rest):
        w = rest[0] if rest else b.constant(DenseAttr.make(weight, "w").array, "f32", "w")
        return [b.emit(graph.Relu, b.emit(graph.MatMul, x, w))]

    types = [tensor((m, k), "f32"), *([] if constant else [tensor((k, n), "f32")])]
    return module_of(body, *types)


SCHEDULED = "fuse,lower-to-tile,dce,schedule-cpu{threads=2}"


@pytest.mark.parametrize("m, k, n", [(128, 768, 3072), (1, 512, 512), (100, 1440, 1000), (7, 9, 5)])
def test_blocks_cover_the_product_and_keep_threads_busy(m, k, n):
    (kernel,) = kernels(run_passes(product(m, k, n), SCHEDULED))
    s = kernel.schedule
    assert kernel.origin == "modelled for a CPU"
    assert s["BLOCK_M"] * s["BLOCK_N"] <= 128 * 512
    programs = -(-m // s["BLOCK_M"]) * -(-n // s["BLOCK_N"])
    assert programs % 2 == 0 or m * n * k < 1 << 20


@pytest.mark.parametrize("n", [64, 1000, 3072])
def test_constant_weights_lie_in_panels(n):
    module = product(96, 768, n)
    inputs = sample_inputs(module)
    want = NUMPY.run(module, inputs)
    run_passes(module, f"{SCHEDULED},pack-weights,dce")
    (constant,) = [op for op in main_of(module).walk() if isinstance(op, graph.Constant)]
    assert shape_of(constant.result) == (-(-n // 64), 768, 64)
    for run in (NUMPY.run, lambda m, i: CPP.load(m)(*i)):
        np.testing.assert_allclose(run(module, inputs)[0], want[0], rtol=1e-4, atol=1e-4)
    assert "panels<float>" in CPP.load(module).source


@pytest.mark.parametrize("dtype, group", [("bf16", 2), ("i8", 4)])
@pytest.mark.parametrize("m, k, n", [(96, 768, 64), (7, 50, 1000), (130, 1500, 130), (1, 40, 9)])
def test_of_narrow_weights_those_of_a_group_lie_side_by_side(m, k, n, dtype, group):
    """They fill 32 bits; what is summed over is filled up to 64 bytes."""
    weight = np.random.default_rng(0).integers(-99, 99, (k, n)).astype(dtype_of(dtype).np)
    out = {"out_dtype": i32} if dtype == "i8" else {}

    def body(b, x):
        return [b.emit(graph.MatMul, x, b.constant(weight, dtype, "w"), **out)]

    module = module_of(body, tensor((m, k), dtype))
    inputs = sample_inputs(module)
    want = NUMPY.run(module, inputs)
    run_passes(module, f"{SCHEDULED},pack-weights,dce")
    (constant,) = [op for op in main_of(module).walk() if isinstance(op, graph.Constant)]
    deep = -(-k // (16 * group)) * 16
    assert shape_of(constant.result) == (-(-n // 64), deep, 64, group)
    for run in (NUMPY.run, lambda m, i: CPP.load(m)(*i)):
        found = np.asarray(run(module, inputs)[0], np.float64)
        np.testing.assert_allclose(found, np.asarray(want[0], np.float64), rtol=1e-2, atol=1e-2)
    assert "panels<" in CPP.load(module).source


@pytest.mark.parametrize("m, k, n, rows", [(3136, 64, 256, True), (49, 512, 2048, False)])
def test_threads_take_rows_where_weights_are_small(m, k, n, rows):
    """Else columns: then each reads a part of the weights."""
    (kernel,) = kernels(run_passes(product(m, k, n), SCHEDULED))
    s = kernel.schedule
    assert s["BLOCK_N"] % 64 == 0
    tiles_m = -(-m // s["BLOCK_M"])
    assert s["GROUP_M"] == (1 if rows else tiles_m)
    assert tiles_m >= 2 if rows else n // s["BLOCK_N"] >= 2


def test_weights_that_are_inputs_stay():
    module = run_passes(product(96, 768, 256, constant=False), f"{SCHEDULED},pack-weights,dce")
    (kernel,) = kernels(module)
    assert [a.type.shape for a in kernel.body.block.args][1] == (768, 256)  # type: ignore[union-attr]


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2]),
    batch=st.integers(1, 2),
    channels=st.sampled_from([6, 32]),
    constant=st.booleans(),
)
def test_padded_images_read_by_places_change_nothing(
    size, taps, stride, pads, dilations, groups, batch, channels, constant
):
    reach = [(t - 1) * d + 1 for t, d in zip(taps, dilations, strict=True)]
    pads = [min(p, r) for p, r in zip(pads, reach * 2, strict=True)]
    if any(size[i] + pads[i] + pads[2 + i] < reach[i] for i in range(2)):
        return

    weight = np.random.default_rng(0).standard_normal((channels, 4 // groups, *taps), np.float32)

    def body(b, x, bias, *rest):
        w = rest[0] if rest else b.constant(DenseAttr.make(weight, "w").array, "f32", "w")
        y = b.emit(graph.Conv, x, w, bias, strides=[stride, stride], pads=pads,
                   dilations=list(dilations), groups=groups)  # fmt: skip
        return [b.emit(graph.Relu, y)]

    types = [(batch, 4, *size), (channels,), *([] if constant else [weight.shape])]
    module = module_of(body, *(tensor(t, "f32") for t in types))
    inputs = sample_inputs(module)
    want = NUMPY.run(module, inputs)
    run_passes(module, "fuse,pad-images,lower-to-tile,dce,schedule-cpu{threads=2},pack-weights")
    for run in (NUMPY.run, lambda m, i: CPP.load(m)(*i)):
        np.testing.assert_allclose(run(module, inputs)[0], want[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels, packed", [(96, True), (40, True), (8, False)])
def test_weights_of_convolutions_lie_in_panels_where_rows_fill_vectors(channels, packed):
    weight = np.random.default_rng(0).standard_normal((channels, 64, 1, 1), np.float32)

    def body(b, x):
        w = b.constant(DenseAttr.make(weight, "w").array, "f32", "w")
        return [b.emit(graph.Conv, x, w, None, strides=[1, 1], pads=[0] * 4, dilations=[1, 1],
                       groups=1)]  # fmt: skip

    module = module_of(body, tensor((2, 64, 7, 7), "f32"))
    inputs = sample_inputs(module)
    want = NUMPY.run(module, inputs)
    run_passes(module, f"{SCHEDULED},pack-weights,dce")
    (constant,) = [op for op in main_of(module).walk() if isinstance(op, graph.Constant)]
    shape = (-(-channels // 64), 64, 64) if packed else weight.shape
    assert shape_of(constant.result) == shape
    assert ("places<float>" in CPP.load(module).source) == packed
    np.testing.assert_allclose(CPP.load(module)(*inputs)[0], want[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "batch, size, taps, grid", [(6, 10, 8, [1]), (6, 12, 8, [6]), (1, 9, 8, [1])]
)
def test_places_of_all_images_are_columns_together_where_they_are_few(batch, size, taps, grid):
    """As the gradient of a convolution's weight has them: those of a tap are one column."""
    weight = np.random.default_rng(0).standard_normal((20, 5, taps, taps), np.float32)

    def body(b, x):
        w = b.constant(weight, "f32", "w")
        return [b.emit(graph.Conv, x, w, strides=[1, 1], pads=[0, 1, 0, 0],
                       dilations=[1, 1], groups=1)]  # fmt: skip

    module = module_of(body, tensor((batch, 5, size, size), "f32"))
    inputs = sample_inputs(module)
    want = NUMPY.run(module, inputs)
    run_passes(module, SCHEDULED)
    (kernel,) = kernels(module)
    assert list(kernel.grid)[:-1] == ([] if grid == [1] else grid)
    for run in (NUMPY.run, lambda m, i: CPP.load(m)(*i)):
        np.testing.assert_allclose(run(module, inputs)[0], want[0], rtol=1e-4, atol=1e-4)


def test_images_of_a_size_that_is_not_known_are_blocks_of_their_own():
    def body(b, x, w):
        return [b.emit(graph.Conv, x, w, strides=[1, 1], pads=[0] * 4, dilations=[1, 1], groups=1)]

    module = module_of(body, tensor((sym("s0"), 5, 12, 12), "f32"), tensor((20, 5, 3, 3), "f32"))
    run_passes(module, "fuse,lower-to-tile,dce")
    (kernel,) = kernels(module)
    assert str(kernel.grid[0]) == "s0"


def test_an_image_that_is_summed_along_its_rows_is_read_along_them():
    """Its array has columns side by side; three places of the output are too few for vectors."""

    def body(b, x, w):
        return [b.emit(graph.Conv, x, w, strides=[1, 1], pads=[1, 1, 1, 1],
                       dilations=[1, 1], groups=1)]  # fmt: skip

    module = module_of(body, tensor((8, 16, 24, 24), "f32"), tensor((32, 16, 24, 24), "f32"))
    inputs = sample_inputs(module)
    want = NUMPY.run(module, inputs)
    run_passes(module, SCHEDULED)
    program = CPP.load(module)
    assert re.search(r"dot\(.*matrix<float>\{.*matrix<float>\{\w+, 1, \d+\}", program.source)
    np.testing.assert_allclose(program(*inputs)[0], want[0], rtol=1e-4, atol=1e-3)
