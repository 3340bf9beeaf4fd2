"""Whole models: no conversion of a layout is left inside, and results are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import aicc
from aicc.ir.interfaces import CompileContext
from aicc.pipeline import PassManager, full_pipeline, parse_pipeline
from aicc.sources import import_any
from aicc.targets import backend
from aicc.verify import largest_error, sample_inputs

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
NAMES = sorted(p.stem for p in LIGHT.glob("light_*.onnx"))
SMALL = ("light_shufflenet", "light_squeezenet")


TARGETS = ("cpp", "triton", "ascendc")


def conversions(model: str, layout: str, name: str = "cpp") -> list[str]:
    """What `assign-layouts` says of a model's transposes, for a target."""
    target = backend(name)
    context = CompileContext(evaluator=target, target=target.description, remarks=[])
    module = import_any(LIGHT / f"{model}.onnx", None, {}).module
    PassManager(parse_pipeline(full_pipeline("", layout)), context).run(module)
    return [r for r in context.remarks or [] if r.startswith("layout: ")]


def no_conversions_inside(model: str, target: str) -> None:
    inside = [line for line in conversions(model, "auto", target) if ", inside," in line]
    assert not inside


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("model", SMALL)
def test_no_conversions_inside(model, target):
    no_conversions_inside(model, target)


@pytest.mark.models
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("model", NAMES)
def test_no_conversions_inside_light_models(model, target):
    no_conversions_inside(model, target)


def same_results(model: str, target: str) -> None:
    path = LIGHT / f"{model}.onnx"
    plain = aicc.compile(path, target="numpy", layout="none")
    inputs = sample_inputs(plain.module)
    wanted = plain.run(inputs)
    for layout in ("auto", "nchw", "nhwc"):
        found = aicc.compile(path, target=target, layout=layout).run(inputs)
        for a, b in zip(wanted, found, strict=True):
            scale = float(np.abs(a).max(initial=1e-6))
            assert largest_error(a, b) <= 1e-4 * scale


@pytest.mark.parametrize("target", ["numpy", "cpp"])
def test_layouts_change_no_result(target):
    same_results("light_squeezenet", target)


@pytest.mark.models
@pytest.mark.parametrize("target", ["numpy", "cpp"])
@pytest.mark.parametrize("model", NAMES)
def test_layouts_change_no_result_of_light_models(model, target):
    same_results(model, target)
