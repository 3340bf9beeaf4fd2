"""Products and attention in parts: what they split, and what comes of it through Triton."""

from __future__ import annotations

import numpy as np
import pytest

from aicc.ir import graph
from aicc.ir.chips import chip_of
from aicc.ir.dtypes import f16
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.passes.split_products import Splitting, Work
from aicc.pipeline import PassManager, full_pipeline, parse_pipeline
from aicc.targets import backend
from aicc.verify import sample_inputs
from tests.backends.test_kernels import module_of

NUMPY, TRITON = backend("numpy"), backend("triton")


def lowered(module):
    context = CompileContext(evaluator=NUMPY, target=TRITON.description, chips=("sm_90",))
    PassManager(parse_pipeline(full_pipeline(TRITON.lowering)), context).run(module)
    return module


def token(rows: int, inner: int, columns: int):
    weight = np.random.default_rng(0).standard_normal((inner, columns)).astype(np.float16)

    def body(b, x):
        return [b.emit(graph.Relu, b.emit(graph.MatMul, x, b.constant(weight)))]

    return module_of(body, tensor((rows, inner), "f16"))


def cached(heads: int, groups: int, keys: int, causal: str = "none", masked: bool = False):
    def body(b, q, k, v, *mask):
        return [b.emit(graph.Attention, q, k, v, *mask, scale=0.125, causal=causal)]

    types = [tensor((1, heads, 1, 64), "f32"), *[tensor((1, groups, keys, 64), "f32")] * 2]
    return module_of(body, *types, *([tensor((1, 1, 1, keys), "i1")] if masked else []))


@pytest.mark.parametrize(
    "module",
    [
        token(1, 4096, 256),
        token(16, 8192, 64),
        cached(4, 2, 2048),
        cached(2, 2, 2048, causal="lower_right"),
        cached(2, 1, 2048, masked=True),
    ],
    ids=["token", "batch", "grouped", "causal", "masked"],
)
def test_few_results_are_computed_in_two_kernels(module):
    inputs = sample_inputs(module)
    (want,) = NUMPY.run(module, inputs)
    program = TRITON.load(lowered(module))
    assert program.source.count("@triton.jit\n") - program.source.count("def nan_max") == 2
    (got,) = program(*inputs)
    np.testing.assert_allclose(
        got.astype(np.float32), want.astype(np.float32), rtol=2e-2, atol=2e-2 * np.abs(want).max()
    )


@pytest.mark.parametrize(
    "module",
    [token(1, 512, 256), token(128, 4096, 256), token(1, 4096, 16384), cached(8, 8, 256)],
    ids=["short", "rows", "columns", "few keys"],
)
def test_others_are_one_kernel(module):
    source = TRITON.load(lowered(module)).source
    assert source.count("@triton.jit\n") - source.count("def nan_max") == 1


def test_parts_are_whole_steps_and_never_shorter_than_asked():
    work = Work(read=1e6, flops=1e6, partial=1e3)
    split = Splitting(0, 256, chip_of("sm_90"))
    for length in (255, 512, 1000, 4096, 4099, 12288):
        parts = split.count(length, f16, 1, work)
        assert length % parts == 0
        assert parts == 1 or (length // parts >= 256 and length // parts % 16 == 0)
    assert split.count(4096, f16, 1, work) > 1
