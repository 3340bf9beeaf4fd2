"""Small models that together use every kind of kernel, and what they are printed as."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

import aicc
from aicc.backends.ascendc.backend import AscendProgram
from aicc.backends.ascendc.emulate import Emulated
from tests.function_module import Function

F = nn.functional


def cases() -> dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]]:
    torch.manual_seed(0)
    r = torch.randn
    return {
        "chain": (Function(lambda a, b: torch.tanh(a * b + 1)), (r(37, 126), r(126))),
        "softmax": (nn.Softmax(-1), (r(13, 126),)),
        "gelu_norm": (nn.Sequential(nn.GELU(), nn.LayerNorm(126)), (r(13, 126),)),
        "where": (Function(lambda a, b: torch.where(a > b, a, b * 2)), (r(37, 41), r(37, 41))),
        "half": (Function(lambda a: torch.sigmoid(a) * 3), (r(9, 33).half(),)),
        "linear": (nn.Sequential(nn.Linear(70, 50), nn.ReLU()), (r(33, 70),)),
        "convolution": (nn.Conv2d(3, 8, 3, padding=1), (r(1, 3, 9, 9),)),
        "pool": (nn.MaxPool2d(2), (r(1, 3, 8, 8),)),
        "attention": (
            Function(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
            (r(1, 2, 19, 16), r(1, 2, 19, 16), r(1, 2, 19, 16)),
        ),
        "embedding": (nn.Embedding(20, 12), (torch.randint(0, 20, (3, 7)),)),
        "argmax": (Function(lambda a: a.argmax(-1)), (r(5, 33),)),
        "transpose": (Function(lambda a: a.T.contiguous() + 1), (r(5, 33),)),
        "column_sums": (Function(lambda a: a.sum(0)), (r(50, 33),)),
        "functions": (
            Function(lambda a: torch.erf(a) + torch.log1p(a * a) + torch.rsqrt(a * a + 1)),
            (r(5, 33),),
        ),
        "concat": (Function(lambda a, b: torch.cat([a, b]) * 2), (r(5, 33), r(4, 33))),
        "padded_pool": (nn.MaxPool2d(3, 2, padding=1), (r(1, 3, 9, 9),)),
        "merged_heads": (
            Function(
                lambda a: a.transpose(1, 2).reshape(1, 7, 32) @ a[0, 0, :, :1].expand(7, 32).T
            ),
            (r(1, 4, 7, 8),),
        ),
        "bools": (Function(lambda a, b: (a > 0) & ~(b > 0)), (r(5, 33), r(5, 33))),
    }


@cache
def printed(name: str) -> tuple[AscendProgram, tuple[torch.Tensor, ...], torch.Tensor]:
    """A case compiled, its inputs and what torch makes of them."""
    model, inputs = cases()[name]
    compiled = aicc.compile(model.eval(), inputs, target="ascendc")
    program = compiled._program
    assert isinstance(program, AscendProgram)
    return program, inputs, model(*inputs).detach()


def run(name: str, source: str | None = None) -> Emulated:
    """Run a case on the emulator, from a changed source too; raises EmulationError."""
    program, inputs, _ = printed(name)
    emulated = Emulated(program, source)
    emulated(*[x.numpy() for x in inputs])
    return emulated
