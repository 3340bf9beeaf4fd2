"""Models with random weights that the benchmarks measure."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

CACHE = Path(os.environ.get("AICC_BENCH_CACHE", "/tmp/aicc-benchmarks"))
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 with a residual connection; the 3×3 has the stride."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet50(nn.Module):
    """ResNet-50 (v1.5) for images [N, 3, 224, 224]."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks, inputs = [], 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for i in range(count):
                blocks.append(Bottleneck(inputs, width, stride if i == 0 else 1))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class GPT2(nn.Module):
    """GPT-2 small from transformers: token ids to logits, without a cache."""

    def __init__(self):
        from transformers import GPT2Config, GPT2LMHeadModel

        super().__init__()
        self.model = GPT2LMHeadModel(GPT2Config(use_cache=False))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=ids, use_cache=False).logits


def torch_model(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A torch model in eval mode and example inputs."""
    torch.manual_seed(0)
    if name == "gpt2":
        return GPT2().eval(), (torch.randint(0, 50257, (1, 128)),)
    return ResNet50().eval(), (torch.randn(1, 3, 224, 224),)


def exported(name: str) -> Path:
    """The torch model `name` as ONNX with static sizes, exported once."""
    path = CACHE / f"{name}.onnx"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        model, inputs = torch_model(name)
        torch.onnx.export(
            model,
            inputs,
            path,
            dynamo=True,
            input_names=["input"],
            output_names=["output"],
            verbose=False,
        )
    return path


def light_names() -> list[str]:
    return sorted(p.stem.removeprefix("light_") for p in LIGHT.glob("light_*.onnx"))


def light(name: str) -> Path:
    """A light model of the onnx package with its weights drawn at random.

    The package's files fill weights by ConstantOfShape nodes; here they are initializers, so that
    every runtime meets real weights. Matrices and filters are scaled to keep the variance.
    """
    path = CACHE / f"light_{name}.onnx"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    graph = model.graph
    rng = np.random.default_rng(0)
    known = {i.name: i for i in graph.initializer}
    nodes, weights, shapes = [], [], set()
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in known:
            nodes.append(node)
            continue
        shape = numpy_helper.to_array(known[node.input[0]]).tolist()
        shapes.add(node.input[0])
        if len(shape) > 1:
            array = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        else:
            array = rng.uniform(0.5, 1.5, shape)  # fit for a variance
        weights.append(numpy_helper.from_array(array.astype(np.float32), node.output[0]))
    kept = [i for n, i in known.items() if n not in shapes]
    inputs = [i for i in graph.input if i.name not in known]
    for field in ("node", "initializer", "input"):
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *weights])
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # from 4 on initializers need be no inputs
    onnx.save(model, path)
    return path


def inputs_of(path: Path) -> dict[str, np.ndarray]:
    """Random inputs of an ONNX model, by name."""
    model = onnx.load(path, load_external_data=False)
    initialized = {i.name for i in model.graph.initializer}
    rng = np.random.default_rng(0)
    found = {}
    for info in model.graph.input:
        if info.name in initialized:
            continue
        type = info.type.tensor_type
        shape = [d.dim_value for d in type.shape.dim]
        if type.elem_type == onnx.TensorProto.FLOAT:
            found[info.name] = rng.normal(0, 1, shape).astype(np.float32)
        else:
            found[info.name] = rng.integers(0, 50257, shape)
    return found
