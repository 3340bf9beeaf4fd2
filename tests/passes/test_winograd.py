"""Convolutions by Winograd's method: the same numbers, in kernels, where it pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from xdsl.dialects.builtin import ModuleOp

import aicc
from aicc.backends.numpy import NumpyBackend
from aicc.backends.numpy.kernels import winograd
from aicc.backends.numpy.kernels.conv import conv
from aicc.backends.numpy.kernels.windows import in_layout
from aicc.ir import graph
from aicc.ir.graph.winograd import transformed_weight
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.types import shape_of, tensor
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import CPP, module_of, run_cpp

NUMPY = NumpyBackend()
RNG = np.random.default_rng(0)


def by_hand(x, w, bias, pads, layout, size):
    patches = winograd.input_transform(x, pads=pads, layout=layout)
    weight = transformed_weight(w, layout)
    return winograd.conv(patches, weight, bias, size=size, layout=layout)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(*[st.integers(1, n) for n in (3, 5, 6)]),
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
    st.sampled_from(["nchw", "nhwc"]),
)
def test_the_method_is_a_convolution(counts, image, pads, layout):
    """In float64 both agree to its last digits, for any size, border and layout."""
    n, c, m = counts
    h, w = (s + pads[i] + pads[2 + i] - 2 for i, s in enumerate(image))
    if min(h, w) < 1:
        return
    x, taps = RNG.standard_normal((n, c, *image)), RNG.standard_normal((m, c, 3, 3))
    bias = RNG.standard_normal(m)
    if layout == "nhwc":
        x, taps = x.transpose(0, 2, 3, 1).copy(), taps.transpose(2, 3, 1, 0).copy()
    options = {"strides": [1, 1], "pads": pads, "dilations": [1, 1], "groups": 1}
    plain = in_layout(conv)
    want = plain(x, taps, bias, **options, layout=layout)
    got = by_hand(x, taps, bias, pads, layout, (h, w))
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels", [64, 512])
def test_the_error_is_about_twice_that_of_a_direct_sum(channels):
    x = RNG.standard_normal((1, channels, 24, 24)).astype(np.float32)
    w = RNG.standard_normal((32, channels, 3, 3)).astype(np.float32)
    exact = F.conv2d(torch.from_numpy(x).double(), torch.from_numpy(w).double(), padding=1).numpy()
    # A direct sum in the order of a kernel: one product after another.
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    direct = np.zeros(exact.shape, np.float32)
    for c in range(channels):
        for i in range(3):
            for j in range(3):
                direct += w[:, c, i, j, None, None] * wide[:, c, None, i : i + 24, j : j + 24]
    got = by_hand(x, w, None, [1] * 4, "nchw", (24, 24))

    def error(y: np.ndarray) -> float:
        return float(np.sqrt(np.mean((y - exact) ** 2)))

    assert error(got) < 2.5 * error(direct)


def convolution(sizes: tuple[int, ...], pads: list[int], layout: str) -> ModuleOp:
    """A convolution with a bias, a residual and a ReLU."""
    n, c, m, h, w = sizes
    taps = (RNG.standard_normal((m, c, 3, 3)) / np.sqrt(9 * c)).astype(np.float32)
    if layout == "nhwc":
        taps = taps.transpose(2, 3, 1, 0).copy()
    size = [s + pads[i] + pads[2 + i] - 2 for i, s in enumerate((h, w))]
    image = (n, h, w, c) if layout == "nhwc" else (n, c, h, w)
    result = (n, *size, m) if layout == "nhwc" else (n, m, *size)

    def body(b, x, bias, more):
        weight = b.constant(taps, "f32", "w")
        options = {"strides": [1, 1], "dilations": [1, 1], "pads": pads, "layout": layout}
        y = b.emit(graph.Conv, x, weight, bias, **options)
        z = b.emit(graph.Add, y, more)
        return [b.emit(graph.Relu, z)]

    shapes = (image, (m,), result)
    return module_of(body, *(tensor(s, "f32") for s in shapes))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("sizes", "pads"),
    [
        ((2, 17, 33, 7, 9), [1, 1, 1, 1]),
        ((3, 5, 24, 13, 6), [0, 0, 0, 0]),
        ((1, 40, 7, 31, 30), [2, 2, 2, 2]),
        ((2, 20, 70, 6, 17), [0, 1, 2, 0]),
        ((2, 1, 1, 1, 1), [1, 1, 1, 1]),
    ],
)
def test_kernels(sizes, pads, layout):
    """Tile by tile in NumPy and built from C++, with canaries: sizes that no block divides."""
    module = convolution(sizes, pads, layout)
    shapes = [shape_of(a) for a in main_of(module).args]
    inputs = [RNG.standard_normal(s).astype(np.float32) for s in shapes]  # type: ignore[arg-type]
    (want,) = NUMPY.run(module, inputs)
    context = CompileContext(evaluator=NUMPY, target=CPP.description, remarks=[])
    passes = (
        "fuse,dce,winograd{most=1000000.0},pad-images,lower-to-tile,dce,schedule-cpu{threads=2}"
    )
    PassManager(parse_pipeline(passes), context).run(module)
    kernels = [op for op in module.walk() if op.name == "tile.dot"]
    assert len(kernels) == 36
    for got in (NUMPY.run(module, inputs), run_cpp(module, inputs)):
        np.testing.assert_allclose(got[0], want, rtol=2e-5, atol=2e-5)


def used(model: torch.nn.Module, *shape: int, **options) -> bool:
    compiled = aicc.compile(model.eval(), (torch.randn(*shape),), target="cpp", **options)
    return "winograd" in compiled.source


def test_where_it_pays():
    """Many places and channels: yes. Few of either, where weights would only grow: no."""
    layer = torch.nn.Conv2d
    assert used(layer(64, 64, 3, padding=1), 1, 64, 56, 56)
    assert used(layer(128, 128, 3), 2, 128, 30, 30)
    assert not used(layer(512, 512, 3, padding=1), 1, 512, 7, 7)
    assert not used(layer(3, 64, 3, padding=1), 1, 3, 112, 112)


def test_exact_leaves_it_out():
    assert not used(torch.nn.Conv2d(64, 64, 3, padding=1), 1, 64, 56, 56, exact=True)


def test_batches_of_any_size():
    """A size that shapes leave open stays open."""
    from torch.export import Dim

    model = torch.nn.Sequential(torch.nn.Conv2d(64, 96, 3, padding=1), torch.nn.ReLU()).eval()
    shapes = {"input": {0: Dim("n", max=64)}}
    program = torch.export.export(model, (torch.randn(4, 64, 42, 45),), dynamic_shapes=shapes)
    compiled = aicc.compile(program, target="cpp")
    assert "winograd" in compiled.source
    for n in (1, 2, 5):
        x = torch.randn(n, 64, 42, 45)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
