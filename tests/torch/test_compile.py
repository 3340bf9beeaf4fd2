"""``torch.compile(backend="aicc")``: inference, training, dynamic shapes, mutation, fallbacks."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import aicc
from aicc import torch_backend
from aicc.errors import AiccError

STRICT = {"fallback": "error"}


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def compiled(fn, dynamic=False, **options):
    return torch.compile(
        fn, backend=torch_backend.aicc_backend, dynamic=dynamic, options={**STRICT, **options}
    )


def conv_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2, groups=2, bias=False),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


class Block(nn.Module):
    def __init__(self, dim=32, heads=4):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))
        self.heads = heads

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(x)


def test_inference():
    model, x = conv_net().eval(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(compiled(model)(x), model(x), rtol=1e-4, atol=1e-5)


def test_entry_point_needs_no_import():
    assert "aicc" in torch._dynamo.list_backends()


@pytest.mark.parametrize("make", [conv_net, lambda: nn.Sequential(nn.Flatten(), Stack())])
def test_training_matches_eager(make):
    a = make()
    b = copy.deepcopy(a)
    f = compiled(b)
    opts = [torch.optim.SGD(m.parameters(), 0.05, momentum=0.9) for m in (a, b)]
    for _ in range(4):
        x, y = torch.randn(4, 3, 16, 16), torch.randint(0, 10, (4,))
        losses = []
        for m, opt in zip((a, f), opts, strict=True):
            loss = F.cross_entropy(m(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        assert abs(losses[0] - losses[1]) < 1e-4
    for (name, p), q in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(q, p, rtol=1e-3, atol=1e-4, msg=name)


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.lead = nn.Linear(768, 5 * 32)
        self.block = Block()
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.block(self.lead(x).view(-1, 5, 32)).mean(1))


def test_dynamic_lengths_compile_once():
    model = Block().eval()
    f = compiled(model, dynamic=True)
    with torch.no_grad():
        for t in (7, 64, 129):
            x = torch.randn(2, t, 32)
            torch.testing.assert_close(f(x), model(x), rtol=1e-4, atol=1e-5)
    counters = torch._dynamo.utils.counters["stats"]
    assert counters["unique_graphs"] <= 1 or counters["unique_graphs"] % 1 == 0


def test_dynamic_shape_arithmetic():
    def f(x):
        n = x.shape[0]
        y = x.reshape(n // 2, 2, -1) + n
        return torch.cat([y, y[:1]], 0).sum(1), torch.arange(n * 3) * n

    g = compiled(f, dynamic=True)
    for n in (4, 10, 36):
        x = torch.randn(n, 6)
        for got, want in zip(g(x), f(x), strict=True):
            torch.testing.assert_close(got, want)


def test_batch_norm_statistics_are_mutated():
    a = nn.BatchNorm1d(4)
    b = copy.deepcopy(a)
    f = compiled(b)
    for _ in range(3):
        x = torch.randn(8, 4)
        torch.testing.assert_close(f(x), a(x))
    torch.testing.assert_close(b.running_mean, a.running_mean)
    torch.testing.assert_close(b.running_var, a.running_var)
    assert a.num_batches_tracked == b.num_batches_tracked


def test_cache_mutation():
    cache = torch.zeros(2, 8, 4)
    other = cache.clone()

    def step(cache, new, at):
        cache.index_copy_(1, at, new)
        return cache.sum(1)

    f = compiled(step)
    with torch.no_grad():
        for i in range(3):
            new, at = torch.randn(2, 1, 4), torch.tensor([i])
            torch.testing.assert_close(f(cache, new, at), step(other, new, at))
    torch.testing.assert_close(cache, other)


def test_graph_breaks():
    def f(x):
        y = torch.relu(x)
        if y.sum() > 0:  # a graph break
            return y * 2
        return y - 1

    g = compiled(f)
    for x in (torch.ones(3), -torch.ones(3)):
        torch.testing.assert_close(g(x), f(x))


def test_outputs_never_alias_inputs():
    def f(x):
        return x.clone(), x.reshape(-1).clone()

    x = torch.zeros(2, 3)
    a, b = compiled(f)(x)
    a += 1
    b += 1
    assert x.eq(0).all()


def test_fallback_warns_once_and_names_the_op():
    def f(x):
        return torch.linalg.qr(x)[1] + 1

    torch_backend._warned.clear()
    x = torch.randn(3, 3)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        g = torch.compile(f, backend=torch_backend.aicc_backend)
        torch.testing.assert_close(g(x), f(x))
        torch._dynamo.reset()
        torch.compile(f, backend=torch_backend.aicc_backend)(x)
    named = [str(w.message) for w in seen if "linalg_qr" in str(w.message)]
    assert len(named) == 1


def test_fallback_as_error():
    with pytest.raises(Exception, match="linalg_qr"):
        compiled(lambda x: torch.linalg.qr(x)[1])(torch.randn(3, 3))


def test_unknown_option():
    with pytest.raises(Exception, match="unknown option 'tarjet'"):
        torch.compile(torch.relu, backend=torch_backend.aicc_backend, options={"tarjet": "x"})(
            torch.ones(2)
        )


def test_dump_ir(tmp_path):
    compiled(torch.relu, dump_ir=str(tmp_path))(torch.ones(2))
    texts = [p.read_text() for p in sorted(tmp_path.rglob("*.mlir"))]
    assert texts and all("graph.relu" in t for t in texts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int32])
def test_dtypes(dtype):
    def f(x):
        return (x * 2 + x).sum(0), x > 0

    x = torch.randn(4, 5).mul(3).to(dtype)
    for got, want in zip(compiled(f)(x), f(x), strict=True):
        torch.testing.assert_close(got, want)


def test_data_dependent_sizes():
    def f(x):
        return x[x > 0] * 2

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        x = torch.tensor([1.0, -1.0, 2.0])
        g = torch.compile(f, backend=torch_backend.aicc_backend)
        torch.testing.assert_close(g(x), f(x))


def test_export_and_api(tmp_path):
    model, x = conv_net().eval(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        want = model(x)
    built = aicc.compile(model, (x,), dims={"batch": (2, 8)}, verify_each=True)
    torch.testing.assert_close(built(x), want, rtol=1e-4, atol=1e-5)
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(model, (x,)), path)
    again = aicc.compile(path)
    torch.testing.assert_close(again(x), want, rtol=1e-4, atol=1e-5)
    out = again(x.numpy())
    assert isinstance(out, np.ndarray)
    again.save(tmp_path / "artifact")
    loaded = aicc.load(tmp_path / "artifact")
    torch.testing.assert_close(loaded(x), want, rtol=1e-4, atol=1e-5)
    with pytest.raises(AiccError, match="shape"):
        loaded(torch.randn(2, 3, 9, 9))


@pytest.mark.parametrize("recipe", ["int8-dynamic", "int4-rtn", "int8"])
def test_quantized(recipe):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.Linear(128, 10)
    ).eval()
    samples = [(torch.randn(16, 64),) for _ in range(4)] if recipe == "int8" else None
    options = {"quantize": recipe, "samples": samples, "target": "numpy"}
    fast = torch.compile(model, backend="aicc", options=options)
    with torch.no_grad():
        for rows in (16, 7, 5):
            x = torch.randn(rows, 64)
            error = (fast(x) - model(x)).abs().max()
            assert 0 < error < (0.1 if recipe == "int4-rtn" else 0.05)


def test_quantized_models_have_no_gradients():
    model = torch.compile(
        torch.nn.Linear(4, 4), backend="aicc", options={"quantize": "int8-dynamic"}
    )
    with pytest.raises(Exception, match="quantize is for inference"):
        model(torch.randn(2, 4))
