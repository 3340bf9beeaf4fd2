"""Dims that are products of symbols, through kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import aicc


class Block(torch.nn.Module):
    """Norm, product, gelu, product over [batch, 16, width]: torch joins batch and 16 to one dim."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(24)
        self.up, self.down = torch.nn.Linear(24, 48), torch.nn.Linear(48, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))


@pytest.mark.parametrize("target", ["numpy", "cpp"])
def test_rows_of_a_symbolic_batch(target):
    torch.manual_seed(0)
    model = Block().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.randn(2, 16, 24),), dynamic_shapes=({0: batch},))
    compiled = aicc.compile(program, target=target)
    for rows in (1, 3, 8):
        x = torch.randn(rows, 16, 24)
        with torch.no_grad():
            want = model(x).numpy()
        np.testing.assert_allclose(compiled(x).numpy(), want, rtol=1e-4, atol=1e-5)
