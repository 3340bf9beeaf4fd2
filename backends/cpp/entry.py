"""Calls the C++ function that runs a whole model, on NumPy arrays or torch tensors."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from aicc.backends.c_host import HostProgram, arrays_of
from aicc.backends.recycled import LEAST, RECYCLER
from aicc.ir.dtypes import dtype_of
from aicc.ir.memory import address, empty
from aicc.ir.symbols import Dim, evaluate
from aicc.ir.types import element_type, shape_of

WORKSPACES = 4
"""For how many sets of sizes a thread keeps an arena."""

PLANS = 64
"""For how many sets of sizes shapes are remembered."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What calls with the same sizes share: the sizes, and the shapes that follow from them."""

    sizes: tuple[int, ...]
    inputs: Sequence[Shape]
    outputs: Sequence[Shape]
    numbers: Any


class Entry:
    """A model's own function in its library. Results are None where arguments don't fit."""

    def __init__(self, program: HostProgram, library: Any, ranges: Mapping[str, Any]):
        self.program, self.ranges = program, ranges
        self.run = library.model_run
        self.run.restype = ctypes.c_int
        self.arena_bytes = library.model_arena
        self.arena_bytes.restype = ctypes.c_int64
        self.arrays = arrays_of(program.constants)
        self.weights = pointers(map(address, self.arrays))
        args = program.func.args
        self.dtypes = [element_type(a).np for a in args]
        self.shapes = [shape_of(a) for a in args]
        self.results = [(shape_of(v), element_type(v).np) for v in program.outputs]
        self.plans: dict[tuple[int, ...], Plan] = {}
        self.kept = threading.local()

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """The outputs as arrays."""
        plan = self.plan(inputs)
        if plan is None or any(
            x.dtype != dtype for x, dtype in zip(inputs, self.dtypes, strict=True)
        ):
            return None
        given = [np.ascontiguousarray(x) for x in inputs]
        outputs = [
            RECYCLER.empty(shape, dtype)
            for shape, (_, dtype) in zip(plan.outputs, self.results, strict=True)
        ]
        fine = self.call(plan, map(address, given), map(address, outputs))
        return outputs if fine else None

    def on_tensors(self, inputs: Sequence[Any]) -> list[Any] | None:
        """The outputs as tensors, for tensors on the CPU."""
        plan = self.plan(inputs)
        if plan is None:
            return None
        given: list[Any] = []
        for x, dtype in zip(inputs, self.torch_dtypes, strict=True):
            if x.dtype is not dtype or not x.is_cpu or x.is_neg() or x._is_zerotensor():
                return None
            given.append(x if x.is_contiguous() else x.contiguous())
        outputs = [
            new_tensor(shape, dtype)
            for shape, (_, dtype) in zip(plan.outputs, self.results, strict=True)
        ]
        fine = self.call(plan, (x.data_ptr() for x in given), (x.data_ptr() for x in outputs))
        return outputs if fine else None

    @cached_property
    def torch_dtypes(self) -> list[Any]:
        import torch

        names = [dtype_of(d).torch for d in self.dtypes]
        return [None if n is None else getattr(torch, n) for n in names]

    def call(self, plan: Plan, inputs: Any, outputs: Any) -> bool:
        """Run the function on addresses; False where an index was out of range."""
        at = ctypes.c_void_p(address(self.arena(plan)))
        return not self.run(self.weights, pointers(inputs), pointers(outputs), at, plan.numbers)

    def plan(self, inputs: Sequence[Any]) -> Plan | None:
        """The sizes and shapes of a call on such arrays or tensors."""
        if len(inputs) != len(self.shapes):
            return None
        sizes: list[int] = []
        for i, axis in self.program.sources:
            shape = inputs[i].shape
            if len(shape) <= axis:
                return None
            sizes.append(shape[axis])
        found = self.plans.get(tuple(sizes)) or self.planned(tuple(sizes))
        if found is None:
            return None
        for x, shape in zip(inputs, found.inputs, strict=True):
            if x.shape != shape:
                return None
        return found

    def planned(self, sizes: tuple[int, ...]) -> Plan | None:
        by_name = dict(zip(self.program.sizes, sizes, strict=True))
        for name, (low, high) in self.ranges.items():
            if name in by_name and not low <= by_name[name] <= (high or by_name[name]):
                return None

        def shaped(dims: Sequence[Dim | None]) -> Shape:
            return tuple(
                d if isinstance(d, int) else -1 if d is None else evaluate(d, by_name) for d in dims
            )

        if len(self.plans) >= PLANS:
            self.plans.clear()
        made = self.plans[sizes] = Plan(
            sizes,
            [shaped(s) for s in self.shapes],
            [shaped(s) for s, _ in self.results],
            (ctypes.c_int64 * max(len(sizes), 1))(*sizes),
        )
        return made

    def arena(self, plan: Plan) -> np.ndarray:
        kept = self.kept.__dict__.setdefault("arenas", {})
        if plan.sizes not in kept:
            if len(kept) >= WORKSPACES:
                del kept[next(iter(kept))]
            kept[plan.sizes] = empty((self.arena_bytes(plan.numbers) + 1,), np.uint8)
        return kept[plan.sizes]


def new_tensor(shape: Shape, dtype: np.dtype) -> Any:
    """A tensor of any elements: large ones in memory that is kept, small ones in torch's own."""
    import torch

    from aicc.backends.interop import to_torch

    row = dtype_of(dtype)
    if math.prod(shape) * dtype.itemsize >= LEAST or row.torch is None:
        return to_torch(RECYCLER.empty(shape, dtype))
    return torch.empty(shape, dtype=getattr(torch, row.torch))


def pointers(addresses: Any) -> Any:
    """Addresses as an array of pointers."""
    found = list(addresses)
    return (ctypes.c_void_p * (len(found) or 1))(*found)
