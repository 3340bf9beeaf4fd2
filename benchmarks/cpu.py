"""Latency on the CPU: the cpp target beside torch eager, Inductor and onnxruntime.

    python benchmarks/cpu.py [CASE …] [--runs 30] [--autotune]

Kernels, whole torch models and the light ONNX models, two threads, everything interleaved in one
process, medians. Results go to results/cpu.json, or another file for another machine (--to).
"""

from __future__ import annotations

import argparse
import copy
import functools
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import harness
import models
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import aicc

THREADS = 2
FLUSH = 64 << 20


class Function(nn.Module):
    def __init__(self, f: Callable[..., Any]):
        super().__init__()
        self.f = f

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.f(*x)


def gelu_layer_norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(F.gelu(x), x.shape[-1:])


def rms_norm_residual(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    z = x + y
    return z * torch.rsqrt(z.square().mean(-1, keepdim=True) + 1e-6) * w


def rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Decode(nn.Module):
    """GPT-2 for one token after 128 others: from their keys and values to logits and all keys."""

    def __init__(self):
        from transformers import GPT2Config, GPT2LMHeadModel

        super().__init__()
        torch.manual_seed(0)
        self.model = GPT2LMHeadModel(GPT2Config())

    def forward(self, token: torch.Tensor, past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        from transformers import DynamicCache

        cache = DynamicCache()
        for i in range(12):
            cache.update(past[2 * i], past[2 * i + 1], i)
        out = self.model(input_ids=token, past_key_values=cache, use_cache=True)
        kept = [t for layer in out.past_key_values.layers for t in (layer.keys, layer.values)]
        return out.logits, *kept


def kernels() -> dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...], float]]:
    """Functions, their inputs, and the bytes they must move (or 0)."""
    r = torch.randn
    x = r(2048, 1024)
    size = x.nbytes
    found: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...], float]] = {
        "gelu+layer_norm": (gelu_layer_norm, (x,), 2 * size),
        "softmax": (lambda x: torch.softmax(x, -1), (x,), 2 * size),
        "rms_norm+residual": (rms_norm_residual, (x, r(2048, 1024), r(1024)), 3 * size),
        "rope": (rope, (r(1, 32, 1024, 64), r(1024, 64), r(1024, 64)), 2 * size),
        "cross_entropy": (
            lambda x, y: F.cross_entropy(x, y),
            (r(512, 8192), torch.randint(0, 8192, (512,))),
            512 * 8192 * 4,
        ),
    }
    for n in (512, 1024, 2048):
        found[f"gemm {n}"] = (torch.matmul, (r(n, n), r(n, n)), 0)
    for m, k, n in ((128, 768, 768), (128, 768, 3072), (128, 3072, 768)):
        found[f"gemm {m}x{k}x{n}"] = (torch.matmul, (r(m, k), r(k, n)), 0)
    return found


def wholes() -> dict[str, Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]]:
    """Whole models and their inputs."""
    from fusion import Last, build

    def transformer(kind: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
        import transformers as t

        torch.manual_seed(0)
        ids = torch.randint(0, 1000, (1, 128))
        if kind == "bert":
            return Last(t.BertModel(t.BertConfig(), add_pooling_layer=False).eval(), "input_ids"), (
                ids,
            )
        if kind == "vit-tiny":
            config = t.ViTConfig(hidden_size=192, num_attention_heads=3, intermediate_size=768)
            model = t.ViTModel(config, add_pooling_layer=False).eval()
            return Last(model, "pixel_values"), (torch.randn(1, 3, 224, 224),)
        config = t.LlamaConfig(
            vocab_size=1000,
            hidden_size=2048,
            intermediate_size=5632,
            num_hidden_layers=2,
            num_attention_heads=32,
            num_key_value_heads=8,
            use_cache=False,
        )
        return Last(t.LlamaModel(config).eval(), "input_ids"), (ids,)

    def decode() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
        return Decode().eval(), (torch.tensor([[7]]), torch.randn(24, 1, 12, 128, 64))

    def lstm() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
        class Sequence(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(256, 256, batch_first=True)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.lstm(x)[0]

        return Sequence().eval(), (torch.randn(1, 32, 256),)

    return {
        "resnet50": lambda: models.torch_model("resnet50"),
        "mobilenet_v2": lambda: build("mobilenet"),
        "vit-tiny": lambda: transformer("vit-tiny"),
        "bert-base": lambda: transformer("bert"),
        "gpt2": lambda: models.torch_model("gpt2"),
        "gpt2 decode": decode,
        "llama-2-layers": lambda: transformer("llama"),
        "lstm": lstm,
    }


def session_options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # after each run
    return options


def session_of(path: Any) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), session_options(), ["CPUExecutionProvider"])


