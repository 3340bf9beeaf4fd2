"""Products of weights that stay quantized: one kernel, which takes them apart as it reads them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

import aicc
from aicc.backends.numpy import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.passes.lower_quantization import pack
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import module_of

KINDS = {"i8": np.int8, "i4": ml_dtypes.int4, "ui4": ml_dtypes.uint4, "f4": ml_dtypes.float4_e2m1fn}


def weight_only(kind: str, k: int, n: int, group: int, rows: int = 3, seed: int = 0) -> ModuleOp:
    """``x @ dequantize(w)`` with a scale for each group of rows, and zero points for ui4."""
    rng = np.random.default_rng(seed)
    if kind == "f4":
        w = rng.normal(0, 3, (k, n)).astype(KINDS[kind])
    else:
        low, high = {"i8": (-128, 128), "i4": (-8, 8), "ui4": (0, 16)}[kind]
        w = rng.integers(low, high, (k, n)).astype(KINDS[kind])
    groups = -(-k // group)
    scales = rng.uniform(0.01, 0.1, (groups, n)).astype(np.float32)
    zeros = rng.integers(0, 16, (groups, n)).astype(ml_dtypes.uint4)

    def body(b, x):
        scale = b.constant(scales.astype(ml_dtypes.float8_e8m0fnu) if kind == "f4" else scales)
        zero = b.constant(zeros) if kind == "ui4" else None
        params = {"axis": 0, "block_size": group, "dtype": "f32"}
        real = b.emit(graph.Dequantize, b.constant(w), scale, zero, **params)
        return [b.emit(graph.MatMul, x, real)]

    return module_of(body, tensor((rows, k), "f32"))


@pytest.mark.parametrize("target", ["cpp", "triton", "ascendc"])
@pytest.mark.parametrize("kind", KINDS)
def test_targets_match(kind, target):
    x = np.random.default_rng(1).normal(0, 1, (3, 50)).astype(np.float32)
    module = weight_only(kind, 50, 40, 16)
    (want,) = aicc.compile(module, target="numpy").run([x])
    compiled = aicc.compile(module, target=target)
    (found,) = compiled.run([x])
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-4)
    kernels = [op for op in compiled.module.walk() if isinstance(op, tile.Kernel)]
    assert len(kernels) == 1
    stored = {op.value.array.nbytes for op in compiled.module.walk() if type(op) is graph.Constant}
    assert max(stored) == (50 * 40 if kind == "i8" else 25 * 40), "the weight isn't packed"


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from([1, 3, 16, 32]),
    st.integers(1, 3),
)
def test_any_size(kind, k, n, group, rows):
    x = np.random.default_rng(k).normal(0, 1, (rows, k)).astype(np.float32)
    module = weight_only(kind, k, n, group, rows, seed=n)
    backend = NumpyBackend()
    (want,) = backend.run(module, [x])
    PassManager(parse_pipeline("lower-quantization"), CompileContext()).run(module)
    assert not any(isinstance(op, graph.Dequantize) for op in module.walk())
    (found,) = backend.run(module, [x])
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-4)


def test_even_rows_are_in_the_low_halves():
    rows = np.array([[-8], [7], [0]]).astype(ml_dtypes.int4)
    np.testing.assert_array_equal(pack(rows, 8), [[0 | 15 << 4], [8]])


@pytest.mark.parametrize("target", ["cpp", "triton"])
def test_zero_points_above_127(target):
    def body(b, x):
        zero, scale = b.constant(np.uint8(200)), b.constant(np.float32(0.5))
        return [b.emit(graph.Add, x, zero), b.emit(graph.Dequantize, x, scale, zero, dtype="f32")]

    module = module_of(body, tensor((5,), "ui8"))
    x = np.array([0, 1, 56, 200, 255], np.uint8)
    want = aicc.compile(module, target="numpy").run([x])
    for a, b in zip(aicc.compile(module, target=target).run([x]), want, strict=True):
        np.testing.assert_array_equal(a, b)
