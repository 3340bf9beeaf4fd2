"""Transposes at the ends of a graph: inputs as they lie in memory, outputs that are views."""

from __future__ import annotations

import pytest
import torch

from aicc.frontends.torch.importer import memory_order
from aicc.ir import tile

TARGETS = ["numpy", "cpp"]


@pytest.mark.parametrize("shape", [(2, 3), (4, 1, 5), (2, 3, 4, 5)])
def test_memory_order(shape):
    x = torch.arange(torch.Size(shape).numel()).view(shape)
    assert memory_order(x) is None
    assert memory_order(torch.empty(6, 4)[:, ::2]) is None
    assert memory_order(torch.empty(3, 1).expand(3, 4)) is None
    turned = x.permute(*reversed(range(x.dim())))
    order = memory_order(turned)
    assert order is not None and turned.permute(order).is_contiguous()


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_in_any_order(target):
    torch._dynamo.reset()
    f = torch.compile(
        lambda x, y: (x * 2 + y).sum(1), backend="aicc", options={"target": target}, dynamic=False
    )
    x, y = torch.randn(5, 3, 4).permute(2, 0, 1), torch.randn(4, 5, 3)
    torch.testing.assert_close(f(x, y), (x * 2 + y).sum(1))
    torch.testing.assert_close(f(x.contiguous(), y), (x * 2 + y).sum(1))
    image = torch.randn(2, 3, 5, 6).to(memory_format=torch.channels_last)
    net = torch.nn.Conv2d(3, 4, 3).eval()
    with torch.no_grad():
        fast = torch.compile(net, backend="aicc", options={"target": target})
        torch.testing.assert_close(fast(image), net(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_that_are_transposed(target):
    def f(x, w):
        y = x @ w
        z = x + 1
        return y.t(), y.exp(), w.t().contiguous(), z.permute(1, 0).clone(), z, z.clone().t()

    torch._dynamo.reset()
    x, w = torch.randn(3, 4), torch.randn(4, 5)
    compiled = torch.compile(f, backend="aicc", options={"target": target})
    before = x.clone(), w.clone()
    for got, want in zip(compiled(x, w), f(x, w), strict=True):
        torch.testing.assert_close(got, want)
        got.add_(1)  # memory of its own
    torch.testing.assert_close((x, w), before)


def test_backward_reads_weights_where_they_are(monkeypatch):
    """Products' gradients need transposed weights: no kernel writes them."""
    import aicc.api

    modules = []
    plain = aicc.api.PassManager.run
    monkeypatch.setattr(
        aicc.api.PassManager, "run", lambda self, m: (plain(self, m), modules.append(m))[0]
    )
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    x = torch.randn(3, 8, requires_grad=True)
    model(x).square().sum().backward()
    want = [x.grad, *(p.grad for p in model.parameters())]
    x.grad = None
    model.zero_grad()
    torch.compile(model, backend="aicc", options={"target": "cpp"})(x).square().sum().backward()
    for got, expected in zip([x.grad, *(p.grad for p in model.parameters())], want, strict=True):
        torch.testing.assert_close(got, expected)
    names = [k.sym_name for m in modules for k in m.ops if isinstance(k, tile.Kernel)]
    assert names and not any(n.startswith("transpose") for n in names), names


def test_a_weight_that_changes_before_backward():
    """As eager says: what was saved was changed."""
    torch._dynamo.reset()
    w = torch.randn(4, 5, requires_grad=True)
    x = torch.randn(3, 4, requires_grad=True)
    y = torch.compile(lambda x, w: x @ w, backend="aicc")(x, w)
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
