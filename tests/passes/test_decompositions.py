"""Each decomposition gives what its op gives, on random operands and parameters."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import aicc
from aicc.failing import Setting, trouble
from aicc.fuzz.drawers import DRAWERS
from aicc.fuzz.maker import Maker, Misfit
from aicc.ir import graph
from aicc.ir.graph.decompositions import DECOMPOSITIONS
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.pipeline import PassManager, parse_pipeline
from aicc.targets import backend
from tests.backends.test_kernels import module_of

NUMPY: Any = backend("numpy")
CASES = 12
LENGTHS = [(1, 1), (8, 8), (31, 31), (160, 100), (211, 211), (1024, 1024)]


def run_pipeline(module, pipeline):
    PassManager(parse_pipeline(pipeline), CompileContext(evaluator=NUMPY)).run(module)
    return module


def drawn(cls, count):
    """Modules of one op each."""
    for seed in range(40 * count):
        maker = Maker(np.random.default_rng(seed), NUMPY)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value: Any = DRAWERS[cls](maker, cls)
        except Misfit:
            continue
        yield maker.case(value if isinstance(value, list) else list(value.owner.results))
        count -= 1
        if not count:
            return


@pytest.mark.parametrize("cls", DECOMPOSITIONS, ids=lambda c: c.__name__)
def test_a_decomposition_gives_what_the_op_gives(cls):
    setting = Setting("decompose{all=true}", NUMPY, NUMPY)
    cases = list(drawn(cls, CASES))
    assert len(cases) == CASES
    for case in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            what = trouble(case.module, case.inputs, setting, case.outputs)
        assert what is None, f"{what}\n{case.module}"


@pytest.mark.parametrize("n, given", LENGTHS)
@pytest.mark.parametrize("inverse, onesided", list(itertools.product([False, True], repeat=2)))
def test_fourier_transforms_of_all_lengths(n, given, inverse, onesided):
    given = given // 2 + 1 if inverse and onesided else given
    parts = 1 if onesided and not inverse else 2
    x = np.random.default_rng(0).standard_normal((2, given, 3, parts)).astype(np.float32)
    params = {"axis": 1, "length": [n], "inverse": inverse, "onesided": onesided}
    module = module_of(lambda b, v: [b.emit(graph.DFT, v, **params)], tensor(x.shape, "f32"))
    (want,) = NUMPY.run(module, [x])
    lowered = run_pipeline(module, "decompose{all=true}")
    assert not any(isinstance(op, graph.DFT) for op in lowered.walk())
    (got,) = NUMPY.run(lowered, [x])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_places_that_are_no_numbers_read_no_foreign_memory(mode, padding):
    params = {"mode": mode, "padding_mode": padding}
    module = module_of(
        lambda b, x, g: [b.emit(graph.GridSample, x, g, **params)],
        tensor((1, 2, 5, 7), "f32"),
        tensor((1, 4, 3, 2), "f32"),
    )
    rng = np.random.default_rng(0)
    x, places = (rng.uniform(-1, 1, s).astype(np.float32) for s in ((1, 2, 5, 7), (1, 4, 3, 2)))
    places[0, 1] = np.nan, np.inf
    places[0, 2, 0] = 3e38, -3e38
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (got,) = aicc.compile(module, target="cpp").run([x, places])
    kept = np.delete(np.arange(4), [1, 2])
    with torch.no_grad():
        name = mode if mode == "nearest" else f"bi{mode}"
        want = torch.nn.functional.grid_sample(
            torch.tensor(x), torch.tensor(places), name, padding, False
        ).numpy()
    np.testing.assert_allclose(got[:, :, kept], want[:, :, kept], rtol=1e-4, atol=1e-5)
