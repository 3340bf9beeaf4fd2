"""ONNX's own backend suite through `aicc.compile`, with the suite's tolerances.

``-m onnx_suite`` runs all of it, the nine light models included, driven by its own runner. The
default run takes a slice of the cases.
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
SAMPLE_EVERY = 12


class Rep(BackendRep):
    """Compiles at the first run: the structure of some cases depends on inputs' values."""

    target = "numpy"

    def __init__(self, model: onnx.ModelProto):
        self.model = model
        self.compiled: aicc.CompiledModel | None = None

    def run(self, inputs: Sequence[Any], **kwargs: Any) -> list[Any]:
        """The outputs; those of a sequence, which compile to one tensor each, as a list."""
        if self.compiled is None:
            self.compiled = aicc.compile(self.model, list(inputs), target=self.target)
        found = self.compiled(*inputs)
        arrays = list(found) if isinstance(found, tuple) else [found]
        by_name = dict(zip(self.compiled.output_names, arrays, strict=True))
        grouped: list[Any] = []
        for info in self.model.graph.output:
            if info.name in by_name:
                grouped.append(by_name[info.name])
            else:
                grouped.append([a for n, a in by_name.items() if n.startswith(f"{info.name}.")])
        return grouped


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


def check(name: str, rep: type[Rep] = Rep) -> None:
    case = cases()[name]
    model, sets = load_case(case)
    assert sets
    for inputs, outputs in sets:
        got = rep(model).run(inputs)
        Runner.assert_similar_outputs(flat(outputs), flat(got), rtol=case.rtol, atol=case.atol)


def flat(values: Sequence[Any]) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for v in values:
        found += flat(v) if isinstance(v, (list, tuple)) else [np.asarray(v)]
    return found


NAMES = sorted(n for n in cases() if reason(n) is None)


SCALARS_IN_SEQUENCE = "test_loop16_seq_none"
"""The runner takes the len() of what is in a sequence, which scalars don't have."""


@pytest.mark.parametrize("name", [*NAMES[::SAMPLE_EVERY], SCALARS_IN_SEQUENCE])
def test_sample(name):
    check(name)


def suite() -> dict[str, type]:
    """The classes that the suite's own runner makes, light models included, with our mark."""
    runner = Runner(AiccBackend, __name__).exclude(SCALARS_IN_SEQUENCE)
    for key in EXCLUDED:
        runner.exclude(f"^{key[:-1] if key.endswith('*') else key + '_(cpu|cuda)$'}")
    return {name: pytest.mark.onnx_suite(case) for name, case in runner.test_cases.items()}


globals().update(suite())


def test_what_is_excluded():
    """Every entry excludes something, and only the kinds that the reasons name are excluded."""
    for key in EXCLUDED:
        assert any(n == key or n.startswith(key.rstrip("*")) for n in cases()), key
    skipped = [n for n in cases() if reason(n) is not None]
    assert len(skipped) == 61, sorted(skipped)
