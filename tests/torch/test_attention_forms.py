"""The forms of attention that torch traces on GPUs, imported and run on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aicc.backends.numpy.backend import NumpyBackend
from aicc.frontends.torch.importer import FxImporter
from aicc.ir import graph
from aicc.torch_backend import from_torch

ATEN = torch.ops.aten
HEADS = 4


def flash(q, k, v, grad, causal):
    out, lse, cq, ck, mq, mk, seed, offset, _ = ATEN._scaled_dot_product_flash_attention(
        q, k, v, 0.0, causal
    )
    lengths = (q.view(-1)[:0], q.view(-1)[:0]) if cq is None else (cq, ck)
    return out, *ATEN._scaled_dot_product_flash_attention_backward(
        grad, q, k, v, out, lse, *lengths, mq, mk, 0.0, causal, seed, offset
    )


def efficient(q, k, v, grad, causal):
    out, lse, seed, offset = ATEN._scaled_dot_product_efficient_attention(
        q, k, v, None, True, 0.0, causal
    )
    wanted = [True, True, True, False]
    bias = q.view(-1)[:0]  # as good as none
    found = ATEN._scaled_dot_product_efficient_attention_backward.default
    return out, *found(grad, q, k, v, bias, out, lse, seed, offset, 0.0, wanted, causal)[:3]


def reference(q, k, v, grad, causal):
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    wide = leaves[1:]
    if leaves[1].shape[1] != HEADS:
        wide = [x.repeat_interleave(HEADS // x.shape[1], 1) for x in wide]
    out = torch.nn.functional.scaled_dot_product_attention(leaves[0], *wide, is_causal=causal)
    out.backward(grad)
    return [out.detach(), *(x.grad for x in leaves)]


@pytest.mark.parametrize("form", [flash, efficient])
@pytest.mark.parametrize("groups", [4, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_traced_forms(form: Any, groups, causal):
    if form is efficient and groups != HEADS:
        pytest.skip("torch repeats the keys itself")
    heads = (HEADS, groups, groups, HEADS)
    torch.manual_seed(0)
    inputs = [torch.randn(2, h, 40, 16) for h in heads]
    trace: Any = make_fx(lambda *x: form(*x, causal), tracing_mode="fake")
    gm = trace(*(x.to("meta") for x in inputs))
    gm.graph.eliminate_dead_code()
    imported = FxImporter(gm, from_torch, fallback=False).run()
    kinds = {type(op) for op in imported.module.walk()}
    assert {graph.AttentionWithLse, graph.AttentionBackwardKeyValue} <= kinds
    found = NumpyBackend().run(imported.module, [x.numpy() for x in inputs])
    for got, want in zip(found, reference(*inputs, causal=causal), strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-4, atol=1e-4)
