"""``torch.compile(backend="aicc")`` on the cpp target: inference, training, sizes that vary."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from aicc.torch_backend import aicc_backend

OPTIONS: dict[str, Any] = {"target": "cpp", "fallback": "error"}


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    torch.manual_seed(0)


def compiled(model: Any, **options: Any) -> Any:
    return torch.compile(model, backend=aicc_backend, options=OPTIONS, **options)


class Block(nn.Module):
    """A transformer's layer of width 32."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LayerNorm(32), nn.LayerNorm(32)
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.first(x)).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.mlp(self.second(x))


def test_inference():
    model, x = Block().eval(), torch.randn(2, 9, 32)
    with torch.no_grad():
        torch.testing.assert_close(compiled(model)(x), model(x), rtol=1e-4, atol=1e-5)


def test_training():
    model, x = Block().train(), torch.randn(2, 9, 32)
    want = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    got = torch.autograd.grad(compiled(model)(x).square().sum(), list(model.parameters()))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_convolution_is_trained():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    model = nn.Sequential(model, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).train()
    x, y = torch.randn(2, 3, 10, 10), torch.tensor([1, 3])
    want = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), list(model.parameters()))
    loss = nn.functional.cross_entropy(compiled(model)(x), y)
    for a, b in zip(torch.autograd.grad(loss, list(model.parameters())), want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_sizes_that_vary():
    f = compiled(lambda x: torch.softmax(x * 2 + 1, -1) @ x.mT, dynamic=True)
    for n in (5, 8, 33):
        x = torch.randn(3, n, 7)
        want = torch.softmax(x * 2 + 1, -1) @ x.mT
        torch.testing.assert_close(f(x), want, rtol=1e-4, atol=1e-5)


def test_results_are_not_shared_with_later_calls():
    f = compiled(lambda x: (x + 1, torch.softmax(x, -1)))
    first = f(torch.ones(4, 8))
    kept = [t.clone() for t in first]
    f(torch.zeros(4, 8))
    for a, b in zip(first, kept, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats(dtype):
    model, x = Block().to(dtype).eval(), torch.randn(2, 9, 32, dtype=dtype)
    with torch.no_grad():
        tolerance = 1e-6 if dtype == torch.float64 else 4e-2
        torch.testing.assert_close(compiled(model)(x), model(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "given",
    [
        torch.randn(5, 7),
        torch.randn(7, 5).t(),
        torch.randn(10, 14)[::2, ::2],
        torch.view_as_complex(torch.randn(5, 7, 2)).conj().imag,
        torch.randn(5, 7).to(torch.bfloat16),
        torch.randn(5, 7, dtype=torch.float64),
        torch.randn(300, 400),
        torch.randn(0, 4),
    ],
    ids=["plain", "turned", "strided", "negated", "bf16", "f64", "large", "empty"],
)
def test_arguments_of_all_kinds_of_memory(given):
    def f(x):
        return torch.relu(x) + 1, x.sum(0)

    torch._dynamo.reset()
    fast = torch.compile(f, backend="aicc")
    for x in (given, given):
        for found, want in zip(fast(x), f(x), strict=True):
            assert found.dtype == want.dtype and found.shape == want.shape
            torch.testing.assert_close(found, want, rtol=1e-2, atol=1e-2)


def test_results_of_calls_do_not_share_memory():
    fast = torch.compile(lambda x: (x * 2, x[:3] * 3), backend="aicc")
    x = torch.randn(300, 400)
    first, kept = fast(x), [y.clone() for y in fast(x)]
    second = fast(x + 1)
    for a, b, c in zip(first, kept, second, strict=True):
        assert torch.equal(a, b) and a.data_ptr() != c.data_ptr()
