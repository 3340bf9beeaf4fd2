"""Sums of bytes that become halves as they leave the cube unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import aicc
from aicc.backends.ascendc.backend import AscendBackend
from aicc.backends.ascendc.emulate import Emulated, EmulationError
from aicc.backends.numpy import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.dtypes import f16, f32, i32
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.pipeline import PassManager, full_pipeline, parse_pipeline
from tests.backends.test_kernels import module_of

NUMPY = NumpyBackend()
ASCEND = AscendBackend(NUMPY)
WITHOUT = ASCEND.lowering.replace(",fixpipe-scales", "")


def product(m, k, n, scales, bias=None, minus=False, static=True):
    """``f16(f32(x @ w ± bias) · scales)`` for bytes x and constant bytes w."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (k, n)).astype(np.int8)

    def body(b, x, *given):
        sums = b.emit(graph.MatMul, x, b.constant(weight, "i8", "w"), out_dtype=i32)
        if bias is not None:
            op = graph.Sub if minus else graph.Add
            sums = b.emit(op, sums, b.constant(bias, "i32", "bias"))
        scale = given[0] if given else b.constant(scales, "f32", "scales")
        real = b.emit(graph.Mul, b.emit(graph.Cast, sums, to=f32), scale)
        return [b.emit(graph.Cast, real, to=f16)]

    types = [tensor((m, k), "i8")] + ([] if static else [tensor((n,), "f32")])
    return module_of(body, *types)


def lowered(module, lowering=ASCEND.lowering, description=ASCEND.description):
    context = CompileContext(evaluator=ASCEND, target=description, remarks=[])
    PassManager(parse_pipeline(full_pipeline(lowering)), context).run(module)
    return module


def scales_of(n, size=2.0**-12, bits=11):
    """Positive numbers of so many significant bits, around a size."""
    digits = np.random.default_rng(1).integers(2 ** (bits - 1), 2**bits, n)
    return (digits * size / 2**bits).astype(np.float32)


def bytes_of(m, k):
    return np.random.default_rng(2).integers(-128, 128, (m, k)).astype(np.int8)


@pytest.mark.parametrize("kind", ["plain", "add", "sub"])
@pytest.mark.parametrize(
    "m, k, n", [(48, 200, 300), (33, 40, 24), (7, 129, 127), (16, 1000, 31), (1, 64, 48)]
)
def test_results_are_the_same_bits(m, k, n, kind):
    bias = None if kind == "plain" else np.arange(n, dtype=np.int32) * 1000 - 7
    module = product(m, k, n, scales_of(n), bias, kind == "sub")
    x = bytes_of(m, k)
    (want,) = NUMPY.run(module, [x])
    program = ASCEND.load(lowered(module))
    assert "SetQuantVector" in program.source and "uint64_t" in program.source
    assert ("SetBias" in program.source) == (bias is not None)
    assert "Mul(" not in program.source
    for (found,) in (NUMPY.run(module, [x]), program(x), program.in_form("custom_op")(x)):
        np.testing.assert_array_equal(found, want)


def refused():
    """Products that the unit would compute otherwise than the kernel."""
    n, bias = 48, np.full(48, 2**30, np.int32)
    yield "a scale of 12 bits", product(32, 64, n, scales_of(n, bits=12))
    yield "too large for a half", product(32, 64, n, scales_of(n, size=2.0**-3))
    yield "a bias too large for it", product(32, 64, n, scales_of(n), bias)
    yield "a negative scale", product(32, 64, n, -scales_of(n))
    yield "not constant", product(32, 64, n, None, static=False)
    yield "one scale in memory", product(32, 64, n, np.full(1, 2.0**-12, np.float32))
    yield "one scale", product(32, 64, n, np.float32(2.0**-12))


@pytest.mark.parametrize("why, module", list(refused()), ids=lambda v: v if type(v) is str else "")
def test_what_the_vector_unit_keeps(why, module):
    given = [bytes_of(32, 64)]
    given += [scales_of(48)] if why == "not constant" else []
    (want,) = NUMPY.run(module, given)
    program = ASCEND.load(lowered(module))
    assert "SetQuantVector" not in program.source
    np.testing.assert_array_equal(program(*given)[0], want)


def test_a_target_without_the_unit():
    description = replace(ASCEND.description, dequantizes=lambda kernel: False)
    module = lowered(product(48, 200, 300, scales_of(300)), description=description)
    (kernel,) = [k for k in module.ops if isinstance(k, tile.Kernel)]
    assert "SetQuantVector" not in ASCEND.load(module).source
    loads = [op for op in kernel.body.walk() if isinstance(op, tile.Load)]
    assert all(op.strides != (2,) for op in loads)


def test_the_emulator_refuses_parameters_that_do_not_fit():
    x = bytes_of(48, 200)
    bias = np.ones(300, np.int32)
    program = ASCEND.load(lowered(product(48, 200, 300, scales_of(300), bias)))
    for old, new, message in [
        ("isBias = 1", "isBias = 0", "SetBias and isBias don't agree"),
        ("matmul.SetQuantVector(", "// ", "half of int8_t needs SetQuantVector"),
    ]:
        source = program.source.replace(old, new)
        assert source != program.source
        with pytest.raises(EmulationError, match=message):
            Emulated(program, source)(x)


def test_a_quantized_model():
    """Scales of 5 bits make ones that the unit has; each product leaves it as halves."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32)).eval().half()
    x = torch.randn(40, 64).half()
    samples = np.random.default_rng(0).normal(size=(640, 64)).astype(np.float16)
    wide, short = (
        aicc.quantize(model, "int8", {"input": samples}, inputs=(x,), settings=settings)
        for settings in ({}, {"scale_bits": 5})
    )
    compiled = aicc.compile(short, target="ascendc")
    assert compiled.source.count("SetQuantVector(") == 2
    assert "SetQuantVector(" not in aicc.compile(wide, target="ascendc").source
    by_vectors = aicc.compile(short, target="ascendc", pipeline=full_pipeline(WITHOUT))
    assert "SetQuantVector(" not in by_vectors.source
    found = compiled(x)
    assert torch.equal(found, by_vectors(x))
    torch.testing.assert_close(found, model(x), rtol=0.02, atol=0.02)
