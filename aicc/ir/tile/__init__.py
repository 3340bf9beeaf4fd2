"""The tile dialect: kernels as programs over tiles, and the launches of them."""

from __future__ import annotations

from xdsl.ir import Dialect

from aicc.ir.op import GraphOp
from aicc.ir.tile.host import (
    ALIGNMENT,
    Alloc,
    Launch,
    arena_bytes,
    check_launches,
    most_live_bytes,
    padded_bytes,
    planned,
    sizes_of,
)
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
    ProgramId,
    Reduce,
    RemF,
    Reshape,
    Return,
    Select,
    Size,
    Transpose,
)
from aicc.ir.tile.types import INDEX, BufferType, ScheduleAttr

_CLASSES: tuple[type[GraphOp], ...] = (
    Kernel,
    Return,
    Alloc,
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
    "ALIGNMENT",
    "INDEX",
    "Access",
    "BufferType",
    "ScheduleAttr",
    "Tile",
    "arena_bytes",
    "check_launches",
    "most_live_bytes",
    "padded_bytes",
    "planned",
    "sizes_of",
    *(c.__name__ for c in _CLASSES),
]  # pyright: ignore
