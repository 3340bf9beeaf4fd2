"""Where channels lie on a GPU: what loads images by vectors, and the results."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import aicc
from aicc.backends.triton.layouts import layout_cost
from aicc.ir import graph
from aicc.ir.types import tensor
from tests.backends.test_kernels import module_of


def convolution(image, weight, **params):
    rank = len(image) - 2
    given = {"strides": [1] * rank, "pads": [0] * 2 * rank, "dilations": [1] * rank, **params}

    def body(b, x, w):
        return [b.emit(graph.Conv, x, w, None, **given)]

    module = module_of(body, tensor(image, "bf16"), tensor(weight, "bf16"))
    return next(op for op in module.walk() if isinstance(op, graph.Conv))


@pytest.mark.parametrize(
    "image, weight, params, loses",
    [
        ((1, 64, 56, 56), (64, 64, 3, 3), {}, True),
        ((1, 256, 56, 56), (64, 256, 1, 1), {}, False),  # rows are vectors either way
        ((1, 256, 56, 56), (512, 256, 1, 1), {"strides": [2, 2]}, True),
        ((1, 3, 224, 224), (64, 3, 7, 7), {}, False),  # too few channels for vectors
        ((1, 96, 56, 56), (96, 1, 3, 3), {"groups": 96}, True),
        ((1, 64, 56, 56), (64, 4, 3, 3), {"groups": 16}, False),
    ],
)
def test_costs(image, weight, params, loses):
    op = convolution(image, weight, **params)
    assert layout_cost(op, last=True) == 0
    assert (layout_cost(op, last=False) > 0) == loses


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x).mean((2, 3))


def test_inner_images_have_channels_last():
    torch.manual_seed(0)
    model, x = Net().eval().bfloat16(), torch.randn(2, 3, 35, 35).bfloat16()
    compiled = aicc.compile(model, (x,), target="triton")
    assigned = compiled.ir(after="assign-layouts")
    assert assigned.count('layout = "nhwc"') == 4 and "graph.transpose" in assigned
    torch.testing.assert_close(compiled(x), model(x), rtol=3e-2, atol=3e-2)
