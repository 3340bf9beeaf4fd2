"""Constant matrices in fractals, the form in which Ascend's cube unit reads them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import aicc
from aicc.backends.ascendc.backend import AscendBackend
from aicc.backends.ascendc.emulate import Emulated, EmulationError
from aicc.backends.numpy import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.dtypes import dtype_of, i32
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.types import shape_of, tensor
from aicc.passes.fractal_weights import FractalWeights
from aicc.passes.panels import Panels
from aicc.pipeline import PassManager, full_pipeline, parse_pipeline
from aicc.verify import sample_inputs
from tests.backends.test_kernels import module_of

NUMPY = NumpyBackend()
ASCEND = AscendBackend(NUMPY)


def product(m, k, n, dtype, transposed=False):
    """x @ w for a constant w of small integers, so that sums are exact."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 9, (n, k) if transposed else (k, n)).astype(dtype_of(dtype).np)
    out = {"out_dtype": i32} if dtype == "i8" else {}

    def body(b, x):
        w = b.constant(weight, dtype, "w")
        return [b.emit(graph.MatMul, x, b.transpose(w, [1, 0]) if transposed else w, **out)]

    return module_of(body, tensor((m, k), dtype))


def lowered(module, lowering=ASCEND.lowering, description=ASCEND.description):
    context = CompileContext(evaluator=ASCEND, target=description, remarks=[])
    PassManager(parse_pipeline(full_pipeline(lowering)), context).run(module)
    return module


def constants(module):
    return [op for op in main_of(module).walk() if isinstance(op, graph.Constant)]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype, width", [("f16", 16), ("bf16", 16), ("i8", 32)])
@pytest.mark.parametrize("m, k, n", [(48, 200, 300), (33, 40, 24), (1, 16, 32), (7, 129, 127)])
def test_results(m, k, n, dtype, width, transposed):
    module = product(m, k, n, dtype, transposed)
    inputs = [np.clip(x, -9, 9).astype(x.dtype) for x in sample_inputs(module)]
    (want,) = NUMPY.run(module, inputs)
    lowered(module)
    (constant,) = constants(module)
    deep = -(-k // max(width, 16)) * max(width, 16)
    assert shape_of(constant.result) == (-(-n // width), deep // 16, 16, width)
    program = ASCEND.load(module)
    assert "CubeFormat::NZ" in program.source
    for (found,) in (NUMPY.run(module, inputs), program(*inputs)):
        a, b = np.asarray(found, np.float64), np.asarray(want, np.float64)
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2)


def test_in_a_custom_operator():
    module = product(48, 200, 300, "f16")
    (x,) = sample_inputs(module)
    (want,) = NUMPY.run(module, [x])
    program = ASCEND.load(lowered(module)).in_form("custom_op")
    (found,) = program(x)
    np.testing.assert_allclose(found, want, rtol=1e-2, atol=1e-1)


def test_floats_stay_by_rows():
    module = lowered(product(48, 64, 48, "f32"))
    assert shape_of(constants(module)[0].result) == (64, 48)


def test_what_a_target_does_not_read_as_it_is_stays_by_rows():
    description = replace(ASCEND.description, reads_fractals=lambda kernel: False)
    module = lowered(product(48, 200, 300, "f16"), description=description)
    assert shape_of(constants(module)[0].result) == (200, 300)
    assert "CubeFormat::NZ" not in ASCEND.load(module).source


def test_blocks_that_cut_columns_of_fractals_stay_by_rows():
    module = product(48, 200, 300, "f16")
    lowered(module, ASCEND.lowering.partition(",fractal-weights")[0])
    (kernel,) = [k for k in module.ops if isinstance(k, tile.Kernel)]
    kernel.set_param("schedule", {**kernel.schedule, "BLOCK_N": 8})
    context = CompileContext(evaluator=ASCEND, target=ASCEND.description)
    FractalWeights().apply(context, module)
    assert shape_of(constants(module)[0].result) == (200, 300)


def test_fractals_lie_column_by_column():
    """Element (k, n) lies in column n / C0 of fractals, row k, place n % C0."""
    matrix = np.arange(20 * 37, dtype=np.float16).reshape(20, 37)
    stored = Panels(16, step=16, box=16).pack(matrix)
    assert stored.shape == (3, 2, 16, 16)
    for k, n in [(0, 0), (19, 36), (16, 15), (15, 16), (3, 33)]:
        assert stored[n // 16, k // 16, k % 16, n % 16] == matrix[k, n]
    assert not stored[:, 1, 4:].any() and not stored[2, :, :, 5:].any()


def test_the_emulator_refuses_what_is_no_whole_fractals():
    module = lowered(product(48, 200, 300, "f16"))
    program = ASCEND.load(module)
    source = program.source.replace("t.matmul.Kb = 208", "t.matmul.Kb = 200")
    assert source != program.source
    with pytest.raises(EmulationError, match="B in fractals must be whole ones"):
        Emulated(program, source)(*sample_inputs(module))


def test_inspect_says_how_weights_are_stored():
    from aicc.report import layouts

    module = aicc.compile(product(48, 200, 300, "f16"), target="numpy", pipeline="").module
    assert layouts(module, "ascendc", "auto") == [
        "weights for ascendc:",
        "       1  [200, 300] as [19, 13, 16, 16]",
    ]
    assert layouts(module, "numpy", "auto") == []
