"""Products of few rows with operands that are computed: summed as they are, never in an array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

import aicc
from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.dtypes import dtype_of
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.passes.schedules import Rules
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import CPP, module_of, run_cpp

NUMPY = NumpyBackend()
RNG = np.random.default_rng(0)


def product(m: int, k: int, n: int, dtype: str, scaled: bool) -> ModuleOp:
    """x[m, k] @ (w[k, n] in float32, a scale a column), and a ReLU."""
    weight = RNG.integers(-9, 10, (k, n))
    weight = np.abs(weight).astype("u1") if dtype == "ui8" else weight
    weight = weight.astype(dtype_of(dtype).np)
    scale = RNG.uniform(0.5, 2, (1, n)).astype(np.float32)

    def body(b, x):
        w = b.emit(graph.Cast, b.constant(weight, dtype, "w"), to=dtype_of("f32"))
        w = b.emit(graph.Mul, w, b.constant(scale, "f32", "scale")) if scaled else w
        return [b.emit(graph.Relu, b.emit(graph.MatMul, x, w))]

    return module_of(body, tensor((m, k), "f32"))


def scheduled(module: ModuleOp, **blocks: int) -> ModuleOp:
    context = CompileContext(evaluator=NUMPY, target=CPP.description, remarks=[])
    passes = "fuse,dce,lower-to-tile,dce,schedule-cpu{threads=2}"
    PassManager(parse_pipeline(passes), context).run(module)
    (kernel,) = [op for op in module.ops if isinstance(op, tile.Kernel)]
    other = {**kernel.schedule, **blocks}
    if Rules(kernel).stays_inside(other):
        kernel.set_param("schedule", other)
    return module


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 4),
    st.sampled_from([2, 7, 8, 64, 129]),
    st.sampled_from([16, 33, 128, 200]),
    st.sampled_from(["i8", "ui8", "i32", "f16"]),
    st.booleans(),
    st.sampled_from([16, 64, 1024]),
)
def test_any_size(m, k, n, dtype, scaled, block_k):
    """Also where blocks of columns and of what is summed over end early, or there are several."""
    module = product(m, k, n, dtype, scaled)
    inputs = [RNG.standard_normal((m, k)).astype(np.float32)]
    (want,) = NUMPY.run(module, inputs)
    scheduled(module, BLOCK_K=block_k, BLOCK_N=64)
    assert "up_to_eight" in CPP.load(module).source
    for got in (NUMPY.run(module, inputs), run_cpp(module, inputs)):
        np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("m, thin", [(4, True), (5, False)])
def test_more_rows_are_worth_an_array(m, thin):
    source = CPP.load(scheduled(product(m, 64, 128, "i8", True))).source
    assert ("up_to_eight" in source) == thin


def test_operands_in_memory_are_read_there():
    module = module_of(
        lambda b, x, w: [b.emit(graph.MatMul, x, w)],
        *(tensor(s, "f32") for s in ((1, 64), (64, 128))),
    )
    assert "up_to_eight" not in CPP.load(scheduled(module)).source


@pytest.mark.parametrize("recipe", ["int8-weights", "int4-rtn"])
@pytest.mark.parametrize("rows", [1, 3])
def test_quantized_layers_for_a_token(recipe, rows):
    torch.manual_seed(0)
    layers = torch.nn.Linear(96, 130), torch.nn.GELU(), torch.nn.Linear(130, 64)
    model = torch.nn.Sequential(*layers).eval()
    x = torch.randn(rows, 96)
    module = aicc.quantize(model, recipe, inputs=(x,)).module
    compiled = aicc.compile(module, target="cpp")
    assert "up_to_eight" in compiled.source
    want = aicc.compile(module, target="numpy").run([x.numpy()])[0]
    np.testing.assert_allclose(compiled.run([x.numpy()])[0], want, rtol=1e-4, atol=1e-4)
