"""What a pass may ask of the rest of the compiler, without naming a backend.

The driver hands both to passes in a `CompileContext`; tests hand in stubs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from xdsl.context import Context
from xdsl.dialects.arith import Arith
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.dialects.func import Func
from xdsl.dialects.math import Math
from xdsl.dialects.scf import Scf
from xdsl.ir import Operation

from aicc.ir.graph import Graph
from aicc.ir.op import GraphOp
from aicc.ir.tile import Tile


class Evaluator(Protocol):
    """Runs ops and modules: constant folding, calibration and verification use it."""

    def evaluate(self, op: Operation, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The results of one op without regions that reads only its operands."""
        ...

    def run(
        self, module: ModuleOp, inputs: Sequence[np.ndarray], function: str = "main"
    ) -> list[np.ndarray]:
        """The results of a function of the module."""
        ...


def value_of(
    evaluator: Evaluator, op: Operation, operands: Sequence[np.ndarray]
) -> tuple[np.ndarray, ...] | None:
    """The results of an op; None where it fails, as it would at run time, and shall do so there."""
    try:
        return evaluator.evaluate(op, operands)
    except (ValueError, IndexError, ArithmeticError, RuntimeError):
        return None


def _keeps_all(op: Operation) -> bool:
    return True


def _no_cost(op: GraphOp, channels_last: bool) -> float:
    return 0.0


def _places_nothing(kernel: Operation) -> dict[str, dict[str, int]]:
    return {}


@dataclass(frozen=True)
class TargetDescription:
    """What passes need to know of a target.

    `keeps` says whether the target implements an op as it stands; one that it doesn't keep is
    decomposed into primitives. `fits` says whether the tiles of a `tile.kernel` under its schedule
    have room in the memory of one core, `place` where they lie there, as what a `tile.kernel` calls
    `queues`, `places` and `cubes`; nothing for one that it can't print. `reads_fractals` says
    whether a `tile.kernel` reads right operands in fractals as they lie (see the pass
    `fractal-weights`), `dequantizes` whether all scales in words of one are applied to sums that
    leave the cube unit (see `fixpipe-scales`), `integer_products` whether products of dequantized
    operands are to become products of integers. `layout_cost` is how many bytes' worth of time a
    convolution or pooling loses with channels first or last.
    """

    name: str
    keeps: Callable[[GraphOp], bool] = _keeps_all
    fits: Callable[[Operation], bool] = _keeps_all
    place: Callable[[Operation], Mapping[str, dict[str, int]]] = _places_nothing
    reads_fractals: Callable[[Operation], bool] = _keeps_all
    dequantizes: Callable[[Operation], bool] = _keeps_all
    integer_products: bool = True
    layout_cost: Callable[[GraphOp, bool], float] = _no_cost


@dataclass(frozen=True)
class Tuned:
    """What was measured to be fastest for a kernel: a schedule, or a library's call of a name."""

    schedule: Mapping[str, int]
    library: str = ""


@dataclass
class CompileContext(Context):
    """An xDSL context with the dialects of the compiler loaded, and what the driver hands in."""

    evaluator: Evaluator | None = None
    target: TargetDescription = field(default_factory=lambda: TargetDescription("generic"))
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Arrays that named constants of a parsed module refer to."""
    remarks: list[str] | None = None
    """Where passes that explain their decisions write them, one a line; None: nobody asks."""
    chips: tuple[str, ...] = ()
    """What kernels are scheduled for; the first decides, the others must be able to run them."""
    tuned: Mapping[tuple[str, str], Tuned] = field(default_factory=dict)
    """What was measured, by a kernel's key and chip."""
    calibration: Sequence[Sequence[np.ndarray]] = ()
    """Inputs of ``@main``, a sample each: what passes that quantize learn ranges from."""

    def __post_init__(self) -> None:
        for dialect in (Builtin, Func, Arith, Math, Scf, Graph, Tile):
            if dialect.name not in self._loaded_dialects:
                self.load_dialect(dialect)

    def clone(self) -> CompileContext:
        return CompileContext(
            self.allow_unregistered,
            self._loaded_dialects.copy(),
            self._loaded_ops.copy(),
            self._loaded_attrs.copy(),
            self._loaded_types.copy(),
            self._registered_dialects.copy(),
            self.evaluator,
            self.target,
            self.weights,
            self.remarks,
            self.chips,
            self.tuned,
            self.calibration,
        )


def remark(ctx: Context, line: str) -> None:
    """Tell whoever asked for remarks."""
    if isinstance(ctx, CompileContext) and ctx.remarks is not None:
        ctx.remarks.append(line)
