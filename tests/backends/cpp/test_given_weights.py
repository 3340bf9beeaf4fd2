"""Convolutions whose weights are arguments, as torch.compile gives them."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import aicc

CASES = {
    "one tap": (64, 96, 1, 1, 20),
    "many places": (32, 64, 3, 1, 20),
    "few places": (256, 128, 3, 1, 7),
    "strided": (48, 70, 3, 2, 15),
    "deep": (256, 256, 3, 1, 14),
}


class Convolution(torch.nn.Module):
    """A convolution, batch normalisation and ReLU of arguments."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x, w, mean, var, scale, bias):
        y = F.conv2d(x, w, None, self.stride, w.shape[-1] // 2)
        return torch.relu(F.batch_norm(y, mean, var, scale, bias))


def arguments(channels: int, filters: int, taps: int, size: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    x, w = torch.randn(2, channels, size, size), torch.randn(filters, channels, taps, taps)
    vectors = [torch.rand(filters) + 0.5 for _ in range(4)]
    return (x, w / (channels * taps**2) ** 0.5, *vectors)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("name", CASES)
def test_as_torch_does_and_all_in_cpp(name, layout):
    channels, filters, taps, stride, size = CASES[name]
    model, given = Convolution(stride).eval(), arguments(channels, filters, taps, size)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*tile by tile.*")
        compiled = aicc.compile(model, given, target="cpp", layout=layout)
    found = compiled(*[x.numpy() for x in given])
    np.testing.assert_allclose(found, model(*given).numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_what_is_one_number_a_channel_is_computed_once_a_channel(name):
    """Not for each place: what normalises channels takes no array of the block's size."""
    channels, filters, taps, stride, size = CASES[name]
    given = arguments(channels, filters, taps, size)
    compiled = aicc.compile(Convolution(stride).eval(), given, target="cpp", layout="nhwc")
    (kernel,) = re.findall(r"extern \"C\" void conv\w*_kernel.*?\n}\n", compiled.source, re.S)
    before, after = kernel.split("dot(acc")
    assert "rsqrt(" in before and "rsqrt(" not in after
    arrays = re.findall(
        r"alignas\(64\) float (\w+)\[(\d+)\]", before.split("alignas(64) float acc")[0]
    )
    assert arrays and all(int(length) <= filters + 64 for _, length in arrays)
