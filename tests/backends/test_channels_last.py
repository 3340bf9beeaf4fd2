"""Convolutions and poolings of images whose channels lie last: the same numbers, turned."""

from __future__ import annotations

import numpy as np
import pytest

from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir import graph
from aicc.ir.types import tensor
from tests.backends.test_kernels import agree, module_of, tolerance

NUMPY = NumpyBackend()


def moved(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def convolution(layout: str, image, weight, dtype="f32", **options):
    last = layout == "nhwc"
    m = weight[0]
    shapes = [
        (image[0], *image[2:], image[1]) if last else image,
        (*weight[2:], weight[1], weight[0]) if last else weight,
        (m,),
    ]

    def body(b, x, w, bias):
        y = b.emit(graph.Conv, x, w, bias, layout=layout, **options)
        return [b.emit(graph.Relu, y)]

    return module_of(body, *(tensor(s, dtype) for s in shapes))


CASES = {
    "line": ((2, 4, 9), (6, 4, 3), 1),
    "image": ((2, 5, 7, 6), (7, 5, 3, 2), 1),
    "one tap": ((2, 5, 7, 6), (7, 5, 1, 1), 1),
    "grouped": ((2, 6, 7, 6), (8, 3, 3, 3), 2),
    "depthwise": ((2, 6, 7, 6), (6, 1, 3, 3), 6),
    "two a channel": ((2, 3, 7, 6), (6, 1, 3, 3), 3),
    "volume": ((1, 3, 5, 6, 4), (4, 3, 2, 3, 2), 1),
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_convolution(name, padded):
    image, weight, groups = CASES[name]
    rank = len(image) - 2
    options = {
        "strides": [2, 1, 1][:rank],
        "pads": [1 if padded and k > 1 else 0 for k in weight[2:]] * 2,
        "dilations": [1, 2, 1][:rank] if name == "image" else [1] * rank,
        "groups": groups,
    }
    rng = np.random.default_rng(0)
    inputs = [rng.normal(0, 1, s).astype(np.float32) for s in (image, weight, weight[:1])]
    (want,) = NUMPY.run(convolution("nchw", image, weight, **options), inputs)
    last = convolution("nhwc", image, weight, **options)
    order = (*range(2, rank + 2), 1, 0)
    turned = [moved(inputs[0]), inputs[1].transpose(order), inputs[2]]
    (found,) = NUMPY.run(last, turned)
    np.testing.assert_allclose(found, moved(want), rtol=1e-5, atol=1e-5)
    agree(last, **tolerance("f32"))


@pytest.mark.parametrize("kind", ["max", "average", "average of the image"])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling(kind, ceil_mode):
    params = {
        "kernel_shape": [3, 2],
        "strides": [2, 2],
        "pads": [1, 0, 1, 1],
        "dilations": [1, 1],
        "ceil_mode": ceil_mode,
    }
    cls = graph.MaxPool if kind == "max" else graph.AvgPool
    if kind == "average":
        params["count_include_pad"] = True

    def module(layout, shape):
        return module_of(
            lambda b, x: [b.emit(cls, x, layout=layout, **params)], tensor(shape, "f32")
        )

    x = np.random.default_rng(0).normal(0, 1, (2, 5, 7, 6)).astype(np.float32)
    (want,) = NUMPY.run(module("nchw", x.shape), [x])
    last = module("nhwc", moved(x).shape)
    (found,) = NUMPY.run(last, [moved(x)])
    np.testing.assert_array_equal(found, moved(want))
    agree(last, **tolerance("f32"))
