"""ONNX's own backend suite through `aicc.compile`, with the suite's tolerances.

The cases are those of ``onnx.backend.test``, the comparison is its runner's. The default run takes
a slice; ``-m onnx_suite`` runs all of it. The nine light models run with the inputs and the
expected outputs that ship with them.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

import aicc
from tests.onnx.excluded import EXCLUDED, reason

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
LIGHT = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
SAMPLE_EVERY = 12


class Rep(BackendRep):
    """Compiles at the first run: the structure of some cases depends on inputs' values."""

    def __init__(self, model: onnx.ModelProto):
        self.model = model
        self.compiled: aicc.CompiledModel | None = None

    def run(self, inputs: Sequence[Any], **kwargs: Any) -> list[np.ndarray]:
        if self.compiled is None:
            self.compiled = aicc.compile(self.model, list(inputs))
        found = self.compiled(*inputs)
        return list(found) if isinstance(found, tuple) else [found]


class AiccBackend(Backend):
    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Rep:
        return Rep(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


@cache
def cases() -> dict[str, Any]:
    return {c.name: c for kind in KINDS for c in load_model_tests(kind=kind)}


@cache
def light_models() -> list[str]:
    return sorted(glob.glob(os.path.join(LIGHT, "*.onnx")))


def value(x: Any) -> Any:
    if isinstance(x, onnx.TensorProto):
        return numpy_helper.to_array(x)
    if isinstance(x, onnx.SequenceProto):
        return numpy_helper.to_list(x)
    return numpy_helper.to_optional(x) if isinstance(x, onnx.OptionalProto) else x


def read(path: str, info: onnx.ValueInfoProto) -> Any:
    kind = {
        "tensor_type": onnx.TensorProto,
        "sequence_type": onnx.SequenceProto,
        "optional_type": onnx.OptionalProto,
    }[str(info.type.WhichOneof("value"))]
    proto = kind()
    with open(path, "rb") as f:
        proto.ParseFromString(f.read())
    return value(proto)


def load_case(case: Any) -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
    if case.model is not None and case.data_sets:
        sets = [([value(v) for v in ins], [value(v) for v in outs]) for ins, outs in case.data_sets]
        return case.model, sets
    model = onnx.load(os.path.join(case.model_dir, "model.onnx"))
    sets = []
    for folder in sorted(glob.glob(os.path.join(case.model_dir, "test_data_set_*"))):
        pair: list[list[Any]] = []
        for kind, infos in (("input", model.graph.input), ("output", model.graph.output)):
            count = len(glob.glob(os.path.join(folder, f"{kind}_*.pb")))
            files = (os.path.join(folder, f"{kind}_{i}.pb") for i in range(count))
            pair.append([read(f, i) for f, i in zip(files, infos, strict=False)])
        sets.append((pair[0], pair[1]))
    return model, sets


def flat(values: Sequence[Any]) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for v in values:
        found += flat(v) if isinstance(v, (list, tuple)) else [np.asarray(v)]
    return found


def check(name: str) -> None:
    case = cases()[name]
    model, sets = load_case(case)
    assert sets
    for inputs, outputs in sets:
        rep = AiccBackend.prepare(model)
        got = rep.run(inputs)
        Runner.assert_similar_outputs(flat(outputs), got, rtol=case.rtol, atol=case.atol)


NAMES = sorted(n for n in cases() if reason(n) is None)


@pytest.mark.parametrize("name", NAMES[::SAMPLE_EVERY])
def test_sample(name):
    check(name)


@pytest.mark.onnx_suite
@pytest.mark.parametrize("name", NAMES)
def test_case(name):
    check(name)


def test_what_is_excluded():
    """Every entry excludes something, and only the kinds that the reasons name are excluded."""
    for key in EXCLUDED:
        assert any(n == key or n.startswith(key.rstrip("*")) for n in cases()), key
    skipped = [n for n in cases() if reason(n) is not None]
    assert len(skipped) == 61, sorted(skipped)


@pytest.mark.onnx_suite
@pytest.mark.parametrize("path", light_models(), ids=os.path.basename)
def test_light_model(path):
    model = onnx.load(path)
    weights = {i.name for i in model.graph.initializer}
    inputs = []
    for info in model.graph.input:
        if info.name not in weights:
            shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            inputs.append((np.arange(count) / count).astype(np.float32).reshape(shape))
    got = AiccBackend.prepare(model).run(inputs)
    want = []
    for i in range(len(model.graph.output)):
        want.append(read(f"{path[:-5]}_output_{i}.pb", model.graph.output[i]))
    Runner.assert_similar_outputs(want, got, rtol=1e-3, atol=1e-7)
