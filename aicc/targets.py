"""The table of targets. A new chip is a folder in backends/ and one row here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from aicc import plugins
from aicc.devices import may_have_gpu
from aicc.errors import CompileError
from aicc.ir.constants import DenseAttr
from aicc.ir.interfaces import TargetDescription


class Program(Protocol):
    """A loaded module: call it with NumPy arrays."""

    source: str
    source_name: str
    """What the source is called in an artifact."""
    constants: Mapping[str, DenseAttr]
    """Constants that the source reads by name, beside those that are named in the IR."""
    input_names: list[str]
    output_names: list[str]

    def files(self, archs: Sequence[str]) -> Mapping[str, bytes]:
        """What an artifact holds beside source and constants, with kernels compiled for chips."""
        ...

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]: ...


class Backend(Protocol):
    """What the driver asks of a target."""

    name: str
    description: TargetDescription
    lowering: str
    """Passes from graph IR to what the target prints, run after those for every target."""

    def chips(self) -> tuple[str, ...]:
        """What kernels are scheduled for where nothing else is said; none for a target without."""
        ...

    def prepare(self) -> None:
        """Start what doesn't depend on the model, to go on beside the passes."""
        ...

    def load(self, module: ModuleOp, owned_outputs: bool = False) -> Program: ...

    def evaluate(self, op: Operation, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]: ...

    def run(
        self, module: ModuleOp, inputs: Sequence[np.ndarray], function: str = "main"
    ) -> list[np.ndarray]: ...


_TARGETS = {
    "ascendc": "aicc.backends.ascendc.backend:AscendBackend",
    "cpp": "aicc.backends.cpp.backend:CppBackend",
    "numpy": "aicc.backends.numpy:NumpyBackend",
    "onnx": "aicc.backends.onnx.backend:OnnxBackend",
    "triton": "aicc.backends.triton.backend:TritonBackend",
}


def default_target() -> str:
    """What `AICC_TARGET` names; else "triton" where torch sees a GPU, else `host_target`'s."""
    if given := os.environ.get("AICC_TARGET"):
        return given
    if may_have_gpu() and find_spec("triton") is not None:
        import torch

        if torch.cuda.is_available():
            return "triton"
    return host_target()


def host_target() -> str:
    """What runs models on the CPU: `AICC_TARGET`, "cpp" with a compiler, else "numpy"."""
    from aicc.backends.c_compiler import compiler

    if given := os.environ.get("AICC_TARGET"):
        return given
    if compiler() is not None:
        return "cpp"
    warnings.warn("no C++ compiler found: models run on the numpy target, slowly", stacklevel=3)
    return "numpy"


def target_names() -> list[str]:
    """The targets: aicc's own, and those of other packages."""
    return sorted({*_TARGETS, *plugins.named(plugins.TARGETS)})


def backend(name: str, custom_calls: Callable[..., Any] | None = None) -> Backend:
    """The backend of a target; raises CompileError for an unknown name."""
    if name not in target_names():
        raise CompileError(f"unknown target '{name}' (there are: {', '.join(target_names())})")
    plugins.load_ops()
    reference = _class_of("numpy")(custom_calls)
    if name not in _TARGETS:
        return plugins.load(plugins.named(plugins.TARGETS)[name])(reference)
    return reference if name == "numpy" else _class_of(name)(reference)


def _class_of(name: str) -> Callable[[Any], Backend]:
    module, _, cls = _TARGETS[name].partition(":")
    return getattr(import_module(module), cls)
