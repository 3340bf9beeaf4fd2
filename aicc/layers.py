"""Layer by layer: what a module computes beside what its source model does."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import FusedLoc, ModuleOp, NameLoc
from xdsl.ir import Attribute, Operation, SSAValue

from aicc.ir import graph, tile
from aicc.ir.builder import name_hint
from aicc.ir.module import finish_function, input_names, main_of, output_names, return_of
from aicc.ir.op import GraphOp
from aicc.verify import differ, largest_error


@dataclass
class Layer:
    """One value that both have: how far apart it is.

    `error` is the largest |a − b|, `scale` the largest |a| of the source's, `cosine` that of the
    angle between both as vectors (1 for equal ones).
    """

    name: str
    place: str
    shape: tuple[int, ...]
    error: float
    scale: float
    cosine: float
    nans: int
    infinities: int
    diverges: bool

    def __str__(self) -> str:
        where = f" at {self.place}" if self.place else ""
        bad = "".join(
            f", {count} {what}" for count, what in ((self.nans, "NaN"), (self.infinities, "Inf"))
            if count
        )  # fmt: skip
        return (
            f"{self.name}{where}: {list(self.shape)}, largest error {self.error:.3g} of "
            f"{self.scale:.3g}, cosine {self.cosine:.6f}{bad}"
        )


@dataclass
class Value:
    """What an op of ``@main`` gives, and which later values are computed from it at once."""

    name: str
    place: str
    array: np.ndarray
    users: list[int]


def values_of(
    module: ModuleOp, run: Callable[[ModuleOp, Sequence[np.ndarray]], list], inputs: Sequence[Any]
) -> list[Value]:
    """What ops of ``@main`` give, constants aside, in their order.

    Kernels write to memory of their own here, not to the arena: later ones would overwrite it.
    """
    every = module.clone()
    func = main_of(every)
    returned = dict(zip(return_of(func).operands, output_names(func), strict=True))
    results: dict[SSAValue, Value] = {}
    for op in func.body.block.ops:
        if isinstance(op, tile.Alloc):
            op.set_param("offset", ())
            op.set_param("live", ())
        elif isinstance(op, GraphOp) and not isinstance(op, (graph.Constant, graph.ShapeExpr)):
            for read in (results[v] for v in op.operands if v in results):
                read.users += range(len(results), len(results) + len(op.results))
            for i, r in enumerate(op.results):
                name = _name_of(op, i) or returned.get(r, "")
                results[r] = Value(name, _place(op), np.empty(0), [])
    return_of(func).detach()
    finish_function(func, [(f"v{i}", r) for i, r in enumerate(results)])
    for value, array in zip(results.values(), run(every, inputs), strict=True):
        value.array = array
    return list(results.values())


def _name_of(op: Operation, index: int) -> str:
    """What the importer called a value; the buffer that a kernel writes to has it as it was."""
    if isinstance(op, tile.Launch) and index < len(op.buffers):
        return op.buffers[index].name_hint or ""
    return op.results[index].name_hint or ""


def _place(op: Operation) -> str:
    return place_of(op.location)


def place_of(location: Attribute) -> str:
    """A place in the source model as text: ``encoder.layer.0/addmm``; "" where none is known."""
    if isinstance(location, FusedLoc):
        parts: Any = location.locations
        return "/".join(filter(None, map(place_of, parts.data)))
    return location.desc.data if isinstance(location, NameLoc) else ""


def compared(source: dict[str, np.ndarray], own: Sequence[Value]) -> list[Layer]:
    """The layers that both have, in the module's order.

    The IR's names are the source's without their numbers (``relu_1`` is a ``relu``). Among several
    of a name and size, layers come in the source's order: one is the next that agrees, or where
    none does the nearest. A value that differs while something computed from it agrees is another
    one by now (a convolution whose batch norm was folded into it): it is left out.
    """
    known: dict[str, list[tuple[str, np.ndarray]]] = {}
    for name, array in source.items():
        known.setdefault(_without_number(name), []).append((name, array))
    found: list[Layer | None] = []
    for value in own:
        key = _without_number(name_hint(value.name)) if value.name else ""
        fits = [(n, a) for n, a in known.get(key, ()) if a.size == value.array.size]
        if not fits or value.array.dtype.kind not in "fiub":
            found.append(None)
            continue
        made = [compared_layer(n, value.place, a, value.array.reshape(a.shape)) for n, a in fits]
        best = next((x for x in made if not x.diverges), min(made, key=lambda x: x.error))
        if not best.diverges:
            passed = [n for n, _ in known[key]].index(best.name)
            del known[key][: passed + 1]
        found.append(best)
    agrees = [layer is not None and not layer.diverges for layer in found]
    for i in reversed(range(len(own))):  # or what comes of it does
        agrees[i] = agrees[i] or any(agrees[u] for u in own[i].users)
    return [x for x, fine in zip(found, agrees, strict=True) if x and not (x.diverges and fine)]


def _without_number(name: str) -> str:
    return re.sub(r"(_\d+)+$", "", name)


def compared_layer(name: str, place: str, want: np.ndarray, found: np.ndarray) -> Layer:
    a, b = want.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    finite = np.isfinite(a) & np.isfinite(b)
    x, y = a[finite], b[finite]
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return Layer(
        name,
        place,
        want.shape,
        largest_error(a, b),
        float(np.abs(x).max(initial=0)),
        float(x @ y) / norms if norms else float(np.array_equal(x, y)),
        int(np.isnan(b).sum()),
        int(np.isinf(b).sum()),
        differ(a, b),
    )


def first_divergence(
    module: ModuleOp, reference: Any, source: Any, inputs: Sequence[np.ndarray]
) -> Layer | None:
    """The first layer of a graph module that differs from the source model's."""
    own = values_of(module, reference.run, inputs)
    layers = compared(source.values(inputs), own)
    return next((x for x in layers if x.diverges), None)