def torch_systems(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], onnx: bool, autotune: bool, name: str
) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """What runs a torch module, and how long each took to compile."""
    compile_seconds: dict[str, float] = {}

    def compiled(label: str, make: Callable[[], Any]) -> Callable[[], Any]:
        start = time.perf_counter()
        f = make()
        with torch.no_grad():
            f(*inputs)
        compile_seconds[label] = time.perf_counter() - start
        return lambda: f(*inputs)

    def our_compile() -> Any:
        return aicc.compile(model, inputs, target="cpp")

    with tempfile.TemporaryDirectory() as folder:
        os.environ["AICC_CACHE"] = folder
        run = compiled("aicc", our_compile)
        compiled("aicc, built before", our_compile)
        del os.environ["AICC_CACHE"]
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()
    found: dict[str, Callable[[], Any]] = {"aicc": run}
    found["eager"] = lambda: model(*inputs)
    found["inductor"] = compiled("inductor", lambda: torch.compile(model))
    if autotune:
        torch._dynamo.reset()
        found["inductor max-autotune"] = compiled(
            "inductor max-autotune", lambda: torch.compile(model, mode="max-autotune")
        )
    if onnx:
        path = models.CACHE / f"cpu_{name}.onnx"
        if not path.exists():
            models.CACHE.mkdir(parents=True, exist_ok=True)
            torch.onnx.export(model, inputs, path, dynamo=True, verbose=False)
        session = session_of(path)
        feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), inputs, strict=True)}
        found["onnxruntime"] = lambda: session.run(None, feed)
    return found, compile_seconds


def light_systems(name: str) -> dict[str, Callable[[], Any]]:
    path = models.light(name)
    inputs = models.inputs_of(path)
    session = session_of(path)
    ours = aicc.compile(path, target="cpp")
    return {
        "aicc": lambda: ours.run(list(inputs.values())),
        "onnxruntime": lambda: session.run(None, inputs),
    }


def integer_systems(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    """A model quantized to int8, weights and activations; the peer runs the same one as QDQ."""
    import onnxruntime

    torch.manual_seed(0)
    samples = [tuple(x.numpy() for x in inputs)] * 8
    made = aicc.quantize(torch.export.export(model, inputs), "int8", samples)
    data, options = made.onnx().SerializeToString(), session_options()
    session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
    ours, given = made.compile(target="cpp"), [x.numpy() for x in inputs]
    feed = {i.name: x for i, x in zip(session.get_inputs(), given, strict=True)}
    return {"aicc": lambda: ours.run(given), "onnxruntime": lambda: session.run(None, feed)}


def halved(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[nn.Module, Any]:
    """A model and its inputs in bf16."""
    small = [x.to(torch.bfloat16) if x.is_floating_point() else x for x in inputs]
    return model.to(torch.bfloat16), tuple(small)


class Language(nn.Module):
    """Two pre-norm transformer layers of 256 with a loss: what a step of training is timed on."""

    def __init__(self, words: int = 1000, width: int = 256):
        super().__init__()
        layer: dict[str, Any] = {"nhead": 4, "dim_feedforward": 4 * width, "activation": "gelu"}
        self.table = nn.Embedding(words, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, dropout=0.0, norm_first=True, batch_first=True, **layer
            )
            for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = self.table(ids)
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        for layer in self.layers:
            x = layer(x, mask, is_causal=True)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), labels.flatten())


class Residual(nn.Module):
    """Two 3×3 convolutions beside what they are added to."""

    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(filters) for _ in range(3))
        self.aside = nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(y + self.norms[2](self.aside(x)))


