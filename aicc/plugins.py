"""What other packages add: passes, targets, graph ops, importers.

A package names them in its ``pyproject.toml``:

    [project.entry-points."aicc.passes"]
    double-to-add = "my_package.passes:DoubleToAdd"     # a pass, under its name
    [project.entry-points."aicc.targets"]
    my-chip = "my_package.chip:MyBackend"               # called with the reference backend
    [project.entry-points."aicc.ops"]
    my-ops = "my_package.ops"                           # a module that registers ops and importers

`register_op` and the frontends' decorators (`onnx_op`, `aten`) are what a module of the last kind
calls. It is imported before the first model is.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from aicc.errors import CompileError
from aicc.ir.graph import OPS, Graph
from aicc.ir.op import GraphOp

PASSES, TARGETS, OPS_GROUP = "aicc.passes", "aicc.targets", "aicc.ops"


@cache
def named(group: str) -> dict[str, importlib.metadata.EntryPoint]:
    """What installed packages enter into a group, by name. Raises CompileError if two use one."""
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for point in importlib.metadata.entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise CompileError(f"two packages have a '{point.name}' in {group}: {other}, {point}")
    return found


def load(point: importlib.metadata.EntryPoint) -> Any:
    """What an entry point names. Raises CompileError with the package that has it."""
    try:
        return point.load()
    except Exception as e:
        owner = point.dist.name if point.dist is not None else "a package"
        raise CompileError(f"{owner} can't give '{point.name}' of {point.group}: {e}") from e


@cache
def load_ops() -> None:
    """Import the modules that register ops and importers, once."""
    for point in named(OPS_GROUP).values():
        load(point)


Evaluate = Callable[..., np.ndarray]
"""Called with the op and its operands' arrays; gives the result."""


def register_op(
    cls: type[GraphOp],
    evaluate: Evaluate,
    tiles: Callable[..., Any] | None = None,
    decomposition: Callable[..., Sequence[Any]] | None = None,
) -> type[GraphOp]:
    """Enter a graph op of another package: how it is run, and how it becomes a kernel.

    `evaluate` is what the NumPy interpreter calls. `tiles` makes an elementwise op (its ``ROLE`` is
    "POINTWISE") from arithmetic on tiles, as the rows of `aicc.passes.tiling.scalars` do: then it
    fuses into kernels, and every target that prints those has it. `decomposition` takes it apart
    into other graph ops, as in `aicc.ir.graph.decompositions`.
    """
    from aicc.backends.numpy.table import ROWS
    from aicc.ir.graph.decompositions import DECOMPOSITIONS
    from aicc.passes.tiling import scalars

    if OPS.get(cls.name, cls) is not cls:
        raise CompileError(f"there is another op of the name {cls.name}")
    if cls.name not in OPS:
        Graph._operations.append(cls)
    OPS[cls.name] = cls
    ROWS[cls] = lambda op: lambda *arrays: evaluate(op, *arrays)
    if tiles is not None:
        scalars.RULES[cls] = tiles
    if decomposition is not None:
        DECOMPOSITIONS[cls] = decomposition
    return cls
