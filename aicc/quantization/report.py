"""What quantization did to a model: layer by layer, in bytes, and in answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from aicc.ir.graph import Add, Constant, Dequantize
from aicc.ir.graph.folders import constant_of
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.types import element_type
from aicc.passes.quantization.calibration import observed
from aicc.passes.quantization.layers import Layer, layers_of
from aicc.quantization.metrics import decibels


@dataclass
class LayerReport:
    """One layer: what it computes with, how far its results are from those in float, its bytes."""

    name: str
    weights: str
    activations: str
    signal_to_noise: float
    """dB, of the layer's result on the calibration samples, its inputs' errors included."""
    largest_error: float
    cosine: float
    bytes_before: int
    bytes_after: int


@dataclass
class Score:
    """One measure of the model's answers, on one part of the samples."""

    measure: str
    samples: str
    before: float
    after: float


@dataclass
class Report:
    """The report of one quantization."""

    recipe: str
    layers: list[LayerReport]
    scores: list[Score]
    bytes_before: int
    bytes_after: int
    """Bytes of all constants, packed as files have them."""
    kept: list[str] = field(default_factory=list)
    """Layers kept in float for the accuracy's sake, the most fragile first."""
    remarks: list[str] = field(default_factory=list)

    def worst(self, count: int = 12) -> list[LayerReport]:
        return sorted(self.layers, key=lambda v: v.signal_to_noise)[:count]

    def __str__(self) -> str:
        width = max([len(v.name) for v in self.layers], default=5)
        lines = [f"recipe: {self.recipe}", ""]
        head = f"{'layer':{width}}  weights   inputs    SNR dB  max error  cosine      bytes"
        lines += [head, "-" * len(head)]
        for v in self.layers:
            lines.append(
                f"{v.name:{width}}  {v.weights:8}  {v.activations:8}  {v.signal_to_noise:6.1f}  "
                f"{v.largest_error:9.3g}  {v.cosine:.6f}  {v.bytes_before} → {v.bytes_after}"
            )
        part = self.bytes_after / max(self.bytes_before, 1)
        lines += ["", f"size: {self.bytes_before} → {self.bytes_after} bytes ({part:.1%})"]
        for s in self.scores:
            lines.append(f"{s.measure}, {s.samples}: {s.before:.4g} → {s.after:.4g}")
        if self.kept:
            lines.append(f"kept in float: {', '.join(self.kept)}")
        lines += [f"note: {r}" for r in self.remarks]
        return "\n".join(lines)

    def save(self, folder: Path) -> list[Path]:
        """Write report.txt, report.json, and with matplotlib a plot of the worst layers."""
        (folder / "report.txt").write_text(f"{self}\n")
        (folder / "report.json").write_text(json.dumps(asdict(self), indent=2) + "\n")
        return [folder / "report.txt", folder / "report.json", *self.plot(folder)]

    def plot(self, folder: Path) -> list[Path]:
        """A bar a layer, the shortest signal-to-noise ratio on top; nothing without matplotlib."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return []
        worst = self.worst()[::-1]
        figure = Figure(figsize=(8, 1 + 0.3 * len(worst)), layout="constrained")
        axes = figure.subplots()
        heights = [min(v.signal_to_noise, 120.0) for v in worst]
        axes.barh([v.name for v in worst], heights, color="#3572a5")
        axes.set_xlabel("signal-to-noise ratio of the layer's result, dB")
        axes.set_title("the layers that lose most")
        path = folder / "worst_layers.svg"
        figure.savefig(path, metadata={"Date": None})
        return [path]


def compare_layers(before: ModuleOp, after: ModuleOp, context: CompileContext) -> list[LayerReport]:
    """What each layer of a module became in the quantized one, measured on the context's samples.

    Without samples errors are NaN.
    """
    old, new = layers_of(before), layers_of(after)
    assert [v.name for v in old] == [v.name for v in new], "layers came or went"
    sums = [Sums() for _ in old]
    if context.calibration:
        runs = (
            observed(m, list(map(output, v)), context) for m, v in ((before, old), (after, new))
        )
        for wanted, found in zip(*runs, strict=True):
            for total, a, b in zip(sums, wanted, found, strict=True):
                total.add(a, b)
    return [layer_report(a, b, s) for a, b, s in zip(old, new, sums, strict=True)]


@dataclass
class Sums:
    """Sums over all samples of a wanted and a found result."""

    wanted: float = 0.0
    found: float = 0.0
    both: float = 0.0
    error: float = 0.0
    largest: float = float("nan")

    def add(self, wanted: np.ndarray, found: np.ndarray) -> None:
        a, b = (v.astype(np.float64).reshape(-1) for v in (wanted, found))
        self.wanted += float(a @ a)
        self.found += float(b @ b)
        self.both += float(a @ b)
        gap = a - b
        self.error += float(gap @ gap)
        self.largest = float(np.fmax(self.largest, np.abs(gap).max(initial=0)))


def layer_report(before: Layer, after: Layer, sums: Sums) -> LayerReport:
    seen = not np.isnan(sums.largest)
    scale = np.sqrt(sums.wanted * sums.found)
    return LayerReport(
        after.name,
        dtype_name(after.weight),
        dtype_name(after.input),
        decibels(sums.wanted, sums.error) if seen else float("nan"),
        sums.largest,
        sums.both / scale if scale else float("nan"),
        weight_bytes(before),
        weight_bytes(after),
    )


def output(layer: Layer) -> SSAValue:
    """What a layer gives, a constant bias added."""
    uses = list(layer.op.result.uses)
    add = uses[0].operation if len(uses) == 1 else None
    if isinstance(add, Add) and constant_of(add.operands[1 - uses[0].index]) is not None:
        return add.result
    return layer.op.result


def dtype_name(value: SSAValue) -> str:
    owner = value.owner
    return element_type(owner.input if isinstance(owner, Dequantize) else value).name


def weight_bytes(layer: Layer) -> int:
    """Bytes of a layer's weight with its scales and zero points."""
    owner = layer.weight.owner
    parts = owner.operands if isinstance(owner, Dequantize) else [layer.weight]
    return sum(constant_bytes(v) for v in parts)


def constant_bytes(value: SSAValue) -> int:
    array = constant_of(value)
    return 0 if array is None else -(-array.size * element_type(value).bits // 8)


def model_bytes(module: ModuleOp) -> int:
    """Bytes of all constants of ``@main``."""
    ops: Sequence = list(main_of(module).walk())
    return sum(constant_bytes(op.result) for op in ops if isinstance(op, Constant))
