"""`quantize`: a recipe's passes run on a model, and what they did measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.api import CompiledModel, Inputs, collector_paused, compile
from aicc.dims import DimSpec, parse_dims
from aicc.errors import CompileError, InputError
from aicc.ir.asm import named_constants, print_module
from aicc.ir.interfaces import CompileContext
from aicc.passes.infer_quantized_types import InferQuantizedTypes
from aicc.passes.quantization.layers import layers_of
from aicc.pipeline import PassManager, parse_pipeline
from aicc.quantization import metrics
from aicc.quantization.recipes import (
    PREPARE,
    needs_samples,
    pipeline_text,
    recipe_passes,
    skipping,
)
from aicc.quantization.report import Report, Score, compare_layers, model_bytes
from aicc.quantization.samples import LEAST, Samples, Split, split_samples
from aicc.sources import import_any, is_quantized_model
from aicc.targets import backend
from aicc.weights import save_weights

Show = Callable[[str, int, int], None]


@dataclass
class Quantized:
    """A quantized model: a graph module with quantize and dequantize ops, and its report."""

    module: ModuleOp
    report: Report

    def compile(self, **options: Any) -> CompiledModel:
        """Compile it (see `aicc.compile`)."""
        return compile(self.module, **options)

    def onnx(self) -> Any:
        """An ONNX ModelProto with QuantizeLinear and DequantizeLinear, for other runtimes.

        Raises CompileError where the model has ops that ONNX lacks.
        """
        return self.compile(target="onnx")._program.model  # type: ignore[attr-defined]

    def save(self, path: str | Path) -> Path:
        """Write model.mlir, model.safetensors, model.onnx and the report to a folder.

        `aicc compile` takes the folder. There is no model.onnx where ONNX lacks an op of it: the
        report says so. Raises InputError if something else is there.
        """
        path = Path(path)
        foreign = [path] if path.is_file() else list(path.iterdir()) if path.exists() else []
        if foreign and not is_quantized_model(path):
            raise InputError(f"{path} exists and is no quantized model: it is left alone")
        path.mkdir(parents=True, exist_ok=True)
        save_weights(named_constants(self.module), path / "model.safetensors")
        (path / "model.mlir").write_text(print_module(self.module))
        (path / "model.onnx").unlink(missing_ok=True)
        try:
            (path / "model.onnx").write_bytes(self.onnx().SerializeToString(deterministic=True))
        except CompileError as e:
            self.report.remarks.append(f"no model.onnx: {e}")
        self.report.save(path)
        return path


def quantize(
    model: Any,
    recipe: str = "int8",
    samples: Any = None,
    *,
    labels: Any = None,
    max_drop: float | None = None,
    metric: metrics.Metric | None = None,
    settings: Mapping[str, Any] | None = None,
    inputs: Inputs | None = None,
    dims: Mapping[str, DimSpec] | None = None,
    show: Show | None = None,
) -> Quantized:
    """Quantize a model's matmuls and convolutions.

    `model`, `inputs`, `dims`: as for `aicc.compile`. `recipe`: a name of `RECIPES`, or passes.
    `samples`: what the model will see in use: an array for each input's name with samples along the
    first axis, or a list of calls; every fifth is held out where there are ten or more. `labels`:
    the right answers, by sample. `max_drop`: how many percent points of accuracy may be lost on the
    calibration samples (or of agreement with the float model, without labels; or of what `metric`
    gives): the most fragile layers are kept in float until that holds. `settings`: options of the
    recipe's passes.

    Raises InputError for samples that don't fit and unknown recipes, CompileError for a model that
    can't be quantized.
    """
    passes = recipe_passes(recipe, settings)
    if not any(p.name.startswith("quantize-") for p in passes):
        raise InputError(f"recipe '{recipe}' quantizes nothing")
    module = import_any(model, inputs, parse_dims(dims)).module
    evaluator = backend("numpy")
    context = CompileContext(evaluator=evaluator, target=evaluator.description, remarks=[])
    with collector_paused():
        _run(parse_pipeline(PREPARE), context, module)
        if not layers_of(module):
            raise CompileError("there is nothing to quantize: no matmul or convolution of weights")
        split = None if samples is None else split_samples(module, samples, labels)
        _check(passes, split, recipe, max_drop)
        return _Quantizer(module, passes, split, context, metric, show).run(max_drop)


def _check(
    passes: Sequence[ModulePass], split: Split | None, recipe: str, max_drop: float | None
) -> None:
    if split is None and (needs_samples(passes) or max_drop is not None):
        raise InputError(f"recipe '{recipe}' needs calibration samples")
    if split is not None and needs_samples(passes) and len(split.calibration) < LEAST:
        raise InputError(
            f"{len(split.calibration)} calibration samples are too few: give {LEAST} or more"
        )
    if max_drop is not None and max_drop < 0:
        raise InputError(f"max_drop is {max_drop}: write how many points may be lost")


def _run(passes: Sequence[ModulePass], context: CompileContext, module: ModuleOp) -> None:
    try:
        PassManager(passes, context).run(module)
    except (ValueError, np.linalg.LinAlgError) as e:
        raise CompileError(str(e)) from e


@dataclass
class _Quantizer:
    float_module: ModuleOp
    passes: Sequence[ModulePass]
    split: Split | None
    context: CompileContext
    metric: metrics.Metric | None
    show: Show | None

    def __post_init__(self) -> None:
        if self.split is not None:
            self.context.calibration = self.split.calibration.calls
        self.wanted: dict[int, metrics.Results] = {}

    def run(self, max_drop: float | None) -> Quantized:
        module = self.quantized(())
        kept: list[str] = []
        if max_drop is not None:
            assert self.split is not None
            module, kept = self.within(max_drop, module, self.split.calibration)
        _run([InferQuantizedTypes()], self.context, module)
        module.verify()
        return Quantized(module, self.reported(module, kept))

    def quantized(self, skip: Sequence[str]) -> ModuleOp:
        module = self.float_module.clone()
        assert self.context.remarks is not None
        self.context.remarks.clear()
        _run(skipping(self.passes, skip), self.context, module)
        return module

    # ------------------------------------------------------------------ mixed precision

    def within(
        self, max_drop: float, module: ModuleOp, samples: Samples
    ) -> tuple[ModuleOp, list[str]]:
        """The module with as few layers in float as lose no more than `max_drop` points."""
        goal = self.score(self.float_module, samples) - max_drop
        if self.score(module, samples) >= goal:
            return module, []
        order = self.sensitive(samples)
        low, high = 0, len(order)  # low layers are too few, high are enough
        best = self.float_module.clone()
        while high - low > 1:
            middle = (low + high) // 2
            tried = self.quantized(order[:middle])
            if self.score(tried, samples) >= goal:
                high, best = middle, tried
            else:
                low = middle
        return best, order[:high]

    def sensitive(self, samples: Samples) -> list[str]:
        """The layers' names, those first that lose most if they alone are quantized."""
        names = [layer.name for layer in layers_of(self.float_module)]
        lost: dict[str, float] = {}
        for i, name in enumerate(names):
            if self.show is not None:
                self.show(f"sensitivity of {name}", i, len(names))
            module = self.quantized([n for n in names if n != name])
            results = self.results(module, samples)
            lost[name] = metrics.signal_to_noise(results, self.reference(samples))
        return sorted(names, key=lost.__getitem__)

    def score(self, module: ModuleOp, samples: Samples) -> float:
        results = self.results(module, samples)
        if self.metric is not None:
            return self.metric(results, samples)
        if samples.labels is not None:
            return metrics.accuracy(results, samples)
        found = metrics.agreement(results, self.reference(samples))
        if np.isnan(found):
            raise InputError("max_drop needs labels, a metric, or a model that scores classes")
        return found

    # ------------------------------------------------------------------ what came of it

    def results(self, module: ModuleOp, samples: Samples) -> metrics.Results:
        evaluator = self.context.evaluator
        assert evaluator is not None
        return [evaluator.run(module, call) for call in samples.calls]

    def reference(self, samples: Samples) -> metrics.Results:
        """The float model's results."""
        if id(samples) not in self.wanted:
            self.wanted[id(samples)] = self.results(self.float_module, samples)
        return self.wanted[id(samples)]

    def reported(self, module: ModuleOp, kept: list[str]) -> Report:
        if self.show is not None:
            self.show("report", 1, 1)
        return Report(
            pipeline_text(skipping(self.passes, kept)),
            compare_layers(self.prepared(), module, self.context),
            self.scores(module),
            model_bytes(self.float_module),
            model_bytes(module),
            kept,
            list(self.context.remarks or ()),
        )

    def prepared(self) -> ModuleOp:
        """The float module, scaled as the recipe does before it quantizes anything."""
        first = [p.name.startswith("quantize-") for p in self.passes].index(True)
        module = self.float_module.clone()
        _run(self.passes[:first], self.context, module)
        return module

    def scores(self, module: ModuleOp) -> list[Score]:
        found: list[Score] = []
        if self.split is None:
            return found
        parts = {"calibration": self.split.calibration, "held out": self.split.held_out}
        for name, samples in parts.items():
            if samples is None:
                continue
            wanted, results = self.reference(samples), self.results(module, samples)
            if self.metric is not None:
                pair = (self.metric(r, samples) for r in (wanted, results))
                found.append(Score("metric", name, *pair))
            elif samples.labels is not None and metrics.scores(wanted[0][0]) is not None:
                for measure in (metrics.accuracy, metrics.perplexity):
                    pair = (measure(r, samples) for r in (wanted, results))
                    found.append(Score(measure.__name__, name, *pair))
            same = metrics.agreement(results, wanted)
            if not np.isnan(same):
                found.append(Score("agreement with float, %", name, 100.0, same))
            ratio = metrics.signal_to_noise(results, wanted)
            found.append(Score("outputs' SNR, dB", name, float("inf"), ratio))
        return found
