"""8-bit floats in kernels: casts to and from them, and products of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import aicc
from aicc.ir import graph, tile
from aicc.ir.dtypes import dtype_of
from aicc.ir.types import element_type, tensor
from tests.backends.test_kernels import module_of

ROOT = Path(__file__).resolve().parents[2]
TYPES = ("f8E4M3FN", "f8E5M2")
TARGETS = ("cpp", "triton")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", TYPES)
def test_every_pattern_is_read(name, target):
    module = module_of(lambda b, x: [b.cast(x, "f32")], tensor((256,), name))
    x = np.arange(256, dtype=np.uint8).view(dtype_of(name).np)
    (found,) = aicc.compile(module, target=target).run([x])
    np.testing.assert_array_equal(found, x.astype(np.float32))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", TYPES)
def test_floats_are_rounded_to_even_and_saturate(name, target):
    row = dtype_of(name).np
    every = np.arange(256, dtype=np.uint8).view(row).astype(np.float32)
    every = np.sort(every[np.isfinite(every)])
    middles = ((every[1:].astype(np.float64) + every[:-1]) / 2).astype(np.float32)
    near = [np.nextafter(middles, s) for s in (np.float32(-np.inf), np.float32(np.inf))]
    rest = np.array([0, -0.0, 1e9, -1e9, np.inf, -np.inf, np.nan, 1e-9], np.float32)
    x = np.concatenate([every, middles, *near, rest])
    module = module_of(lambda b, v: [b.emit(graph.Cast, v, to=name)], tensor(x.shape, "f32"))
    (found,) = aicc.compile(module, target=target).run([x])
    top = float(every[-1])
    with np.errstate(all="ignore"):
        want = np.clip(x, -top, top).astype(row)
    np.testing.assert_array_equal(found.astype(np.float32), want.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(found.astype("f4"))[:-2], np.signbit(x)[:-2])


def quantized_product(name: str, m: int = 33, k: int = 64, n: int = 48):
    """Rows of activations and columns of weights, both quantized to an 8-bit float."""
    rng = np.random.default_rng(0)
    w = rng.normal(0, 10, (k, n)).astype(dtype_of(name).np)
    scales = rng.uniform(0.01, 0.1, n).astype(np.float32)

    def body(b, x):
        scale = b.constant(np.float32(0.01))
        q = b.emit(graph.Quantize, x, scale, None, dtype=name)
        left = b.emit(graph.Dequantize, q, scale, None, dtype="f32")
        right = b.emit(
            graph.Dequantize, b.constant(w), b.constant(scales), None, axis=1, dtype="f32"
        )
        return [b.emit(graph.MatMul, left, right)]

    return module_of(body, tensor((m, k), "f32"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", TYPES)
def test_products(name, target):
    x = np.random.default_rng(1).normal(0, 1, (33, 64)).astype(np.float32)
    module = quantized_product(name)
    (want,) = aicc.compile(module, target="numpy").run([x])
    compiled = aicc.compile(module, target=target)
    (found,) = compiled.run([x])
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-4)
    dots = [op for op in compiled.module.walk() if isinstance(op, tile.Dot)]
    (kernels,) = [{str(op.a.type), str(op.b.type)} for op in dots]
    assert all(name in k for k in kernels), "the operands were widened"


MATRIX_UNITS = """
import sys, aicc
from tests.backends.test_float8 import quantized_product
model = quantized_product("f8E4M3FN", 2048, 256, 512)
compiled = aicc.compile(model, target="triton", chips=["sm_90"])
compiled.save(sys.argv[1], archs=["sm_90"])
"""


def test_they_use_the_matrix_units(tmp_path):
    """In a process of its own: in the interpreter nothing is compiled."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", MATRIX_UNITS, str(tmp_path / "out")]
    subprocess.run(command, check=True, env=env, cwd=ROOT, capture_output=True)
    (binary,) = [p for p in (tmp_path / "out").glob("*.cubin") if "matmul" in p.name]
    from triton import knobs

    tool = knobs.nvidia.cuobjdump.path
    text = subprocess.run([tool, "-sass", str(binary)], capture_output=True, text=True).stdout
    assert "QGMMA" in text


def test_two_kinds_of_floats_are_not_multiplied():
    def body(b, x, y):
        one = b.constant(np.float32(0.5))
        sides = [b.emit(graph.Dequantize, v, one, None, dtype="f32") for v in (x, y)]
        return [b.emit(graph.MatMul, *sides)]

    module = module_of(body, tensor((3, 4), "f8E4M3FN"), tensor((4, 5), "f8E5M2"))
    compiled = aicc.compile(module, target="numpy")
    (product,) = [op for op in compiled.module.walk() if isinstance(op, graph.MatMul)]
    assert element_type(product.lhs).name == "f32"
