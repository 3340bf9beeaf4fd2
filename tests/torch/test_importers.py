"""Importers whose edge cases the operator database's samples may miss; nothing may fall back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import aicc
from aicc.errors import InputError

INF, NAN = math.inf, math.nan
EDGES = torch.tensor([0.0, -0.0, 1.5, -2.5, INF, -INF, NAN, 3e38, 1e-40])


def check(f, *args, grad=(), zeros=True):
    """Compiled without a fallback, f gives what it gives eagerly, its gradients too.

    `zeros`: the signs of zeros must agree.
    """
    torch._dynamo.reset()
    compiled = torch.compile(f, backend="aicc", options={"fallback": "error"})
    results = []
    for g in (f, compiled):
        inputs = [a.clone().requires_grad_(i in grad) for i, a in enumerate(args)]
        out = g(*inputs)
        slopes = ()
        if grad:
            slopes = torch.autograd.grad(out.sum(), [inputs[i] for i in grad])
        results.append((out.detach(), *slopes))
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got, want, equal_nan=True)
        if want.is_floating_point() and zeros:
            assert (got.signbit() == want.signbit())[want == 0].all()


@pytest.mark.parametrize("f", [torch.sign, torch.signbit, torch.abs, torch.angle, torch.sgn])
def test_unary_edges(f):
    check(f, EDGES)


@pytest.mark.parametrize("f", [torch.copysign, torch.hypot, torch.fmax, torch.fmin, torch.atan2])
def test_binary_edges(f):
    zeros = f not in (torch.fmax, torch.fmin)  # which of 0 and −0 is larger is left open
    check(f, EDGES[:, None], EDGES[None, :], zeros=zeros)


def test_scalars_take_a_dim():
    x = torch.tensor(2.5)
    check(lambda x: x.sum(0) + x.mean(-1) + x.amax(0), x, grad=(0,))
    check(lambda x, i: x.gather(0, i), x, torch.tensor(0))
    check(lambda x, i: x.scatter(0, i, 7.0), x, torch.tensor(0))


@pytest.mark.parametrize("shape", [(8,), (3, 5)])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_fourier_transforms_undo_each_other(shape, norm):
    x = torch.randn(shape)
    check(lambda x: torch.view_as_real(torch.fft.fftn(x, norm=norm)), x)
    check(lambda x: torch.fft.irfftn(torch.fft.rfftn(x, norm=norm), s=shape, norm=norm), x)


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, INF])
def test_distances(p):
    a, b = torch.randn(4, 3), torch.randn(5, 3)
    grad = (0, 1) if p else ()
    check(lambda a, b: torch.cdist(a, b, p, "donot_use_mm_for_euclid_dist"), a, b, grad=grad)
    check(lambda a: F.pdist(a, p), a, grad=(0,) if p else ())


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode):
    """An empty bag, and an index that is padding."""
    weight = torch.randn(6, 3)
    indices, offsets = torch.tensor([1, 2, 5, 0, 3]), torch.tensor([0, 2, 2])
    with torch.no_grad():
        check(
            lambda w, i, o: F.embedding_bag(i, w, o, mode=mode, padding_idx=3),
            weight,
            indices,
            offsets,
        )


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("how", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_scatter_reduce(how, include, dtype):
    x, source = torch.arange(4).to(dtype), torch.tensor([-5, 3, 4, -8, 9]).to(dtype)
    at = torch.tensor([0, 0, 2, 2, 2])
    check(lambda x, s: x.scatter_reduce(0, at, s, how, include_self=include), x, source)


def test_masked_scatter_takes_in_order():
    mask = torch.tensor([[True, False, True], [False, True, True]])
    x, source = torch.zeros(2, 3), torch.arange(1.0, 7.0)
    check(lambda x, s: x.masked_scatter(mask, s), x, source, grad=(0, 1))


@pytest.mark.parametrize("ceil", [True, False])
@pytest.mark.parametrize("divisor", [None, 3])
@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_average_pools(ceil, divisor, count, dtype):
    x = (torch.randn(2, 3, 7, 8) * 9).to(dtype)
    grad = (0,) if dtype == torch.float32 else ()
    check(lambda x: F.avg_pool2d(x, (3, 2), (2, 3), 1, ceil, count, divisor), x, grad=grad)


@pytest.mark.parametrize("pad", [(1, 2, 0, 3), (-1, 2, 1, -1)])
def test_replicated_pads(pad):
    check(lambda x: F.pad(x, pad, mode="replicate"), torch.randn(1, 2, 4, 5), grad=(0,))


def test_output_padding_has_gradients():
    x, w = torch.randn(1, 2, 4, 4), torch.randn(2, 3, 3, 3)
    f = lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)  # noqa: E731
    check(f, x, w, grad=(0, 1))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x, y):
        return torch.relu(self.linear(x)) + y.transpose(0, 1)


def test_symbolically_traced_modules_compile():
    block = Block()
    traced = torch.fx.symbolic_trace(block)
    x, y = torch.randn(3, 4), torch.randn(4, 3)
    compiled = aicc.compile(traced, [x, y])
    torch.testing.assert_close(compiled(x, y), block(x, y))


def test_exported_files_keep_dynamic_dims(tmp_path):
    n = torch.export.Dim("n", min=2, max=9)
    block = Block()
    example = (torch.randn(3, 4), torch.randn(4, 3))
    program = torch.export.export(block, example, dynamic_shapes=({0: n}, {1: n}))
    torch.export.save(program, tmp_path / "block.pt2")
    compiled = aicc.compile(tmp_path / "block.pt2")
    for size in (2, 5, 9):
        x, y = torch.randn(size, 4), torch.randn(4, size)
        torch.testing.assert_close(compiled(x, y), block(x, y))
    with pytest.raises(InputError):
        compiled.run([np.zeros((10, 4), np.float32), np.zeros((4, 10), np.float32)])


def test_weights_are_not_copied():
    """A parameter changed in place after compiling is seen: constants share its memory."""
    block = Block().eval()
    x, y = torch.randn(3, 4), torch.randn(4, 3)
    compiled = aicc.compile(block, [x, y], pipeline="")
    with torch.no_grad():
        block.linear.weight.mul_(2)
    torch.testing.assert_close(compiled(x, y), block(x, y))


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand(1000), torch.randn(x.shape), torch.randperm(50)


def test_exported_programs_draw_random_numbers():
    x = torch.zeros(1000)
    compiled = aicc.compile(Noise(), [x])
    uniform, normal, order = compiled(x)
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.05
    assert abs(normal.mean()) < 0.2 and abs(normal.std() - 1) < 0.1
    assert sorted(order.tolist()) == list(range(50))
    assert not torch.equal(uniform, compiled(x)[0])


def test_compiled_graphs_draw_as_torch_does():
    compiled = torch.compile(Noise(), backend="aicc")
    x = torch.zeros(1000)
    torch.manual_seed(7)
    want = Noise()(x)
    torch.manual_seed(7)
    for a, b in zip(want, compiled(x), strict=True):
        torch.testing.assert_close(a, b)


ODD = torch.tensor([[3.0, NAN, 1.0, 2.0], [5.0, 7.0, 6.0, 8.0], [0.0, 0.5, INF, -INF]])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.median(-1).values,
        lambda x: x.median(0, keepdim=True).values,
        lambda x: torch.median(x[1:]),
        torch.median,
        lambda x: x.kthvalue(3).values,
        lambda x: x[1:].median(-1).indices,
        lambda x: x[1:].kthvalue(2, dim=0).indices,
    ],
)
def test_elements_by_rank(f):
    """NaN is larger than all, and the median where there is one."""
    check(f, ODD)


@pytest.mark.parametrize("right", [False, True])
def test_places_in_sorted_lines(right):
    line, lines = torch.tensor([-1.0, 0.5, 0.5, 2.0]), torch.sort(ODD.nan_to_num(4), -1).values
    check(lambda x: torch.searchsorted(line, x, right=right), ODD)
    check(lambda x: torch.searchsorted(lines, x, right=right, out_int32=True), ODD)
    check(lambda x: torch.bucketize(x, line, right=right), ODD)
    check(lambda x: torch.bucketize(x, torch.tensor([0, 3]), right=right), torch.arange(-2, 6))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.rms_norm(x, (4,)),  # whose epsilon is that of the type
        nn.RMSNorm(4),
        lambda x: x.quantile(0.3, dim=-1),
    ],
)
def test_operators_whose_decomposition_writes_in_place(f):
    """An exported program has them whole: what they become is traced once more."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = f

        def forward(self, x):
            return self.f(x)

    x = torch.randn(3, 4)
    found = aicc.compile(Model(), (x,), target="numpy")(x)
    torch.testing.assert_close(found, Model()(x).detach())


@pytest.mark.parametrize("dims", [(), 0, -1, (0, 2), (1, 1)])
@pytest.mark.parametrize("shift", [0, 1, -1, 4, 13])
def test_rolled_lines(shift, dims):
    x = torch.randn(3, 4, 5)
    shifts = shift if isinstance(dims, int) or not dims else (shift, 2)
    check(lambda x: torch.roll(x, shifts, dims), x, grad=(0,))
    check(lambda x: torch.roll(x, shifts, dims), x[:, :0] if dims == 0 else x.int())


@pytest.mark.parametrize("sizes", [(4, 3), (8, 6), (1, 2), (3, 6), (1, 1)])
def test_adaptive_pooling(sizes):
    """Windows of one size and of several; with and without a batch."""
    x = torch.randn(2, 3, 8, 6)
    check(lambda x: F.adaptive_avg_pool2d(x, sizes), x, grad=(0,))
    check(lambda x: F.adaptive_avg_pool2d(x, sizes), x[0])
    check(lambda x: F.adaptive_avg_pool1d(x, sizes[1]), x[0], grad=(0,))
