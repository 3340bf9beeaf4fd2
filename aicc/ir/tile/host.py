"""What runs beside the kernels: buffers, and launches that read and write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import OpResult, SSAValue
from xdsl.irdl import result_def, var_operand_def, var_result_def

from aicc.ir.graph.common import PURE, require
from aicc.ir.op import TENSOR, GraphOp, graph_op
from aicc.ir.params import DIMS, INTS, param
from aicc.ir.symbols import Dim, SymExpr, ceildiv, maximum
from aicc.ir.tile.ops import Kernel
from aicc.ir.types import bytes_of, shape_of, typical

ALIGNMENT = 256
"""Buffers begin at multiples of so many bytes."""


@graph_op
class Alloc(GraphOp):
    """Memory for one result of a launch, to be written before it is read.

    With `offset` it lies so many bytes into the function's arena, which other buffers share;
    without one it is memory of its own, which may outlive the function. `live` gives the first and
    the last step of the function that it is needed for (ops in order, constants and buffers not
    counted, planned regions after their op). A buffer that begins at the step where another ends
    may have its offset: then the kernel writes each element where it reads it.
    """

    name = "tile.alloc"
    result = result_def(TENSOR)
    offset: tuple[Dim, ...] = param(DIMS, default=())
    live: tuple[int, ...] = param(INTS, default=())

    def verify_(self) -> None:
        planned = len(self.offset) == 1 and len(self.live) == 2
        require(self, planned or not (self.offset or self.live), "an offset and two steps, or none")

    @property
    def bytes(self) -> Dim:
        return padded_bytes(self.result)


@graph_op
class Launch(GraphOp):
    """The results of a kernel on tensors.

    The operands are what it reads and then, where memory is planned, a `tile.alloc` for each
    result; without those each result is in memory of its own. The kernel's sizes are the symbols
    of the function that launches it.
    """

    name = "tile.launch"
    traits = PURE
    arguments = var_operand_def(TENSOR)
    outputs = var_result_def(TENSOR)
    kernel: str = param(str)

    @property
    def inputs(self) -> tuple[SSAValue, ...]:
        return tuple(v for v in self.arguments if not isinstance(v.owner, Alloc))

    @property
    def buffers(self) -> tuple[OpResult, ...]:
        return tuple(v.owner.result for v in self.arguments if isinstance(v.owner, Alloc))

    def verify_(self) -> None:
        buffers = self.buffers
        require(self, len(buffers) in (0, len(self.outputs)), "one buffer a result, or none")
        same = all(b.type == o.type for b, o in zip(buffers, self.outputs, strict=False))
        require(self, same, "buffers have the results' types")

    def size_sources(self) -> dict[str, tuple[SSAValue, int]]:
        """Sizes that can be read off the operands: the operand and its dim."""
        return sizes_of(self.inputs)


def sizes_of(values: Iterable[SSAValue]) -> dict[str, tuple[SSAValue, int]]:
    """The symbols that stand alone as dims of tensors, with a place where each does."""
    found: dict[str, tuple[SSAValue, int]] = {}
    for v in values:
        for i, d in enumerate(shape_of(v)):
            if isinstance(d, SymExpr) and str(d) in d.symbols():
                found.setdefault(str(d), (v, i))
    return found


def padded_bytes(value: SSAValue) -> Dim:
    """A tensor's size in bytes, up to the next multiple of `ALIGNMENT`."""
    size = bytes_of(value)
    assert size is not None
    return ceildiv(size, ALIGNMENT) * ALIGNMENT


def planned(func: FuncOp) -> Iterator[Alloc]:
    """The buffers in a function's arena."""
    return (op for op in func.body.walk() if isinstance(op, Alloc) and op.offset)


def arena_bytes(func: FuncOp) -> Dim:
    """The size of a function's arena."""
    return maximum(0, *(a.offset[0] + a.bytes for a in planned(func)))


def most_live_bytes(func: FuncOp) -> int:
    """The most bytes that buffers of the arena hold at one step: no arena can be smaller.

    Symbols count as `TYPICAL_DIM`. Buffers that take one another's place count once.
    """
    at: dict[int, dict[int, int]] = {}
    for a in planned(func):
        offset, size = (typical(d) for d in (a.offset[0], a.bytes))
        for step in range(a.live[0], a.live[1] + 1):
            held = at.setdefault(step, {})
            held[offset] = max(held.get(offset, 0), size)
    return max((sum(held.values()) for held in at.values()), default=0)


def check_launches(module: ModuleOp) -> None:
    """Raise ValueError for a launch of a kernel that isn't there, or takes other operands."""
    kernels = {op.sym_name: op for op in module.ops if isinstance(op, Kernel)}
    for op in module.walk():
        if not isinstance(op, Launch):
            continue
        if (kernel := kernels.get(op.kernel)) is None:
            raise ValueError(f"tile.launch: the module has no kernel @{op.kernel}")
        given, args = (*op.inputs, *op.outputs), kernel.body.block.args
        if len(op.inputs) != kernel.inputs or len(given) != len(args):
            raise ValueError(
                f"tile.launch: @{op.kernel} takes {kernel.inputs} operands and gives "
                f"{len(args) - kernel.inputs}, not {len(op.inputs)} and {len(op.outputs)}"
            )
