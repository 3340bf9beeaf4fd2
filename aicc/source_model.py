"""The model that a module was imported from, run by its own framework: what results are checked by.

Values have the names that the importer gives to what it makes of them: a torch FX node's name, an
ONNX tensor's name with its words joined by ``_``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aicc.api import to_numpy
from aicc.dims import Range
from aicc.errors import CompileError, InputError
from aicc.ir.builder import name_hint
from aicc.sources import call_factory, load_program


class SourceModel(Protocol):
    """A model in its own framework."""

    @property
    def name(self) -> str:
        """What runs it."""
        ...

    @property
    def example(self) -> Sequence[Any] | None:
        """Inputs that came with the model."""
        ...

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Its outputs."""
        ...

    def values(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What every layer gives, in the order in which they run."""
        ...


def source_model(model: Any, inputs: Any, ranges: Mapping[str, Range]) -> SourceModel:
    """The model behind what `aicc.compile` takes. Raises InputError for one that is only IR."""
    kind = type(model).__module__.partition(".")[0]
    if kind == "onnx":
        return OnnxSource(model)
    if isinstance(model, (str, Path)):
        path = Path(model)
        if path.suffix == ".onnx":
            import onnx

            try:
                return OnnxSource(onnx.load(path), str(path))
            except Exception as e:  # protobuf's exceptions are of many kinds
                raise CompileError(f"{path}: {e}") from e
        if path.suffix == ".pt2":
            return TorchSource(load_program(path), inputs, ranges)
        if ":" in path.name or (":" in str(model) and path.suffix == ""):
            made, example = call_factory(str(model))
            return TorchSource(made, inputs if inputs is not None else example, ranges)
        raise InputError(f"{path}: no source model is behind it to compare with")
    if kind == "torch" or hasattr(model, "forward") or hasattr(model, "graph_module"):
        return TorchSource(model, inputs, ranges)
    raise InputError(f"no source model is behind a {type(model).__name__}")


class OnnxSource:
    """An ONNX model, run by ONNX Runtime without its optimizations, or else by onnx itself."""

    def __init__(self, proto: Any, path: str | None = None):
        self.proto = proto
        self.path = path
        initialized = {i.name for i in proto.graph.initializer}
        self.inputs = [i.name for i in proto.graph.input if i.name not in initialized]
        self.outputs = [o.name for o in proto.graph.output]
        self.example: Sequence[Any] | None = None
        try:
            import onnxruntime

            self.name = f"onnxruntime {onnxruntime.__version__}"
        except ImportError:
            self.name = "onnx.reference"

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._fetch(self.proto, self.outputs, inputs)

    def values(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        import onnx

        every = onnx.ModelProto()
        every.CopyFrom(self.proto)
        names = [o for node in every.graph.node for o in node.output if o]
        missing = [n for n in names if n not in self.outputs]
        every.graph.output.extend(onnx.ValueInfoProto(name=n) for n in missing)
        found = self._fetch(every, [*self.outputs, *missing], inputs)
        by_name = dict(zip([*self.outputs, *missing], found, strict=True))
        return {name_hint(n): by_name[n] for n in names if isinstance(by_name[n], np.ndarray)}

    def _fetch(self, proto: Any, names: Sequence[str], inputs: Sequence[np.ndarray]) -> list[Any]:
        feed = dict(zip(self.inputs, inputs, strict=True))
        if self.name.startswith("onnxruntime"):
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
            if self.path is not None:  # where external data lies
                options.add_session_config_entry(
                    "session.model_external_initializers_file_folder_path",
                    str(Path(self.path).absolute().parent),
                )
            providers = ["CPUExecutionProvider"]
            data = proto.SerializeToString()
            session = onnxruntime.InferenceSession(data, options, providers=providers)
            return list(session.run(list(names), feed))
        from onnx.reference import ReferenceEvaluator

        return list(ReferenceEvaluator(proto).run(list(names), feed))


class TorchSource:
    """A torch module or exported program, run eagerly in the operators that are imported."""

    def __init__(self, model: Any, inputs: Any, ranges: Mapping[str, Range]):
        import torch

        from aicc.frontends.torch import TorchImportError, exported_program

        self.name = f"torch {torch.__version__} eager"
        self.model = model if isinstance(model, torch.nn.Module) else None
        self.example = None if inputs is None or isinstance(inputs, Mapping) else list(inputs)
        try:
            self.program = exported_program(model, inputs, ranges)
        except TorchImportError as e:
            raise CompileError(str(e)) from e

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        import torch
        from torch.utils._pytree import tree_leaves

        from aicc.backends.interop import from_torch, to_torch

        if self.model is None:
            return self._interpreted(inputs)[0]
        with torch.no_grad():
            found = self.model(*(to_torch(np.array(x)) for x in inputs))
        return [from_torch(t) for t in tree_leaves(found) if isinstance(t, torch.Tensor)]

    def values(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return self._interpreted(inputs)[1]

    def _interpreted(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """The program's outputs, and what each node gives."""
        import torch
        from torch.export.graph_signature import InputKind

        from aicc.backends.interop import from_torch, to_torch

        seen: dict[str, np.ndarray] = {}

        class Recorder(torch.fx.Interpreter):
            def run_node(self, n: torch.fx.Node) -> Any:
                found = super().run_node(n)
                if n.op == "call_function" and isinstance(found, torch.Tensor):
                    seen[name_hint(n.name)] = to_numpy(found.detach().clone())
                return found

        held = {**self.program.constants, **self.program.state_dict}
        given = iter(inputs)
        args: list[Any] = []
        for spec in self.program.graph_signature.input_specs:
            if spec.kind == InputKind.USER_INPUT:
                args.append(to_torch(np.array(next(given))))
            else:
                args.append(held.get(spec.target))  # type: ignore[arg-type]
        with torch.no_grad():
            found = Recorder(self.program.graph_module).run(*args)
        outputs = [from_torch(t) for t in found if isinstance(t, torch.Tensor)]
        return outputs, seen
