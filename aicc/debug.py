"""An artifact beside the model that it was compiled from, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

import aicc.api
from aicc.api import to_numpy
from aicc.dims import parse_dim_options
from aicc.errors import CompileError, InputError
from aicc.layers import Layer, compared, compared_layer, origin_of_nan, values_of
from aicc.source_model import source_model
from aicc.sources import import_any
from aicc.targets import backend
from aicc.verify import sample_inputs


@dataclass
class Debugged:
    """What a comparison found."""

    source: str
    layers: list[Layer]
    outputs: list[Layer]
    origin: str | None
    """The first op that makes NaN or infinity of finite numbers."""
    target: str
    note: str = ""

    @property
    def wrong(self) -> bool:
        return any(x.diverges for x in (*self.layers, *self.outputs))

    def summary(self) -> str:
        """The outputs, the first layer that differs, and where NaN and infinities come from."""
        lines = [f"{self.target} beside {self.source}: {len(self.layers)} layers compared"]
        if self.note:
            lines.append(self.note)
        lines += [f"output {x}" for x in self.outputs]
        first = next((x for x in self.layers if x.diverges), None)
        if first is not None:
            lines.append(f"first to differ: {first}")
        elif any(x.diverges for x in self.outputs):
            lines.append("no layer that both have differs before the outputs do")
        else:
            lines.append("no layer differs")
        if self.origin is not None:
            lines.append(self.origin)
        return "\n".join(lines)


def compare_artifact(
    artifact: Path, model: Any, given: Mapping[str, np.ndarray], dim: Sequence[str] = ()
) -> Debugged:
    """Run both on the same inputs: `given` by name, else the model's own examples, else random.

    Kernels run on the artifact's target where that runs here (NumPy, C++, Triton), else tile by
    tile in the interpreter. Raises InputError for inputs that don't fit.
    """
    compiled = aicc.api.load(artifact)
    ranges = parse_dim_options(dim)
    source = source_model(model, None, ranges)
    names = compiled.input_names
    if unknown := sorted(given.keys() - set(names)):
        raise InputError(f"no input '{unknown[0]}' (there are: {', '.join(names)})")
    samples = source.example or sample_inputs(compiled.module)
    if len(samples) != len(names):
        raise InputError(f"the model has {len(samples)} inputs, the artifact {len(names)}")
    arrays = [np.asarray(given.get(n, to_numpy(s))) for n, s in zip(names, samples, strict=True)]
    reference: Any = backend("numpy")
    launchers = getattr(compiled._program, "launchers", None)
    note = ""
    if launchers is None and compiled.target not in ("numpy", "onnx"):
        note = f"kernels of the {compiled.target} target are run tile by tile here"

    def run(module: ModuleOp, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return reference.load(module, launchers=launchers)(*inputs)

    layers = compared(source.values(arrays), values_of(compiled.module, run, arrays))
    try:
        found = compiled.run(arrays)
    except (RuntimeError, ValueError):  # a target that doesn't run here
        found = run(compiled.module, arrays)
    wanted = source.run(arrays)
    if len(wanted) != len(found):
        raise CompileError(f"the model has {len(wanted)} outputs, the artifact {len(found)}")
    outputs = [
        compared_layer(n, "", np.asarray(w), np.asarray(f).reshape(np.shape(w)))
        for n, w, f in zip(compiled.output_names, wanted, found, strict=True)
    ]
    imported = import_any(model, source.example, ranges).module
    origin = origin_of_nan(imported, reference, arrays)
    return Debugged(source.name, layers, outputs, origin, compiled.target, note)
