"""Running sums and products as kernels, several ways."""

from __future__ import annotations

import numpy as np
import pytest

from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.pipeline import PassManager, parse_pipeline
from aicc.verify import sample_inputs
from tests.backends.test_kernels import CPP, agree, module_of

NUMPY = NumpyBackend()
SHAPES = [((7,), 0), ((5, 33), 1), ((33, 5), 0), ((3, 4, 70), 1), ((1, 1), 0), ((2, 0), 1)]


def lowered(module):
    pipeline = "fuse,lower-to-tile{scans=true},dce"
    PassManager(parse_pipeline(pipeline), CompileContext(evaluator=NUMPY)).run(module)
    assert any(isinstance(op, tile.Kernel) for op in module.ops)
    return module


@pytest.mark.parametrize("shape, axis", SHAPES, ids=str)
@pytest.mark.parametrize("exclusive, reverse", [(False, False), (True, False), (True, True)])
def test_kernels_give_what_numpy_gives(shape, axis, exclusive, reverse):
    params = {"axis": axis, "exclusive": exclusive, "reverse": reverse}
    module = module_of(lambda b, x: [b.emit(graph.CumSum, x, **params)], tensor(shape, "f32"))
    x = sample_inputs(module)
    (want,) = NUMPY.run(module, x)
    lowered(module)
    (got,) = NUMPY.run(module, x)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    agree(module, inputs=x)


@pytest.mark.parametrize("kind", [graph.CumSum, graph.CumProd])
@pytest.mark.parametrize("dtype", ["f16", "i32", "i64"])
def test_dtypes(kind, dtype):
    module = module_of(lambda b, x: [b.emit(kind, x, axis=1)], tensor((3, 9), dtype))
    x = sample_inputs(module)
    (want,) = NUMPY.run(module, x)
    agree(lowered(module), inputs=x, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(NUMPY.run(module, x)[0].astype("f8"), want.astype("f8"), rtol=1e-2)


def test_a_model_with_one_runs_without_its_host():
    """Nothing of a running sum over scores is left to another library."""

    def body(b, x):
        total = b.emit(graph.CumSum, b.emit(graph.Exp, x), axis=1)
        return [b.emit(graph.Div, total, b.scalar_like(2.0, total))]

    module = module_of(body, tensor((4, 50), "f32"))
    x = sample_inputs(module)
    (want,) = NUMPY.run(module, x)
    context = CompileContext(evaluator=NUMPY, target=CPP.description)
    PassManager(parse_pipeline(CPP.lowering), context).run(module)
    program = CPP.load(module)
    assert program.native is not None
    np.testing.assert_allclose(program(*x)[0], want, rtol=1e-5)
