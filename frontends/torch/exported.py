"""torch.export programs, modules and FX graphs → modules."""

from __future__ import annotations

import os
import re
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export.graph_signature import InputKind, OutputKind
from xdsl.dialects.builtin import ModuleOp

from aicc.frontends.torch.arrays import to_array
from aicc.frontends.torch.context import TorchImportError
from aicc.frontends.torch.decompositions import decomposition_table
from aicc.frontends.torch.importer import FxImporter
from aicc.frontends.torch.local_decompositions import NotLocal, decomposed
from aicc.ir.module import Ranges

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_LOADING = threading.Lock()
_OBJECTS = re.compile(r"data/constants/(custom_obj|opaque_obj)")


def load_exported(path: str | Path) -> torch.export.ExportedProgram:
    """Load a .pt2 file without running any code that is pickled in it.

    An archive may hold pickled tensors, sample inputs and objects. torch reads the tensors with
    ``weights_only`` where its environment switch demands that; archives with other objects are
    refused. Raises TorchImportError for those.
    """
    with zipfile.ZipFile(path) as archive:
        objects = [name for name in archive.namelist() if _OBJECTS.search(name)]
    if objects:
        raise TorchImportError(f"it holds a pickled object ({objects[0]}), not only tensors")
    with _LOADING:
        before = os.environ.get(_FORCE)
        os.environ[_FORCE] = "1"
        try:
            return torch.export.load(str(path))
        finally:
            if before is None:
                del os.environ[_FORCE]
            else:
                os.environ[_FORCE] = before


def import_torch(
    model: Any,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    ranges: Ranges | None = None,
) -> ModuleOp:
    """Import an ExportedProgram, or a module or fx.GraphModule by exporting it first.

    `inputs`: example inputs (a tuple for positional, a dict for keyword arguments). `ranges`: sizes
    of dims named ``input.axis`` or, for exported programs, of their own symbols.

    Raises TorchImportError for programs that can't be exported or imported.
    """
    return _import_program(exported_program(model, inputs, ranges), ranges or {})


def exported_program(
    model: Any,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    ranges: Ranges | None = None,
) -> torch.export.ExportedProgram:
    """What `import_torch` imports: the program in the operators that have importers."""
    if isinstance(model, torch.nn.Module):
        model = _export(model, inputs, ranges or {})
    if not isinstance(model, torch.export.ExportedProgram):
        raise TorchImportError(f"can't import a {type(model).__name__}")
    table = decomposition_table()
    try:
        return decomposed(model, table)
    except NotLocal:
        pass  # it is traced as a whole
    default = torch.export.default_decompositions()
    for op in list(default.keys()):
        if op not in table:
            default.pop(op, None)
    for op, fn in table.items():
        default[op] = fn
    try:
        return model.run_decompositions(default)
    except Exception as e:  # of many kinds, for a program that contradicts itself
        why = next((line for line in str(e).splitlines() if line.strip()), type(e).__name__)
        raise TorchImportError(f"the program can't be decomposed: {why}") from e


def _export(model: torch.nn.Module, inputs: Any, ranges: Ranges) -> torch.export.ExportedProgram:
    if inputs is None:
        raise TorchImportError("a torch module needs example inputs")
    args = () if isinstance(inputs, Mapping) else tuple(map(_as_tensor, inputs))
    kwargs = {k: _as_tensor(v) for k, v in inputs.items()} if isinstance(inputs, Mapping) else None
    dynamic = _dynamic_shapes(model, args, kwargs, ranges)
    try:
        return torch.export.export(model.eval(), args, kwargs, dynamic_shapes=dynamic, strict=False)
    except Exception as e:  # torch.export raises exceptions of many kinds
        raise TorchImportError(f"torch.export can't trace {type(model).__name__}: {e}") from e


def _as_tensor(x: Any) -> Any:
    import numpy as np

    return torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x


def _dynamic_shapes(model: Any, args: tuple, kwargs: Any, ranges: Ranges) -> Any:
    """``batch`` makes dim 0 of every tensor dynamic; ``x.1`` names dim 1 of input x."""
    import inspect

    if not ranges:
        return None
    names = list(inspect.signature(model.forward).parameters)
    given = dict(zip(names, args, strict=False)) | (kwargs or {})
    made: dict[str, torch.export.Dim] = {}

    def dim(name: str) -> Any:
        low, high = ranges[name]
        label = name.replace(".", "_")
        return made.setdefault(label, torch.export.Dim(label, min=low, max=high))  # type: ignore

    spec: dict[str, Any] = {}
    for name, value in given.items():
        if not isinstance(value, torch.Tensor):
            spec[name] = None
            continue
        axes = {i: dim(f"{name}.{i}") for i in range(value.dim()) if f"{name}.{i}" in ranges}
        if "batch" in ranges and value.dim():
            axes.setdefault(0, dim("batch"))
        spec[name] = axes or None
    return spec


def _import_program(program: torch.export.ExportedProgram, ranges: Ranges) -> ModuleOp:
    signature = program.graph_signature
    constants: dict[str, torch.Tensor] = {}
    names: list[str] = []
    paths: dict[str, str] = {}
    held: dict[str, Any] = {**program.constants, **program.state_dict}
    for spec in signature.input_specs:
        name, target = spec.arg.name, spec.target
        if spec.kind == InputKind.USER_INPUT:
            names.append(name)
        elif isinstance(target, str) and isinstance(held.get(target), torch.Tensor):
            constants[name] = held[target]
            paths[name] = target
    mutated = [s for s in signature.output_specs if s.kind == OutputKind.BUFFER_MUTATION]
    if mutated:
        raise TorchImportError(
            f"buffer '{mutated[0].target}' is mutated: export it as an input and output, "
            "or use torch.compile"
        )
    importer = FxImporter(program.graph_module, to_array, fallback=False)
    importer.paths = paths
    found = importer.run(constants, ranges=_ranges(program, ranges))
    return found.module


def _ranges(program: torch.export.ExportedProgram, given: Ranges) -> Ranges:
    found: dict[str, tuple[int, int | None]] = {}
    for symbol, r in program.range_constraints.items():
        low = int(r.lower) if r.lower.is_Integer else 0
        high = int(r.upper) if r.upper.is_Integer and int(r.upper) < 2**47 else None
        found[str(symbol)] = (low, high)
    return {**found, **{k: v for k, v in given.items() if k in found}}
