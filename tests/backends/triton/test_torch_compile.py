"""`torch.compile(model, backend="aicc", options={"target": "triton"})`, in Triton's interpreter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

OPTIONS: Any = {"target": "triton", "fallback": "error"}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(nn.functional.gelu(self.norm(self.up(x))))


def test_forward_and_backward_at_several_sizes():
    torch.manual_seed(0)
    model = Block()
    fast = torch.compile(model, backend="aicc", options=OPTIONS, dynamic=True)
    for n in (5, 7, 33):
        x = torch.randn(n, 8, requires_grad=True)
        want = model(x)
        gradients = torch.autograd.grad(want.square().sum(), [x, *model.parameters()])
        got = fast(x)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
        ours = torch.autograd.grad(got.square().sum(), [x, *model.parameters()])
        for a, b in zip(ours, gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_results_own_their_memory():
    def views(x: torch.Tensor):
        y = x * 2
        return x.reshape(-1), y, y.reshape(-1)

    x = torch.arange(6.0).reshape(2, 3)
    first, second, third = torch.compile(views, backend="aicc", options=OPTIONS)(x)
    second.zero_()
    torch.testing.assert_close(first, x.reshape(-1))
    assert first.tolist() == [0, 1, 2, 3, 4, 5]
    assert third.shape == (6,)


def test_buffers_are_updated():
    model = nn.BatchNorm1d(4)
    same = nn.BatchNorm1d(4)
    x = torch.randn(10, 4)
    got = torch.compile(model, backend="aicc", options=OPTIONS)(x)
    torch.testing.assert_close(got, same(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.running_mean, same.running_mean)
    torch.testing.assert_close(model.running_var, same.running_var)
