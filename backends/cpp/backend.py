"""The C++ target as the driver sees it."""

from __future__ import annotations

import ctypes
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.c_compiler import processor
from aicc.backends.c_host import HostProgram
from aicc.backends.c_text import Unprintable, kernel_name
from aicc.backends.cpp import blas
from aicc.backends.cpp.build import DISPATCHER, Builder, BuildError, compiler, runtime_files
from aicc.backends.cpp.entry import Entry
from aicc.backends.cpp.kernels import kernel_source
from aicc.backends.cpp.layouts import layout_cost
from aicc.backends.cpp.library import HEADERS, LIBRARY, NUMBERS
from aicc.backends.tile_targets import TO_TILES, Evaluated, Launcher, keeps
from aicc.ir import graph, tile
from aicc.ir.constants import DenseAttr
from aicc.ir.interfaces import Evaluator, TargetDescription
from aicc.ir.memory import address
from aicc.ir.module import input_names, main_of, output_names, symbol_ranges
from aicc.ir.op import GraphOp
from aicc.ir.tile.extents import UnknownSize
from aicc.ir.types import element_type

FOOTER = "}  // namespace aicc\n"

PLACES = 63
"""Places of an image that fill no panel of columns."""

LONGEST = 1024
"""Rows that one sum may be of where they are added one after the other: longer ones lose digits."""


def keeps_on_a_cpu(op: GraphOp) -> bool:
    """As other targets of tiles, and gradients of poolings, which threads add plane by plane."""
    if isinstance(op, graph.MaxPoolGrad):
        return element_type(op.output_grad).name in NUMBERS
    return keeps(op)


class Host(Evaluator, Protocol):
    """Runs what stands between kernels."""

    def load(self, module: ModuleOp, owned_outputs: bool = False, launchers: Any = None) -> Any: ...


class CppBackend(Evaluated):
    """Prints kernels in C++, builds them with the system's compiler and runs them on the CPU."""

    name = "cpp"
    description = TargetDescription("cpp", keeps_on_a_cpu, layout_cost=layout_cost)
    evaluator: Host

    def __init__(self, evaluator: Host):
        self.evaluator = evaluator
        threads = os.cpu_count() or 1
        split = f"split-reductions{{programs={4 * threads} least=32768 longest={LONGEST}}}"
        to_tiles = TO_TILES.replace(",fuse", f",{split},fuse")
        to_tiles = to_tiles.replace(
            "lower-to-tile",
            f"winograd,turn-weights,pad-images,lower-to-tile{{places={PLACES} scans=true}}",
        )
        self.lowering = (
            f"{to_tiles},schedule-cpu{{threads={threads} longest={LONGEST} "
            f"processor={processor()}}},"
            "pack-weights,dce,plan-memory{regions=true}"
        )

    def chips(self) -> tuple[str, ...]:
        """None: schedules come from a pass of their own."""
        return ()

    def prepare(self) -> None:
        """Start to build what is the same for almost all models, if it isn't kept."""
        if compiler() is not None:
            Builder().start()

    def load(self, module: ModuleOp, owned_outputs: bool = False) -> CppProgram:
        """Print and build the module's kernels."""
        if compiler() is None:
            raise BuildError("the cpp target needs a C++ compiler: install g++, or set CXX")
        return CppProgram(module, self.evaluator, owned_outputs)


def header(*parts: str) -> str:
    """What stands before parts of a program: the headers that they need."""
    more = dict.fromkeys(name for used, name in HEADERS.items() if any(used in p for p in parts))
    includes = "".join(f"#include {name}\n" for name in ('"aicc_cpu.h"', *more))
    return f"{includes}\nnamespace aicc {{\n"


