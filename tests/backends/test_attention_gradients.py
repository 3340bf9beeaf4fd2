"""Attention's gradients: against torch's own, and as kernels, several ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import aicc
from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir import graph, tile
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import shape_of, tensor
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import agree, module_of, tolerance

NUMPY = NumpyBackend()
CAUSAL = ["none", "upper_left", "lower_right"]
SIZES = [(1, 33, 24, 18), (33, 33, 16, 16), (70, 40, 24, 24), (7, 70, 33, 8)]


def gradient(causal: str, mask: str | None = None, window: int = 0):
    """A module's body: results and gradients of attention, from q, k, v and grad."""

    def body(b, q, k, v, grad, m=None):
        params = {"scale": 0.3, "causal": causal, "window": window}
        out, lse = b.build(graph.AttentionWithLse, q, k, v, m, **params).results
        rows = lse.type.element_type
        both = b.emit(graph.Mul, b.cast(grad, rows), b.cast(out, rows))
        delta = b.emit(graph.ReduceSum, both, axes=[3])
        operands = (q, k, v, grad, lse, delta, m)
        by_query = b.emit(graph.AttentionBackwardQuery, *operands, **params)
        others = b.build(graph.AttentionBackwardKeyValue, *operands, **params).results
        return [out, lse, by_query, *others]

    return body


def inputs_of(queries, keys, depth, width, dtype="f32", heads=2):
    rng = np.random.default_rng(0)
    shapes = [(2, heads, queries, depth), (2, heads, keys, depth), (2, heads, keys, width)]
    shapes.append((2, heads, queries, width))
    arrays = [rng.standard_normal(s).astype("f4") for s in shapes]
    return [tensor(s, dtype) for s in shapes], arrays


def by_torch(arrays, causal, mask=None):
    q, k, v, grad = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays)
    scores = q @ k.transpose(2, 3) * 0.3
    if causal != "none":
        n, t = scores.shape[2:]
        keep = torch.ones(n, t).tril(t - n if causal == "lower_right" else 0) > 0
        scores = scores.masked_fill(~keep, -1e30)
    if mask is not None:
        scores = scores + mask
    out = scores.softmax(-1) @ v
    out.backward(grad)
    return [x.detach().numpy() for x in (out, scores.logsumexp(-1), q.grad, k.grad, v.grad)]  # type: ignore[union-attr]


@pytest.mark.parametrize("causal", CAUSAL)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("passes", ["", "decompose{all=true}"])
def test_gradients_are_those_of_torch(sizes, causal, passes):
    if causal == "lower_right" and sizes[0] > sizes[1]:
        pytest.skip("rows that see no key have no gradient in torch")
    types, arrays = inputs_of(*sizes)
    module = module_of(gradient(causal), *types)
    PassManager(parse_pipeline(passes), CompileContext(evaluator=NUMPY)).run(module)
    for got, want in zip(NUMPY.run(module, arrays), by_torch(arrays, causal), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes, causal", zip(SIZES, ["none", *CAUSAL], strict=True), ids=str)
def test_kernels(sizes, causal):
    types, arrays = inputs_of(*sizes, heads=1)
    agree(module_of(gradient(causal), *types), inputs=arrays, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", [(70, 70, 16, 16), (40, 75, 24, 8)], ids=str)
@pytest.mark.parametrize("window", [1, 20, 33])
@pytest.mark.parametrize("causal", CAUSAL[1:])
def test_windows(sizes, window, causal):
    """A window is a mask, with which blocks of keys and queries are left out."""
    types, arrays = inputs_of(*sizes, heads=1)
    queries, keys = sizes[:2]
    ahead = keys - queries if causal == "lower_right" else 0
    keep = np.tri(queries, keys, ahead) - np.tri(queries, keys, ahead - window) > 0
    masked = module_of(gradient("none", "i1"), *types, tensor(keep.shape, "i1"))
    want = NUMPY.run(masked, [*arrays, keep])
    for passes in ("", "decompose{all=true}"):
        module = module_of(gradient(causal, window=window), *types)
        PassManager(parse_pipeline(passes), CompileContext(evaluator=NUMPY)).run(module)
        for got, expected in zip(NUMPY.run(module, arrays), want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    if window == 20:
        agree(module_of(gradient(causal, window=window), *types), inputs=arrays, **tolerance("f32"))


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_kernels_of_16_bits(dtype):
    types, _ = inputs_of(20, 33, 16, 16, dtype, heads=1)
    agree(module_of(gradient("upper_left"), *types), rtol=4e-2, atol=4e-2)


@pytest.mark.parametrize("mask", ["f32", "i1"])
def test_masks(mask):
    """Among them rows that see no key: they have no part in any gradient."""
    types, arrays = inputs_of(9, 12, 16, 16)
    rng = np.random.default_rng(1)
    keep = rng.random((2, 1, 9, 12)) > 0.3
    m = keep if mask == "i1" else np.where(keep, rng.standard_normal(keep.shape), -np.inf)
    m[0, 0, 3] = False if mask == "i1" else -np.inf
    module = module_of(gradient("none", mask), *types, tensor(m.shape, mask))
    arrays.append(m.astype({"i1": bool, "f32": "f4"}[mask]))
    results = NUMPY.run(module, arrays)
    assert all(np.isfinite(r).all() for r in (results[0], *results[2:]))
    assert (results[0][0, :, 3] == 0).all() and np.isneginf(results[1][0, :, 3]).all()
    agree(module, inputs=arrays, **tolerance("f32"))


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(32, 96), torch.nn.Linear(32, 32)

    def forward(self, x):
        q, k, v = self.qkv(x).view(2, 19, 3, 2, 16).permute(2, 0, 3, 1, 4)
        a = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(a.transpose(1, 2).reshape(2, 19, 32)).square().sum()


def test_training_keeps_scores_out_of_memory(monkeypatch):
    """Forward and backward have kernels around attention; no buffer is as large as the scores."""
    modules = []
    plain = aicc.api.PassManager.run

    def run(self, module):
        plain(self, module)
        modules.append(module)

    monkeypatch.setattr(aicc.api.PassManager, "run", run)
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, x = Block(), torch.randn(2, 19, 32)
    model(x).backward()
    want = [p.grad.clone() for p in model.parameters()]  # type: ignore[union-attr]
    model.zero_grad()
    torch.compile(model, backend="aicc", options={"target": "cpp"})(x).backward()
    for p, g in zip(model.parameters(), want, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-4, atol=1e-4)
    made = [r for m in modules for op in m.walk() if isinstance(op, tile.Alloc) for r in op.results]
    assert made and not any(shape_of(r)[-2:] == (19, 19) for r in made)
