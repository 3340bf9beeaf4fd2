"""The Triton target as the driver sees it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.tile_targets import TO_TILES, Evaluated, keeps
from aicc.backends.triton.layouts import layout_cost
from aicc.backends.triton.program import Program, constant_arrays
from aicc.backends.triton.text import Unprintable
from aicc.ir import tile
from aicc.ir.chips import DEFAULT_CHIP
from aicc.ir.interfaces import Evaluator, TargetDescription
from aicc.ir.module import input_names, main_of, output_names
from aicc.ir.tile.identity import kernel_key

if TYPE_CHECKING:
    from aicc.backends.triton.aot import Binary

WORKSPACES = 8
"""For how many sets of sizes a thread keeps its buffers."""


class TritonBackend(Evaluated):
    """Prints kernels for Triton and runs them: on a CUDA device, else in Triton's interpreter."""

    name = "triton"
    description = TargetDescription("triton", keeps, layout_cost=layout_cost)
    lowering = (
        TO_TILES.replace(",fuse", ",split-products,split-reductions,fuse").replace(
            "lower-to-tile", "lower-to-tile{online=true}"
        )
        + ",schedule,plan-memory"
    )

    def __init__(self, evaluator: Evaluator):
        self.evaluator = evaluator

    def chips(self) -> tuple[str, ...]:
        """The device's own, or what `DEFAULT_CHIP` says."""
        from aicc.backends.triton.tensors import device_chip

        return (device_chip() or DEFAULT_CHIP,)

    def load(self, module: ModuleOp, owned_outputs: bool = False) -> TritonProgram:
        """Print the module and make it something that can be called with NumPy arrays."""
        return TritonProgram(module)


class TritonProgram:
    """A printed module. It is imported, and its constants are moved, at the first call."""

    def __init__(self, module: ModuleOp):
        func = main_of(module)
        try:
            self._program = Program(module)
        except Unprintable as e:
            raise ValueError(str(e)) from e
        self.source = self._program.source
        self.source_name = "kernels.py"
        self.constants = self._program.constants
        self.input_names = input_names(func)
        self.output_names = output_names(func)
        self._module: ModuleType | None = None
        self._weights: dict[str, Any] | None = None
        self._kept = threading.local()

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        from aicc.backends.interop import from_torch
        from aicc.backends.triton.tensors import default_device, to_tensor

        if len(inputs) != len(self.input_names):
            raise ValueError(f"expected {len(self.input_names)} inputs, got {len(inputs)}")
        device = default_device()
        return [from_torch(r) for r in self.on_tensors(*(to_tensor(x, device) for x in inputs))]

    def on_tensors(self, *inputs: Any) -> list[Any]:
        """The outputs as torch tensors, on the device of the inputs, from torch tensors."""
        from aicc.backends.triton.tensors import default_device, to_tensor

        if self._weights is None:
            device = default_device()
            arrays = constant_arrays(self._program)
            self._weights = {k: to_tensor(a, device) for k, a in arrays.items()}
        return list(self.module().call(self._weights, *inputs, *self.buffers(inputs)))

    def buffers(self, inputs: Sequence[Any]) -> list[Any]:
        """The last argument of a call: buffers that calls on one stream use in turn."""
        from aicc.backends.triton.tensors import current_stream

        module = self.module()
        if not hasattr(module, "workspace"):
            return []
        if self._program.size_arguments:
            return [module.workspace(self._weights, *inputs)]  # sizes that shapes don't tell
        kept = self._kept.__dict__.setdefault("buffers", {})
        key = (current_stream(), *(tuple(x.shape) for x in inputs))
        if key not in kept:
            if len(kept) >= WORKSPACES:
                del kept[next(iter(kept))]
            kept[key] = module.workspace(self._weights, *inputs)
        return [kept[key]]

    def files(self, archs: Sequence[str]) -> dict[str, bytes]:
        """The schedules of all kernels, and files with each of them compiled for chips.

        Those are named ``KERNEL.CHIP.cubin`` or ``.hsaco``.

        Raises ValueError for a chip that Triton doesn't know, RuntimeError in its interpreter.
        """
        files = {"tuning.json": self.tuning().encode()}
        for binary in self.binaries(archs):
            stem = f"{binary.kernel}.{binary.arch}"
            files[f"{stem}.{binary.kind}"] = binary.code
            files[f"{stem}.json"] = binary.description().encode()
        return files

    def binaries(self, archs: Sequence[str]) -> Iterator[Binary]:
        """Each kernel compiled for each chip. Raises as `files` does."""
        from aicc.backends.triton.aot import compile_kernel
        from aicc.backends.triton.tensors import interpreted

        if archs and interpreted():
            raise RuntimeError("TRITON_INTERPRET is set: nothing is compiled in the interpreter")
        jobs = [(kernel, arch) for arch in archs for kernel in self._program.kernels.values()]
        module = self.module()
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Triton compiles without Python's lock
            yield from pool.map(lambda job: compile_kernel(module, *job), jobs)

    def resources(self, archs: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """By kernel and chip (NVIDIA's only): registers, spilled and shared bytes, matrix units."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for binary in self.binaries([a for a in archs if a.startswith("sm_")]):
            found.setdefault(binary.kernel, {})[binary.arch] = asdict(binary.resources())
        return found

    def tuning(self) -> str:
        """Each kernel's schedule and what chose it, as JSON."""
        rows = {
            k.sym_name: {"key": kernel_key(k), "schedule": k.schedule, "origin": k.origin}
            for k in self._program.kernels.values()
        }
        return json.dumps(rows, indent=2) + "\n"

    def measure(self, kernel: tile.Kernel, schedules: Sequence[Mapping[str, int]]) -> list[float]:
        """Median seconds of a kernel for each schedule; RuntimeError without a GPU."""
        from aicc.backends.triton.measure import measure

        return measure(self.module(), kernel, schedules)

    def measure_library(self, kernel: tile.Kernel) -> dict[str, float]:
        """Median seconds of library calls that do what the kernel does."""
        from aicc.backends.triton.measure import measure_library

        return measure_library(kernel)

    def module(self) -> ModuleType:
        """The printed source, imported."""
        if self._module is None:
            from aicc.backends.triton.tensors import interpreted

            self._module = import_source(self.source)
            if interpreted():
                from aicc.backends.triton.interpreter import mend

                mend()
        return self._module


def import_source(source: str) -> ModuleType:
    """Import Python source: Triton reads kernels back from their file, which is removed at exit."""
    if importlib.util.find_spec("triton") is None:
        raise RuntimeError("the package triton is missing: pip install 'aicc[triton]'")
    folder = tempfile.mkdtemp(prefix="aicc-triton-")
    path = Path(folder) / "kernels.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(f"aicc_kernels_{os.path.basename(folder)}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weakref.finalize(module, shutil.rmtree, folder, True)
    return module
