"""What a kernel's stages keep in arrays, and what they fetch for the next program."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import aicc
from tests.function_module import Function

F = nn.functional


def compiled(f, *inputs):
    return aicc.compile(Function(f), inputs, target="cpp")


def test_what_is_cheap_from_an_array_has_none():
    """Of a norm after gelu, gelu is kept; its distance from the mean is one subtraction."""
    x = torch.randn(8, 96)
    made = compiled(lambda x: F.layer_norm(F.gelu(x), (96,)), x)
    assert made.source.count("alignas") == 1
    torch.testing.assert_close(made(x), F.layer_norm(F.gelu(x), (96,)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n, fetched", [(4096, 1), (5003, 1), (512, 1), (500, 0), (70_000, 0)])
def test_long_rows_are_fetched_while_others_are_summed(n, fetched):
    x = torch.randn(6, n)
    made = compiled(lambda x: torch.logsumexp(x, -1), x)
    assert made.source.count("lanes.load_again(") == fetched
    torch.testing.assert_close(made(x), torch.logsumexp(x, -1), rtol=1e-6, atol=1e-6)


def test_rows_that_do_not_follow_one_another_are_not_fetched():
    x = torch.randn(6, 9000)
    made = compiled(lambda x: torch.logsumexp(x[:, :8192], -1), x)
    assert "load_again" not in made.source
    torch.testing.assert_close(made(x), torch.logsumexp(x[:, :8192], -1), rtol=1e-6, atol=1e-6)
