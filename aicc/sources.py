"""From what a user hands in (a path, a model, a factory) to a graph module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import ParseError, VerifyException

from aicc.dims import Range
from aicc.errors import CompileError, InputError
from aicc.ir.interfaces import CompileContext
from aicc.ir.tile import check_launches
from aicc.passes.strip_quantized_types import StripQuantizedTypes
from aicc.plugins import load_ops


@dataclass
class Imported:
    """A module, and the values of inputs on which it was specialised."""

    module: ModuleOp
    specialized: dict[str, Any] = field(default_factory=dict)
    declared: list[str] = field(default_factory=list)
    """The source model's inputs in its own order, those specialised on included."""


def import_any(
    model: Any,
    inputs: Sequence[Any] | Mapping[str, Any] | None,
    ranges: Mapping[str, Range],
) -> Imported:
    """Import a path, a ``package.module:factory``, an ONNX, torch or quantized model, or a module.

    Codes have the types of their storage. Raises CompileError for what can't be read or imported.
    """
    load_ops()
    imported = _import(model, inputs, ranges)
    try:
        imported.module.verify()
        check_launches(imported.module)
        StripQuantizedTypes().apply(CompileContext(), imported.module)
    except (VerifyException, ValueError) as e:
        raise CompileError(f"the model is malformed: {e}") from e
    return imported


def _import(model: Any, inputs: Any, ranges: Mapping[str, Range]) -> Imported:
    model = model.module if _is_quantized(model) else model
    if isinstance(model, ModuleOp):
        return Imported(model.clone())
    if isinstance(model, (str, Path)):
        return _import_path(model, inputs, ranges)
    kind = type(model).__module__.partition(".")[0]
    if kind == "onnx":
        return import_onnx(model, inputs, ranges, None)
    if "torch" in sys.modules:
        return _import_torch(model, inputs, ranges)
    raise InputError(f"can't compile a {type(model).__name__}")


def _import_path(model: str | Path, inputs: Any, ranges: Mapping[str, Range]) -> Imported:
    path = Path(model)
    suffix = path.suffix.lower()
    if is_quantized_model(path):
        return Imported(read_mlir(path / "model.mlir"))
    if suffix == ".mlir":
        return Imported(read_mlir(path))
    if suffix == ".onnx":
        from aicc.frontends.onnx import ImportError_, load_model

        try:
            proto = load_model(path)
        except ImportError_ as e:
            raise CompileError(str(e)) from e
        return import_onnx(proto, inputs, ranges, str(path.parent), str(path))
    if suffix == ".pt2":
        return _import_torch(load_program(path), inputs, ranges)
    if (":" in str(model) and suffix == "") or ":" in path.name:
        made, example = call_factory(str(model))
        return _import_torch(made, inputs if inputs is not None else example, ranges)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    raise InputError(
        f"{path}: unknown kind of model (known: .onnx, .pt2, .mlir, package.module:factory)"
    )


def _is_quantized(model: Any) -> bool:
    """Whether a model is what `aicc.quantize` gives."""
    found = sys.modules.get("aicc.quantization.quantize")
    return found is not None and isinstance(model, found.Quantized)


def is_quantized_model(path: Path) -> bool:
    """Whether a folder is what `aicc quantize` writes."""
    return (path / "report.json").is_file() and (path / "model.mlir").is_file()


def load_program(path: Path) -> Any:
    """The torch program of a .pt2 file. Raises InputError, or CompileError for a damaged one."""
    from aicc.arrays import check_archive
    from aicc.frontends.torch import load_exported

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        check_archive(path)
        return load_exported(path)
    except InputError:
        raise
    except Exception as e:  # torch raises plain exceptions of many kinds here
        why = next((line for line in str(e).splitlines() if line.strip()), type(e).__name__)
        raise CompileError(f"{path}: not an exported torch program, or damaged: {why}") from e


def call_factory(spec: str) -> tuple[Any, Any]:
    """Call ``package.module:factory``; it returns a torch module and example inputs."""
    name, _, attribute = spec.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(name), attribute)
    except (ImportError, AttributeError, ValueError) as e:
        raise InputError(f"{spec}: can't be imported: {e}") from e
    made = factory()
    if not isinstance(made, tuple) or len(made) != 2:
        raise InputError(f"{spec}: must return a torch module and its example inputs")
    return made


def read_mlir(path: Path) -> ModuleOp:
    """Parse a dump; large constants come from the .safetensors file beside it."""
    from aicc.ir.asm import parse_module

    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: {e}") from None
    weights = weights_beside(path)
    try:
        return parse_module(text, str(path), weights)
    except (ParseError, VerifyException, ValueError) as e:  # a number that Python can't read
        raise CompileError(f"{path}: {e}") from e
    except RecursionError:
        raise CompileError(f"{path}: nested too deeply") from None


def weights_beside(path: Path) -> Mapping[str, np.ndarray] | None:
    """The constants of a dump: ``NAME.safetensors`` or ``model.safetensors`` in its folder."""
    from aicc.weights import open_weights

    for candidate in (path.with_suffix(".safetensors"), path.parent / "model.safetensors"):
        if candidate.is_file():
            return open_weights(candidate)
    return None


def _example_by_name(names: Sequence[str], inputs: Any) -> dict[str, Any]:
    if inputs is None:
        return {}
    if isinstance(inputs, Mapping):
        return dict(inputs)
    return dict(zip(names, inputs, strict=False))


def import_onnx(
    proto: Any,
    inputs: Any,
    ranges: Mapping[str, Range],
    base_dir: str | None,
    where: str = "the model",
) -> Imported:
    """Import an ONNX model.

    Example `inputs` give shapes that the model doesn't declare, and values on which the structure
    depends: the module is then specialised on those.
    """
    from aicc.frontends.onnx import ImportError_, NeedsValue, import_model

    initialized = {i.name for i in proto.graph.initializer}
    infos = [i for i in proto.graph.input if i.name not in initialized]
    given = _example_by_name([i.name for i in infos], inputs)
    values: dict[str, Any] = {}
    shapes: dict[str, Sequence[int]] = {}
    for info in infos:
        if info.name not in given:
            continue
        value = given[info.name]
        if value is None or isinstance(value, (list, tuple)):
            values[info.name] = value
        elif not info.type.tensor_type.HasField("shape"):
            shapes[info.name] = list(np.shape(value))
    while True:
        try:
            module = import_model(proto, base_dir, ranges, values, shapes)
            return Imported(module, values, [i.name for i in infos])
        except NeedsValue as e:
            if e.argument is None or e.argument not in given or e.argument in values:
                raise CompileError(f"{where}: {e}") from e
            values[e.argument] = np.asarray(given[e.argument])
        except ImportError_ as e:
            raise CompileError(f"{where}: {e}") from e
        except RecursionError:
            raise CompileError(f"{where}: nested too deeply") from None


def _import_torch(model: Any, inputs: Any, ranges: Mapping[str, Range]) -> Imported:
    from aicc.frontends.torch import TorchImportError, import_torch

    try:
        return Imported(import_torch(model, inputs, ranges))
    except TorchImportError as e:
        raise CompileError(str(e)) from e
