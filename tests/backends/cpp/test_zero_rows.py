"""Rows that are there as a whole or not at all: zeros stand for those that aren't."""

from __future__ import annotations

import numpy as np
import pytest

import aicc
from aicc.backends.cpp.values import MOST_ZEROS
from aicc.ir import graph
from aicc.ir.types import tensor
from tests.backends.test_kernels import NUMPY, lowered, module_of, run_cpp


def depthwise(channels: int, dtype: str = "f32"):
    """3×3 over channels last, whose borders are beyond the image."""

    def body(b, x, w):
        window = {"pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1]}
        return [b.emit(graph.Conv, x, w, **window, groups=channels, layout="nhwc")]

    return module_of(body, tensor((2, 5, 7, channels), dtype), tensor((3, 3, 1, channels), dtype))


def padded(value: float):
    def body(b, x):
        fill = b.constant(value, "f32")
        return [b.emit(graph.Pad, x, fill, low=[1, 2, 0], high=[2, 1, 0])]

    return module_of(body, tensor((3, 4, 33), "f32"))


@pytest.mark.parametrize("channels", [1, 17, 64, MOST_ZEROS, MOST_ZEROS + 40])
@pytest.mark.parametrize("dtype", ["f32", "f16", "f64"])
def test_convolutions(channels, dtype):
    rng = np.random.default_rng(0)
    kind = {"f32": "f4", "f16": "f2", "f64": "f8"}[dtype]
    inputs = [rng.normal(size=s).astype(kind) for s in ((2, 5, 7, channels), (3, 3, 1, channels))]
    (want,) = NUMPY.run(depthwise(channels, dtype), inputs)
    (got,) = run_cpp(lowered(depthwise(channels, dtype)), inputs)
    tolerance = 1e-2 if dtype == "f16" else 1e-5
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("value", [0.0, -0.0, 2.5, -np.inf])
def test_pads(value):
    """Only +0 is what the row holds: bits of other fillings are kept too."""
    x = np.random.default_rng(0).normal(size=(3, 4, 33)).astype(np.float32)
    (want,) = NUMPY.run(padded(value), [x])
    (got,) = run_cpp(lowered(padded(value)), [x])
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


def test_masks_are_gone():
    source = aicc.compile(depthwise(64), target="cpp").source
    assert "zeros_for(" in source and "load_where(" not in source