def origin_of_nan(module: ModuleOp, reference: Any, inputs: Sequence[np.ndarray]) -> str | None:
    """The first op that makes NaN or infinity of finite numbers; an input or constant that has it.

    None where all numbers are finite.
    """
    for name, array in zip(input_names(main_of(module)), inputs, strict=True):
        if not _finite(array):
            return f"input '{name}' holds NaN or infinity"
    for op in module.walk():
        if isinstance(op, graph.Constant) and not _finite(op.value.array):
            what = op.value.resource or op.result.name_hint or "a constant"
            if any(use.operation.name not in _MASKS for use in op.result.uses):
                return f"constant '{what}' holds NaN or infinity"
    found: list[str] = []

    def wrap(op: GraphOp, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            results = kernel(*args, **kwargs)
            made = results if isinstance(results, tuple) else (results,)
            if not found and all(map(_finite, args)) and not all(map(_finite, made)):
                bad = next(r for r in made if not _finite(r))
                kind = "NaN" if np.isnan(bad.astype(np.float64)).any() else "infinity"
                where = f" at {_place(op)}" if _place(op) else ""
                extent = ", ".join(_range(a) for a in args if isinstance(a, np.ndarray))
                found.append(f"{op.name}{where} makes {kind} of finite numbers ({extent})")
            return results

        return run

    reference.observed(module, wrap)(*inputs)
    return found[0] if found else None


_MASKS = frozenset({"graph.select", "graph.add", "graph.expand", "graph.pad", "graph.max"})
"""What takes infinities as masks and as bounds: they are meant there."""


def _range(x: np.ndarray) -> str:
    if x.size == 0:
        return "nothing"
    return f"{x.dtype} in {x.min():.4g} to {x.max():.4g}"


def _finite(x: Any) -> bool:
    if not isinstance(x, np.ndarray) or x.dtype.kind in "iub":
        return True
    try:
        return bool(np.isfinite(x).all())
    except TypeError:  # dtypes of ml_dtypes that have no such function
        return bool(np.isfinite(x.astype(np.float32)).all())
