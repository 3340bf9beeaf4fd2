"""Running the module around each pass: the first pass that changes a result is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from aicc.errors import CompileError
from aicc.ir.dtypes import dtype_of
from aicc.ir.interfaces import Evaluator
from aicc.ir.module import finish_function, main_of, output_names, return_of, symbol_ranges
from aicc.ir.symbols import evaluate
from aicc.ir.types import shape_of, symbols_of
from aicc.pipeline import PassManager


def sample_inputs(module: ModuleOp, seed: int = 0) -> list[np.ndarray]:
    """Random inputs for ``@main``: normal floats, small integers; dynamic dims about 3."""
    rng = np.random.default_rng(seed)
    ranges = symbol_ranges(module)
    sizes: dict[str, int] = {}
    made = []
    for arg in main_of(module).args:
        assert isinstance(arg.type, TensorType)
        shape = []
        for d in shape_of(arg):
            for s in symbols_of([d]):
                low, high = ranges.get(s, (0, None))
                sizes.setdefault(s, min(max(low, 3), high if high is not None else 3))
            shape.append(3 if d is None else evaluate(d, sizes))
        dtype = dtype_of(arg.type.element_type)
        if dtype.is_float or dtype.kind == "complex":
            made.append(rng.standard_normal(shape).astype(dtype.np))
        elif dtype.kind == "bool":
            made.append(rng.integers(0, 2, shape).astype(np.bool_))
        else:
            made.append(rng.integers(0, 2, shape).astype(dtype.np))
    return made


def largest_error(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |a − b|, equal NaNs and infinities aside; inf for different shapes."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.size == 0:
        return 0.0
    x, y = (v.astype(np.complex128 if v.dtype.kind == "c" else np.float64) for v in (a, b))
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(all="ignore"):
        gap = np.where(same, 0, np.abs(x - y))
    return float("inf") if np.isnan(gap).any() else float(gap.max())


def differ(want: np.ndarray, have: np.ndarray, rtol: float = 1e-3, atol: float = 1e-4) -> bool:
    """Whether values are further apart than `atol` plus `rtol` of the largest."""
    scale = float(np.abs(want[np.isfinite(want)]).max(initial=0)) if want.size else 0.0
    return largest_error(want, have) > atol + rtol * scale


def check_outputs(
    names: Sequence[str], wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> float:
    """The largest error of all outputs. Raises CompileError naming one that is wrong."""
    largest = 0.0
    for name, want, have in zip(names, wanted, found, strict=True):
        error = largest_error(want, have)
        if differ(want, have):
            raise CompileError(f"output '{name}' is wrong: largest error {error:.3g}")
        largest = max(largest, error)
    return largest


def all_values(
    module: ModuleOp, evaluator: Evaluator, inputs: Sequence[np.ndarray]
) -> list[list[np.ndarray]]:
    """What each op of ``@main`` that has results computes, in their order."""
    every = module.clone()
    func = main_of(every)
    ops = [op for op in func.body.block.ops if op.results]
    return_of(func).detach()
    results = [r for op in ops for r in op.results]
    finish_function(func, [(f"v{i}", r) for i, r in enumerate(results)])
    values = iter(evaluator.run(every, inputs))
    return [[next(values) for _ in op.results] for op in ops]


class VerifyEach:
    """A hook that compares the module's outputs before and after every pass."""

    def __init__(
        self,
        evaluator: Evaluator,
        inputs: Sequence[Any] | None = None,
        rtol: float = 1e-3,
        atol: float = 1e-4,
    ):
        self.evaluator = evaluator
        self.inputs = None if inputs is None else [np.asarray(i) for i in inputs]
        self.rtol, self.atol = rtol, atol
        self.expected: list[np.ndarray] = []
        self.before: ModuleOp | None = None

    def attach(self, manager: PassManager, module: ModuleOp) -> None:
        if self.inputs is None:
            self.inputs = sample_inputs(module)
        self.expected = self.evaluator.run(module, self.inputs)
        self.before = module.clone()
        manager.after.append(self.check)

    def check(self, index: int, p: ModulePass, module: ModuleOp) -> None:
        """Raise CompileError naming the pass, the op and the largest error."""
        assert self.inputs is not None
        got = self.evaluator.run(module, self.inputs)
        func = main_of(module)
        names = output_names(func)
        for i, (want, have) in enumerate(zip(self.expected, got, strict=True)):
            if differ(want, have, self.rtol, self.atol):
                op = self.first_changed(module) or return_of(func).operands[i].owner
                made_by = getattr(op, "name", "an argument")
                raise CompileError(
                    f"pass '{p.name}' (number {index + 1}) changes output '{names[i]}': largest "
                    f"error {largest_error(want, have):.3g}, first in {made_by} at "
                    f"{getattr(op, 'location', '?')}"
                )
        self.expected = got
        self.before = module.clone()

    def first_changed(self, module: ModuleOp) -> Operation | None:
        """The first op whose result no op of the same location had before the pass."""
        assert self.before is not None
        known: dict[str, list[np.ndarray]] = {}
        for op, values in self.values_of(self.before):
            known.setdefault(str(op.location), []).extend(values)
        for op, values in self.values_of(module):
            old = known.get(str(op.location))
            if old and all(differ(o, v, self.rtol, self.atol) for v in values for o in old):
                return op
        return None

    def values_of(self, module: ModuleOp) -> list[tuple[Operation, list[np.ndarray]]]:
        """All ops of ``@main`` outside regions, in order, and what they compute."""
        ops = [op for op in main_of(module).body.block.ops if op.results]
        assert self.inputs is not None
        return list(zip(ops, all_values(module, self.evaluator, self.inputs), strict=True))