class Images(nn.Module):
    """A small residual network with a loss, for a step of training."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False),
            *(nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
            *(Residual(32, 32, 1), Residual(32, 64, 2), Residual(64, 128, 2)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)),
        )

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.layers(x), labels)


def trained(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A model with a loss and its inputs: four rows of tokens, or sixteen images."""
    torch.manual_seed(0)
    if name == "resnet 16x96":
        return Images(), (torch.randn(16, 3, 96, 96), torch.randint(0, 10, (16,)))
    ids, labels = torch.randint(0, 1000, (2, 4, int(name[6:])))
    return Language(), (ids, labels)


def training_systems(
    model: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """A forward and a backward pass; the loss is what they return."""
    compile_seconds: dict[str, float] = {}

    def step(f: Callable[..., torch.Tensor]) -> Callable[[], torch.Tensor]:
        def run() -> torch.Tensor:
            with torch.enable_grad():
                model.zero_grad()
                loss = f(*inputs)
                loss.backward()
            return loss.detach().reshape(1)

        return run

    found: dict[str, Callable[[], Any]] = {"eager": step(model)}
    os.environ["AICC_CACHE"] = tempfile.mkdtemp()  # empty: compile times are of cold compiles
    for name, backend in (("aicc", "aicc"), ("inductor", "inductor")):
        torch._dynamo.reset()
        options: Any = {"target": "cpp"} if name == "aicc" else None
        found[name] = step(torch.compile(model, backend=backend, options=options))
        compile_seconds[name] = harness.timed(found[name])
    del os.environ["AICC_CACHE"]
    return found, compile_seconds


def compiled_systems(
    model: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> dict[str, Callable[[], Any]]:
    """`torch.compile`: parameters are arguments of the graph, or constants once frozen."""
    found: dict[str, Callable[[], Any]] = {"eager": lambda: model(*inputs)}
    for name, backend, options in (
        ("aicc", "aicc", {"target": "cpp"}),
        ("aicc, frozen", "aicc", {"target": "cpp", "freeze": True}),
        ("inductor", "inductor", None),
    ):
        fast = torch.compile(copy.deepcopy(model), backend=backend, options=options)  # type: ignore[arg-type]
        found[name] = functools.partial(fast, *inputs)
    return found


COMPILED = ("resnet50", "mobilenet_v2", "vit-tiny", "bert-base")
HALVED = ("vit-tiny", "bert-base", "gpt2", "llama-2-layers", "resnet50")
INTEGERS = ("resnet50", "mobilenet_v2", "vit-tiny", "bert-base")
LOOSE = {"bf16": 0.05, "int8": 0.03}
"""How far apart results of a group may be, of the largest: where they are rounded on the way."""

TOKENS = {"float32": None, "int8": "int8-weights", "int4": "int4-rtn"}
"""Weights that one token meets, and the recipes that make them."""


def token_systems(size: int, recipe: str | None) -> dict[str, Callable[[], Any]]:
    """One row by a square weight: as it is stored, and in float32 by torch."""
    torch.manual_seed(0)
    layer, x = nn.Linear(size, size, bias=False).eval(), torch.randn(1, size)
    source = layer if recipe is None else aicc.quantize(layer, recipe, inputs=(x,)).module
    ours = aicc.compile(source, (x,) if recipe is None else None, target="cpp")
    weight = layer.weight
    if recipe is not None:  # what the stored weight is, in float32
        rows = aicc.quantize(layer, recipe, inputs=(torch.eye(size),)).module
        weight = torch.as_tensor(
            aicc.compile(rows, target="numpy").run([np.eye(size, dtype="f4")])[0]
        ).T
        weight = weight.contiguous()
    return {
        "aicc": lambda: ours.run([x.numpy()]),
        "eager": lambda: F.linear(x, weight),
    }


def first(value: Any) -> np.ndarray:
    while isinstance(value, (list, tuple)):
        value = value[0]
    return value.detach().float().numpy() if isinstance(value, torch.Tensor) else value


def stream_bandwidth() -> float:
    """Bytes a second of a copy that no cache holds, read and written."""
    a = torch.randn(32 << 20)
    b = torch.empty_like(a)
    times = [harness.timed(lambda: b.copy_(a)) for _ in range(12)]
    return 2 * a.nbytes / sorted(times)[len(times) // 2]


def cases(wanted: list[str], autotune: bool) -> Iterator[tuple[str, str, dict, dict, float]]:
    """Group, name, what runs it, compile times, and bytes to move."""

    def chosen(group: str, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            if not wanted or name in wanted or group in wanted:
                torch._dynamo.reset()
                yield name

    for name in chosen("kernels", kernels()):
        f, inputs, moved = kernels()[name]
        found, compiling = torch_systems(Function(f), inputs, False, autotune, name)
        yield "kernels", name, found, compiling, moved
    for name in chosen("models", wholes()):
        found, compiling = torch_systems(*wholes()[name](), True, autotune, name)
        yield "models", name, found, compiling, 0.0
    for name in chosen("bf16", HALVED):
        found, compiling = torch_systems(*halved(*wholes()[name]()), False, autotune, name)
        yield "bf16", name, found, compiling, 0.0
    for name in chosen("int8", INTEGERS):
        yield "int8", name, integer_systems(*wholes()[name]()), {}, 0.0
    for name in chosen("tokens", [f"1x{n}x{n} {w}" for n in (4096, 8192) for w in TOKENS]):
        shape, stored = name.split()
        size = int(shape.split("x")[1])
        moved = size * size * {"float32": 4, "int8": 1, "int4": 0.625}[stored]
        yield "tokens", name, token_systems(size, TOKENS[stored]), {}, moved
    for name in chosen("compiled", COMPILED):
        yield "compiled", name, compiled_systems(*wholes()[name]()), {}, 0.0
    for name in chosen("training", ["gpt 4x128", "gpt 4x512", "resnet 16x96"]):
        yield "training", name, *training_systems(*trained(name)), 0.0
    for name in chosen("light", models.light_names()):
        yield "light", name, light_systems(name), {}, 0.0


def means_of(results: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Geometric means of the time of each system over aicc's."""
    ratios: dict[str, list[float]] = {}
    for r in results:
        for system, ratio in r["time_over_aicc"].items():
            ratios.setdefault(system, []).append(ratio)
    return {s: math.exp(sum(map(math.log, r)) / len(r)) for s, r in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "cases",
        nargs="*",
        help="names or groups (kernels, models, compiled, light, …); default: all",
    )
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--autotune", action="store_true", help="Inductor's max-autotune as well")
    parser.add_argument("--to", default="cpu", help="which file of results/ gets them")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # compile times are of cold compiles
    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    groups: dict[str, dict[str, Any]] = {}
    for group, name, found, compiling, moved in cases(args.cases, args.autotune):
        want = first(found["onnxruntime" if "eager" not in found else "eager"]())
        loose = LOOSE.get(group, 2e-4) * np.abs(want).max()
        np.testing.assert_allclose(first(found["aicc"]()), want, rtol=1e-3, atol=loose)
        before = stream_bandwidth() if moved else 0.0
        times = harness.interleaved(found, args.runs, warm_up=3, settle=True)
        ours = times["aicc"].median
        ratios = {s: t.median / ours for s, t in times.items() if s != "aicc"}
        row = {"seconds": times, "time_over_aicc": ratios, "compile_seconds": compiling}
        if moved:
            row["copy_bandwidth"] = (before + stream_bandwidth()) / 2
            row["of_copy_bandwidth"] = moved / ours / row["copy_bandwidth"]
        groups.setdefault(group, {})[name] = row
        others = "  ".join(f"{s} {r:.2f}×" for s, r in ratios.items())
        if moved:
            others += f"  {row['of_copy_bandwidth']:.2f} of a copy's bandwidth"
        print(f"{name:20s} aicc {harness.ms(ours):>10s}   {others}", flush=True)
    every = means_of(r for rows in groups.values() for r in rows.values())
    print("geometric means of time ÷ aicc's:", {s: round(m, 3) for s, m in every.items()})
    for group, rows in groups.items():
        if not args.cases or group in args.cases:
            found = {"cases": rows, "time_over_aicc": means_of(rows.values())}
            harness.write(args.to, **{group: found})


if __name__ == "__main__":
    main()
