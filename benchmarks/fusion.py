"""Kernels per model and the bytes that they move: aicc's `fuse` beside Inductor's for a GPU.

fusion.py [MODEL …]: transformers of two layers at their base width, and ResNet-50; float32. No GPU
is needed (`inductor_gpu.py`). aicc's kernels are the launches of its host code, and ops left to a
library; their bytes are what is read of operands and the results. Inductor's are the launches of
its host code and the bytes that its scheduler counts. Weights count on both sides. The arena is
what memory planning reserves for all that lives between kernels.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from typing import Any

import harness
import inductor_gpu
import models
import torch
from torch import nn

NAMES = ("bert", "gpt2", "llama", "vit", "resnet50")
OTHERS = ("mobilenet", "t5", "mixtral", "mamba")
"""Models beside those whose kernels are compiled ahead of time."""

NOT_KERNELS = ("constant", "tile.alloc", "shape_expr", "shape_of", "reshape")


class Last(nn.Module):
    """A transformer of token ids or pixels to its last hidden state."""

    def __init__(self, model: nn.Module, name: str):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(**{self.name: x}).last_hidden_state


class EncoderDecoder(nn.Module):
    """A transformer from two sequences of token ids to its decoder's last hidden state."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=x, decoder_input_ids=y).last_hidden_state


def grouped_query(config: Callable[..., Any]) -> Any:
    """Two layers of width 1024 whose 16 heads share 4 of keys and values."""
    return config(
        vocab_size=1000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=2,
        num_attention_heads=16,
        num_key_value_heads=4,
        use_cache=False,
    )


def build(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    import transformers as t

    torch.manual_seed(0)
    ids = torch.randint(0, 1000, (1, 128))
    if name == "bert":
        config = t.BertConfig(num_hidden_layers=2)
        return Last(t.BertModel(config, add_pooling_layer=False).eval(), "input_ids"), (ids,)
    if name == "gpt2":
        config = t.GPT2Config(n_layer=2, use_cache=False)
        return Last(t.GPT2Model(config).eval(), "input_ids"), (ids,)
    if name == "llama":
        config = grouped_query(t.LlamaConfig)
        return Last(t.LlamaModel(config).eval(), "input_ids"), (ids,)
    if name == "vit":
        config = t.ViTConfig(num_hidden_layers=2)
        model = t.ViTModel(config, add_pooling_layer=False).eval()
        return Last(model, "pixel_values"), (torch.randn(1, 3, 224, 224),)
    if name == "mobilenet":
        model = t.MobileNetV2Model(t.MobileNetV2Config()).eval()
        return Last(model, "pixel_values"), (torch.randn(1, 3, 224, 224),)
    if name == "t5":
        config = t.T5Config(num_layers=2, use_cache=False)
        return EncoderDecoder(t.T5Model(config).eval()), (ids, ids)
    if name == "mixtral":
        config = grouped_query(t.MixtralConfig)
        config._experts_implementation = "batched_mm"
        return Last(t.MixtralModel(config).eval(), "input_ids"), (ids,)
    if name == "mamba":
        config = t.MambaConfig(vocab_size=1000, num_hidden_layers=2, use_cache=False)
        return Last(t.MambaModel(config).eval(), "input_ids"), (ids[:, :32],)
    return models.torch_model("resnet50")


def by_aicc(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    import aicc
    from aicc.ir import tile
    from aicc.ir.module import main_of
    from aicc.ir.op import GraphOp
    from aicc.passes.fusion_groups import moved_bytes, size_of

    module = aicc.compile(model, inputs, target="triton").module
    made = {k.sym_name: k for k in module.ops if isinstance(k, tile.Kernel)}
    kernels: Counter[str] = Counter()
    moved = 0
    for func in (f for f in module.ops if not isinstance(f, tile.Kernel)):
        for op in func.regions[0].block.ops:
            if isinstance(op, tile.Launch):
                kernels[op.kernel] += 1
                moved += size_of(made[op.kernel].moved)
            elif isinstance(op, GraphOp) and op.kind not in NOT_KERNELS:
                kernels[f"library {op.kind}"] += 1
                moved += size_of((moved_bytes(op),))
    func = main_of(module)
    return {
        "kernels": kernels.total(),
        "bytes": moved,
        "arena": tile.arena_bytes(func),
        "live": tile.most_live_bytes(func),
        "names": dict(kernels.most_common()),
    }


def by_inductor(graph: torch.fx.GraphModule) -> dict[str, Any]:
    kernels, moved = inductor_gpu.kernels_and_bytes(graph)
    return {"kernels": kernels.total(), "bytes": moved, "names": dict(kernels.most_common())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="default: all")
    args = parser.parse_args()
    results = {}
    names = args.models or NAMES
    built = {name: build(name) for name in names}
    ours = {name: by_aicc(*parts) for name, parts in built.items()}
    graphs = {name: inductor_gpu.exported(*parts) for name, parts in built.items()}
    inductor_gpu.pretend()
    for name, graph in graphs.items():
        found = results[name] = {"aicc": ours[name], "inductor": by_inductor(graph)}
        print(f"\n{name}")
        for system, r in found.items():
            print(f"  {system:9s} {r['kernels']:4d} kernels  {r['bytes'] / 2**20:8.1f} MiB")
            if "arena" in r:
                print(
                    f"    arena {r['arena'] / 2**20:.2f} MiB, {r['live'] / 2**20:.2f} live at once"
                )
            print("    " + ", ".join(f"{n}× {k}" for k, n in list(r["names"].items())[:14]))
    harness.write("fusion", fusion=results)


if __name__ == "__main__":
    main()
