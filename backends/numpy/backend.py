"""The NumPy target as the driver sees it: a description, an evaluator, and a loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from aicc.backends.numpy.executor import (
    CustomCalls,
    Executable,
    Launcher,
    Wrap,
    compile_module,
)
from aicc.backends.numpy.table import bind, implements
from aicc.ir import graph
from aicc.ir.interfaces import TargetDescription
from aicc.ir.op import GraphOp, operand_groups


def _keeps(op: GraphOp) -> bool:
    return implements(type(op))


class NumpyBackend:
    """Runs modules on NumPy; evaluates single ops for passes."""

    name = "numpy"
    description = TargetDescription("numpy", _keeps)
    lowering = ""

    def __init__(self, custom_calls: CustomCalls | None = None):
        self.custom_calls = custom_calls

    def prepare(self) -> None:
        """Nothing: all depends on the model."""

    def chips(self) -> tuple[str, ...]:
        """None: it runs on any."""
        return ()

    def load(
        self,
        module: ModuleOp,
        owned_outputs: bool = False,
        launchers: Mapping[str, Launcher] | None = None,
    ) -> Executable:
        """Compile ``@main`` to something that can be called; `launchers` run kernels by name."""
        return compile_module(module, "main", self.custom_calls, owned_outputs, launchers)

    def evaluate(self, op: Operation, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The results of one op without regions, given its operands in order."""
        assert isinstance(op, GraphOp)
        known = dict(zip(op.operands, operands, strict=True))
        static: dict[str, tuple[int, ...]] = {}
        for p in op.STRUCTURAL:
            operand = getattr(op, "dyn_" + p)
            dims = getattr(op, p)
            if operand is not None:
                static[p] = tuple(int(v) for v in known[operand].reshape(-1))
            elif dims is not None:
                static[p] = dims
        args = [None if v is None else known[v] for v in operand_groups(op)]
        with np.errstate(all="ignore"):
            if isinstance(op, graph.ShapeOf):
                return (np.array(args[0].shape, np.int64),)  # type: ignore[union-attr]
            found = bind(op, static)(*args)
        results = found if isinstance(found, tuple) else (found,)
        return tuple(np.asarray(r) for r in results)

    def run(
        self, module: ModuleOp, inputs: Sequence[np.ndarray], function: str = "main"
    ) -> list[np.ndarray]:
        """Compile and run a function of the module."""
        return compile_module(module, function, self.custom_calls)(*inputs)

    def observed(self, module: ModuleOp, wrap: Wrap) -> Executable:
        """Compile ``@main``; `wrap` gives what is called in place of each op's function."""
        return compile_module(module, "main", self.custom_calls, wrap=wrap)
