"""The C++ target as the driver sees it."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from aicc.backends.cpp.build import Builder, BuildError, compiler
from aicc.backends.cpp.kernels import kernel_source
from aicc.backends.cpp.text import Unprintable, kernel_name
from aicc.backends.tile_targets import TO_TILES, keeps
from aicc.ir import tile
from aicc.ir.constants import DenseAttr
from aicc.ir.interfaces import TargetDescription

HEADER = '#include "aicc_cpu.h"\n\nnamespace aicc {\n'
FOOTER = "}  // namespace aicc\n"


class Host(Protocol):
    """Runs what stands between kernels."""

    def load(self, module: ModuleOp, owned_outputs: bool = False, launchers: Any = None) -> Any: ...

    def evaluate(self, op: Operation, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]: ...

    def run(
        self, module: ModuleOp, inputs: Sequence[np.ndarray], function: str = "main"
    ) -> list[np.ndarray]: ...


class CppBackend:
    """Prints kernels in C++, builds them with the system's compiler and runs them on the CPU."""

    name = "cpp"
    description = TargetDescription("cpp", keeps)

    def __init__(self, evaluator: Host):
        self.evaluator = evaluator
        to_tiles = TO_TILES.replace("lower-to-tile", "pad-images,lower-to-tile{runs=true}")
        self.lowering = (
            f"{to_tiles},schedule-cpu{{threads={os.cpu_count() or 1}}},pack-weights,dce,plan-memory"
        )

    def chips(self) -> tuple[str, ...]:
        """None: schedules come from a pass of their own."""
        return ()

    def load(self, module: ModuleOp, owned_outputs: bool = False) -> CppProgram:
        """Print and build the module's kernels."""
        if compiler() is None:
            raise BuildError("the cpp target needs a C++ compiler: install g++, or set CXX")
        return CppProgram(module, self.evaluator, owned_outputs)

    def evaluate(self, op: Operation, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        return self.evaluator.evaluate(op, operands)

    def run(
        self, module: ModuleOp, inputs: Sequence[np.ndarray], function: str = "main"
    ) -> list[np.ndarray]:
        return self.evaluator.run(module, inputs, function)


class CppProgram:
    """A module whose kernels are built; what stands between them is run by the host.

    Kernels that C++ has no words for are run tile by tile: `interpreted` says which and why.
    """

    def __init__(self, module: ModuleOp, host: Host, owned_outputs: bool):
        self.sources: dict[str, str] = {}
        self.interpreted: dict[str, str] = {}
        kernels = [k for k in module.ops if isinstance(k, tile.Kernel)]
        for kernel in kernels:
            try:
                self.sources[kernel.sym_name] = kernel_source(kernel)
            except Unprintable as e:
                self.interpreted[kernel.sym_name] = str(e)
        self.source = "\n".join([HEADER, *self.sources.values(), FOOTER])
        self.source_name = "kernels.cpp"
        self.launchers: dict[str, Launch] = {}
        if self.sources:
            library = ctypes.CDLL(str(self.build()))
            for kernel in kernels:
                if kernel.sym_name in self.sources:
                    function = getattr(library, kernel_name(kernel.sym_name))
                    self.launchers[kernel.sym_name] = launcher(kernel, function)
        self._load = lambda: host.load(module, owned_outputs, self.launchers)
        self.bind()
        self.input_names: list[str] = self._host.input_names
        self.output_names: list[str] = self._host.output_names
        self.constants: Mapping[str, DenseAttr] = self._host.constants

    def bind(self) -> None:
        """Have the host call what `launchers` holds now."""
        self._host = self._load()

    def build(self, arch: str = "native") -> Path:
        """The library of all kernels. One whose text is that of another is compiled once."""
        units = {}
        for name, text in self.sources.items():
            units[name] = f"{HEADER}\n{without_comments(text)}\n{FOOTER}"
        return Builder(arch).library(units)

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        return self._host(*inputs)

    def files(self, archs: Sequence[str]) -> dict[str, bytes]:
        """The kernels' library for each instruction set."""
        return {f"kernels.{a}.so": self.build(a).read_bytes() for a in archs}


Launch = Callable[
    [Sequence[np.ndarray], Sequence[np.ndarray], Mapping[str, int]], Sequence[np.ndarray]
]


def launcher(kernel: tile.Kernel, function: Any) -> Launch:
    """Calls a built kernel on arrays."""
    function.restype = None
    count = len(kernel.body.block.args)
    names = kernel.sizes
    pointers, numbers = ctypes.c_void_p * count, ctypes.c_int64 * max(len(names), 1)

    def launch(
        inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], sizes: Mapping[str, int]
    ) -> Sequence[np.ndarray]:
        arrays = [*map(np.ascontiguousarray, inputs), *outputs]
        at = pointers(*[a.__array_interface__["data"][0] for a in arrays])
        function(at, numbers(*[sizes[n] for n in names]))
        return outputs

    return launch


def without_comments(text: str) -> str:
    """A source without what only people read, so that it doesn't decide what is built again."""
    return re.sub(r"\s*//.*", "", text)
