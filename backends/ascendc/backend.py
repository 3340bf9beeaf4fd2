"""The Ascend C target as the driver sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from xdsl.dialects import scf
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from aicc.backends.ascendc.custom_op import CustomOps
from aicc.backends.ascendc.kernels import KernelPrinter
from aicc.backends.ascendc.layouts import layout_cost
from aicc.backends.ascendc.locals import Overflow
from aicc.backends.ascendc.project import Project
from aicc.backends.c_text import Unprintable
from aicc.backends.tile_targets import TO_TILES, Evaluated, keeps
from aicc.ir import graph, tile
from aicc.ir.constants import DenseAttr
from aicc.ir.interfaces import Evaluator, TargetDescription
from aicc.ir.module import input_names, main_of, output_names
from aicc.ir.op import GraphOp
from aicc.ir.tile.dequantized import dequantized

FORMS = ("asc", "custom_op")
"""Kinds of projects."""

LONGEST = 2048
"""Elements of a row that is held in one tile: several such tiles have room beside one another."""


def fits(kernel: Operation) -> bool:
    """Whether the tiles of one program, and what they are gathered from, have room."""
    assert isinstance(kernel, tile.Kernel)
    try:
        with suppress(Unprintable):
            return not KernelPrinter(kernel).crowded
    except Overflow:
        return False
    return True


def placed(kernel: Operation) -> dict[str, dict[str, int]]:
    """Where a kernel's tiles lie: buffers of queues, tiles in the pool, and blocks of products."""
    assert isinstance(kernel, tile.Kernel)
    with suppress(Unprintable):
        printer = KernelPrinter(kernel)
        return {
            "queues": {name: local.bytes for name, local in printer.queues.items()},
            "places": {local.name: local.offset for local in printer.pool},
            "cubes": {name: product.depth for product, name in printer.matmuls.items()},
        }
    return {}


def reads_fractals(kernel: Operation) -> bool:
    """Whether every operand in fractals goes to the cube unit as it lies in memory."""
    assert isinstance(kernel, tile.Kernel)
    with suppress(Unprintable, Overflow):
        printer = KernelPrinter(kernel)
        loads = (op for op in kernel.body.walk() if isinstance(op, tile.Load))
        return printer.fractals == {load for load in loads if printer.rows_of_fractals(load)}
    return False


def dequantizes(kernel: Operation) -> bool:
    """Whether Fixpipe applies all scales that lie as its words do."""
    assert isinstance(kernel, tile.Kernel)
    with suppress(Unprintable, Overflow):
        printer = KernelPrinter(kernel)
        loops = (op for op in kernel.body.walk() if isinstance(op, scf.ForOp))
        found = [f for op in loops for r in op.results if (f := dequantized(r)) is not None]
        return all(f.scale in printer.in_fixpipe for f in found if f.is_paired)
    return False


def keeps_in_project(op: GraphOp) -> bool:
    """As other targets of tiles, but no loops, which its host can't run: they are unrolled."""
    return keeps(op) and not isinstance(op, graph.Loop)


class AscendBackend(Evaluated):
    """Prints kernels in Ascend C, and runs them on an emulator of the chip's vector cores."""

    name = "ascendc"
    description = TargetDescription(
        "ascendc",
        keeps_in_project,
        fits,
        placed,
        reads_fractals,
        dequantizes,
        layout_cost=layout_cost,
    )
    to_tiles = TO_TILES.replace("lower-to-tile", f"pad-images,lower-to-tile{{longest={LONGEST}}}")
    lowering = f"{to_tiles},fit-tiles,fractal-weights,fixpipe-scales,place-tiles,dce,plan-memory"

    def __init__(self, evaluator: Evaluator):
        self.evaluator = evaluator

    def chips(self) -> tuple[str, ...]:
        """None: kernels are scheduled for the one that the target is for."""
        return ()

    def load(self, module: ModuleOp, owned_outputs: bool = False) -> AscendProgram:
        return AscendProgram(module)


class AscendProgram:
    """A module as an Ascend C project; calls run it on the emulator.

    `form` is what the project is made of: ``asc``, one source for kernels and host, or
    ``custom_op``, operators that are called through aclnn.
    """

    def __init__(self, module: ModuleOp, form: str | None = None):
        project = Project(module)
        self.module, self.form, self.host = module, form or FORMS[0], project.host
        if self.form not in FORMS:
            raise ValueError(f"no form '{form}' of an Ascend C project: {' or '.join(FORMS)}")
        self.project = project if self.form == FORMS[0] else CustomOps(project)
        self.printers = project.printers
        self.source, self.source_name = self.project.source, self.project.source_name
        self.constants: Mapping[str, DenseAttr] = project.host.constants
        func = main_of(module)
        self.input_names, self.output_names = input_names(func), output_names(func)
        self._emulated: Any = None

    def in_form(self, form: str) -> AscendProgram:
        """The same module as another kind of project. Raises ValueError."""
        return AscendProgram(self.module, form)

    def files(self, archs: Sequence[str]) -> dict[str, bytes]:
        """What stands beside the source: the build, and what it says of itself."""
        return self.project.files()

    def counted(self) -> list[str]:
        """What the emulator counted in the last call, a line a kernel."""
        from aicc.backends.ascendc.emulate import summary

        return summary(self._emulated.counters) if self._emulated is not None else []

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        from aicc.backends.ascendc.emulate import Emulated

        if self._emulated is None:
            self._emulated = Emulated(self)
        return self._emulated(*inputs)
