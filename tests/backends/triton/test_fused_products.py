"""Products with norms, siblings, gates and rotary embeddings: few kernels, and the same answers."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.types import element_type, tensor
from aicc.pipeline import PassManager, parse_pipeline
from aicc.verify import sample_inputs
from tests.backends.test_kernels import TRITON, module_of, run_triton, tolerance

NUMPY = NumpyBackend()
RNG = np.random.default_rng(0)
PIPELINE = f"canonicalize,constant-fold,{TRITON.lowering}"


def weight(b, *shape, dtype="f32"):
    return b.constant(RNG.normal(size=shape).astype(np.float32) / np.sqrt(shape[0]), dtype)


def kernels(module: ModuleOp, inputs=None, rtol=2e-5, atol=2e-5) -> list[str]:
    """Lower a module, compare it three ways with what it was, and name what is launched."""
    inputs = sample_inputs(module) if inputs is None else inputs
    want = NUMPY.run(module, inputs)
    context = CompileContext(evaluator=NUMPY, target=TRITON.description, remarks=[])
    PassManager(parse_pipeline(PIPELINE), context).run(module)
    for got in (NUMPY.run(module, inputs), run_triton(module, inputs)):
        for a, b in zip(want, got, strict=True):
            a, b = a.astype(np.float64), b.astype(np.float64)
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    ops = main_of(module).body.block.ops
    assert not [op.name for op in ops if isinstance(op, graph.Fused)], context.remarks
    return [op.kernel for op in ops if isinstance(op, tile.Launch)]


@pytest.mark.parametrize("rows, columns", [(1, 33), (31, 40), (130, 200)])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("norm", ["rms_norm", "layer_norm"])
def test_norm_and_product(norm, dtype, rows, columns):
    depth = 48

    def body(b, x):
        s, bias = (b.constant(RNG.normal(size=depth), dtype) for _ in range(2))
        if norm == "rms_norm":
            y = b.emit(graph.RMSNorm, x, s, axis=1)
        else:
            y = b.emit(graph.LayerNorm, x, s, bias, axis=1)
        return [b.emit(graph.Gelu, b.emit(graph.MatMul, y, weight(b, depth, columns, dtype=dtype)))]

    loose = tolerance(dtype) if dtype == "f32" else {"rtol": 4e-2, "atol": 4e-2}
    assert len(kernels(module_of(body, tensor((rows, depth), dtype)), **loose)) == 1


@pytest.mark.parametrize("mean", [0.0, 1e3, -1e4])
def test_layer_norm_of_a_far_mean(mean):
    """The variance is that of differences to an element of the row: nothing cancels."""
    x = (RNG.normal(size=(8, 96)) + mean).astype(np.float32)

    def body(b, x):
        s, bias = (b.constant(RNG.normal(size=96), "f32") for _ in range(2))
        return [
            b.emit(graph.MatMul, b.emit(graph.LayerNorm, x, s, bias, axis=1), weight(b, 96, 24))
        ]

    error = {"rtol": 1e-4, "atol": 1e-5 * max(abs(mean), 1)}
    assert len(kernels(module_of(body, tensor((8, 96), "f32")), [x], **error)) == 1


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("rows, columns", [(1, 31), (33, 64)])
def test_gate(norm, rows, columns):
    """silu(x @ A) · (x @ B), with a norm before both or not: one kernel."""

    def body(b, x):
        if norm:
            x = b.emit(graph.RMSNorm, x, b.constant(RNG.normal(size=40), "f32"), axis=1)
        gate = b.emit(graph.Silu, b.emit(graph.MatMul, x, weight(b, 40, columns)))
        return [b.emit(graph.Mul, gate, b.emit(graph.MatMul, x, weight(b, 40, columns)))]

    assert len(kernels(module_of(body, tensor((rows, 40), "f32")))) == 1


@pytest.mark.parametrize("groups", [4, 2])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_projections_and_rotary_attention(groups, dtype):
    """Norm and projections are one kernel, both rotations and attention one, the output one."""
    heads, length, depth, size = 4, 19, 16, 64

    def rotated(b, x, cos, sin):
        half = depth // 2
        low, high = b.slice(x, 3, 0, half), b.slice(x, 3, half, depth)
        turned = b.emit(graph.Concat, [b.emit(graph.Neg, high), low], axis=3)
        return b.emit(graph.Add, b.emit(graph.Mul, x, cos), b.emit(graph.Mul, turned, sin))

    def split(b, x, count):
        x = b.reshape(x, [1, length, count, depth])
        return b.transpose(x, [0, 2, 1, 3])

    def body(b, x, cos, sin):
        y = b.emit(graph.RMSNorm, x, b.constant(RNG.normal(size=size), dtype), axis=1)
        q, k, v = (
            split(b, b.emit(graph.MatMul, y, weight(b, size, n * depth, dtype=dtype)), n)
            for n in (heads, groups, groups)
        )
        q, k = rotated(b, q, cos, sin), rotated(b, k, cos, sin)
        out = b.emit(graph.Attention, q, k, v, scale=0.25, causal="upper_left")
        out = b.reshape(b.transpose(out, [0, 2, 1, 3]), [length, heads * depth])
        return [b.emit(graph.MatMul, out, weight(b, heads * depth, size, dtype=dtype))]

    table = tensor((1, 1, length, depth), dtype)
    module = module_of(body, tensor((length, size), dtype), table, table)
    loose = tolerance(dtype) if dtype == "f32" else {"rtol": 6e-2, "atol": 6e-2}
    assert len(kernels(module, **loose)) == 3
    assert element_type(main_of(module).args[0]).name == dtype


def test_residuals_are_summed_in_place_of_views():
    """What several readers see in another shape is written once: the rest are views."""

    def body(b, x):
        rows = b.reshape(x, [6, 32])
        y = b.reshape(b.emit(graph.MatMul, rows, weight(b, 32, 32)), [2, 3, 32])
        x = b.emit(graph.Add, x, y)
        norm = b.emit(graph.RMSNorm, x, b.constant(RNG.normal(size=32), "f32"), axis=2)
        z = b.emit(graph.MatMul, b.reshape(norm, [6, 32]), weight(b, 32, 32))
        return [b.emit(graph.Add, x, b.reshape(z, [2, 3, 32]))]

    module = module_of(body, tensor((2, 3, 32), "f32"))
    assert len(kernels(module)) == 2
    made = [op for op in module.ops if isinstance(op, tile.Kernel)]
    assert all(len(k.body.block.args) - k.inputs == 1 for k in made)