class CppProgram:
    """A module whose kernels are built.

    `native` is the function that launches them, where C++ runs the whole module; else the host runs
    what stands between kernels. Kernels that C++ has no words for are run tile by tile:
    `interpreted` says which and why.
    """

    def __init__(self, module: ModuleOp, host: Host, owned_outputs: bool):
        self.sources: dict[str, str] = {}
        self.interpreted: dict[str, str] = {}
        self.ranges = symbol_ranges(module)
        kernels = [k for k in module.ops if isinstance(k, tile.Kernel)]
        if any(k.library for k in kernels):
            blas.offer()
        for kernel in kernels:
            try:
                self.sources[kernel.sym_name] = kernel_source(kernel)
            except (Unprintable, UnknownSize) as e:
                self.interpreted[kernel.sym_name] = str(e)
                slow = f"kernel {kernel.sym_name} runs tile by tile, slowly: {e}"
                warnings.warn(slow, stacklevel=4)
        self.native: HostProgram | None = None
        with suppress(Unprintable):
            self.native = HostProgram(module, self.sources, LIBRARY)
        parts = [*self.sources.values(), *([self.native.source] if self.native else [])]
        self.source = "\n".join([header(*parts), *parts, FOOTER])
        self.source_name = "kernels.cpp"
        self.launchers: dict[str, Launcher] = {}
        self.entry: Entry | None = None
        called = any(type(op) in LIBRARY for op in main_of(module).walk())
        if self.sources or (self.native is not None and called):
            library = ctypes.CDLL(str(self.build()))
            for kernel in kernels:
                if kernel.sym_name in self.sources:
                    function = getattr(library, kernel_name(kernel.sym_name))
                    self.launchers[kernel.sym_name] = launcher(kernel, function)
            if self.native is not None:
                self.entry = Entry(self.native, library, self.ranges)
        self._load = lambda: host.load(module, owned_outputs, self.launchers)
        func = main_of(module)
        self.input_names, self.output_names = input_names(func), output_names(func)
        self._host: Any = None
        self.constants: Mapping[str, DenseAttr] = self.native.constants if self.native else {}

    def bind(self) -> None:
        """Have the host call what `launchers` holds now."""
        self.entry, self._host = None, self._load()

    def build(self, arch: str = "native") -> Path:
        """The library of all kernels and of the function that launches them."""
        kernels = {
            kernel_name(name): f"{header()}\n{without_comments(text)}\n{FOOTER}"
            for name, text in self.sources.items()
        }
        model = ""
        if self.native is not None:
            host = f"{self.native.prototypes()}\n{self.native.source}"
            model = f"{header(host)}\n{host}\n{FOOTER}\nextern {self.native.table()}"
        return Builder(arch).library(kernels, model)

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        if self.entry is not None:
            results = self.entry(inputs)
            if results is not None:
                return results
        if self._host is None:
            self._host = self._load()
        return self._host(*inputs)

    def on_tensors(self, *inputs: Any) -> list[Any]:
        """As a call, from tensors to tensors."""
        if self.entry is not None:
            results = self.entry.on_tensors(inputs)
            if results is not None:
                return results
        from aicc.backends.interop import from_torch, to_torch

        return [to_torch(r) for r in self(*map(from_torch, inputs))]

    def files(self, archs: Sequence[str]) -> dict[str, bytes]:
        """The runtime, a C header with an example, and libraries for instruction sets."""
        files = dict(runtime_files())
        libraries = [f"kernels.{arch}.so" for arch in archs]
        for arch, name in zip(archs, libraries, strict=True):
            files[name] = self.build(arch).read_bytes()
        if self.native is not None and sum(a.startswith("x86-64") for a in archs) > 1:
            libraries.insert(0, "kernels.so")
            files["kernels.so"] = Builder("x86-64").dispatcher().read_bytes()
        else:
            del files[DISPATCHER]
        if self.native is not None:
            sizes = {s: max(self.ranges.get(s, (1, None))[0], 1) for s in self.native.sizes}
            files["model.h"] = self.native.header().encode()
            files["weights.cpp"] = f"extern {self.native.table()}".encode()
            library = libraries[0] if libraries else "kernels.native.so"
            files["main.c"] = self.native.example(sizes, library).encode()
        else:
            del files["model.cpp"]
        return files


def launcher(kernel: tile.Kernel, function: Any) -> Launcher:
    """Calls a built kernel on arrays."""
    function.restype = None
    count = len(kernel.body.block.args)
    names = kernel.sizes
    pointers, numbers = ctypes.c_void_p * count, ctypes.c_int64 * max(len(names), 1)

    def launch(
        inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], sizes: Mapping[str, int]
    ) -> Sequence[np.ndarray]:
        arrays = [*map(np.ascontiguousarray, inputs), *outputs]
        at = pointers(*map(address, arrays))
        function(at, numbers(*[sizes[n] for n in names]))
        return outputs

    return launch


def without_comments(text: str) -> str:
    """A source without what only people read, so that it doesn't decide what is built again."""
    return re.sub(r"\s*//.*", "", text)
