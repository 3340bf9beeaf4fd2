"""torch's fused layers of inference: encoders and attention of many heads."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import aicc

MASKS = {
    "none": None,
    "square": torch.triu(torch.ones(9, 9, dtype=torch.bool), 1),
    "padding": torch.arange(9) >= torch.tensor([[9], [4], [6]]),
}


def encoder(**options) -> nn.TransformerEncoderLayer:
    torch.manual_seed(0)
    made = nn.TransformerEncoderLayer(24, 3, 40, batch_first=True, **options).eval()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn_like(p) * 0.2)
    return made


def agree(model: nn.Module, *given: torch.Tensor, **options: torch.Tensor) -> None:
    """As torch does, with all in kernels: nothing is left to torch."""
    torch._dynamo.reset()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("error", ".*runs eagerly.*")
        want = model(*given, **options)
        found = torch.compile(model, backend="aicc")(*given, **options)
    for f, w in zip(*([x] if torch.is_tensor(x) else x for x in (found, want)), strict=True):
        if w is not None:
            torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layers(activation, norm_first):
    agree(encoder(activation=activation, norm_first=norm_first), torch.randn(3, 9, 24))


class Fused(nn.Module):
    """A call of the fused layer itself, with a mask of booleans."""

    def __init__(self, kind: int):
        super().__init__()
        self.layer, self.kind = encoder(), kind

    def forward(self, x, mask):
        a, norms = self.layer.self_attn, (self.layer.norm1, self.layer.norm2)
        linears = (self.layer.linear1, self.layer.linear2)
        given = [x, a.embed_dim, a.num_heads, a.in_proj_weight, a.in_proj_bias]
        given += [a.out_proj.weight, a.out_proj.bias, False, False, 1e-5]
        given += [t for n in (*norms, *linears) for t in (n.weight, n.bias)]
        return torch.ops.aten._transformer_encoder_layer_fwd(*given, mask, self.kind)


@pytest.mark.parametrize("name, kind", [("square", 0), ("padding", 1)])
def test_masks_of_encoder_layers(name, kind):
    mask = MASKS[name]
    assert mask is not None
    agree(Fused(kind).eval(), torch.randn(3, 9, 24), mask)


def test_encoders_of_several_layers():
    model = nn.TransformerEncoder(encoder(), 2, enable_nested_tensor=False).eval()
    agree(model, torch.randn(3, 9, 24))


def test_attention_of_many_heads():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(24, 3, batch_first=True).eval()

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x, x, x, need_weights=False)[0]

    agree(Attends().eval(), torch.randn(3, 9, 24))


def test_exported_encoder_layers():
    model, x = encoder(), torch.randn(3, 9, 24)
    with torch.no_grad():
        found = aicc.compile(model, (x,), target="numpy")(x)
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-5)
