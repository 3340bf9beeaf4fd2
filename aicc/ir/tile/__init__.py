"""The tile dialect: kernels as programs over tiles, and the launches of them."""

from __future__ import annotations

from xdsl.ir import Dialect

from aicc.ir.op import GraphOp
from aicc.ir.tile.memory import Access, Load, Store
from aicc.ir.tile.ops import (
    ArgReduce,
    Axis,
    Broadcast,
    Cast,
    Cmp,
    Dot,
    Full,
    InBounds,
    Kernel,
    Launch,
    ProgramId,
    Reduce,
    RemF,
    Reshape,
    Return,
    Select,
    Size,
    Transpose,
    sizes_of,
)
from aicc.ir.tile.types import INDEX, BufferType, ScheduleAttr

_CLASSES: tuple[type[GraphOp], ...] = (
    Kernel,
    Return,
    Launch,
    ProgramId,
    Size,
    Axis,
    InBounds,
    Load,
    Store,
    Full,
    Broadcast,
    Transpose,
    Reshape,
    Cast,
    Cmp,
    Select,
    RemF,
    Reduce,
    ArgReduce,
    Dot,
)

Tile = Dialect("tile", list(_CLASSES), [BufferType, ScheduleAttr])

__all__ = [
    "INDEX",
    "Access",
    "BufferType",
    "ScheduleAttr",
    "Tile",
    "sizes_of",
    *(c.__name__ for c in _CLASSES),
]  # pyright: ignore
