"""The graph dialect for xDSL's interpreter, from the same table of kernels as the executor.

It runs one op at a time, mixed with other dialects that xDSL interprets (``func``, ``arith``, …).
Slow and simple: the executor (`aicc.backends.numpy.executor`) is what runs models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import (
    Interpreter,
    InterpreterFunctions,
    PythonValues,
    ReturnedValues,
    impl,
    impl_terminator,
    register_impls,
)
from xdsl.interpreters.func import FuncFunctions
from xdsl.ir import Operation

from aicc.backends.numpy.runtime import run_loop
from aicc.backends.numpy.table import ROWS, bind
from aicc.ir import graph
from aicc.ir.module import bound_symbols, main_of
from aicc.ir.op import GraphOp, operand_groups
from aicc.ir.symbols import evaluate
from aicc.ir.types import dtype_of, shape_of


class _GraphFunctions(InterpreterFunctions):
    """Implementations of the graph ops; `symbols` gives the sizes of the function's dims."""

    def __init__(self, symbols: dict[str, int]):
        self.symbols = symbols

    def run_kernel(self, interpreter: Interpreter, op: GraphOp, args: PythonValues) -> PythonValues:
        known = dict(zip(op.operands, args, strict=True))
        static: dict[str, tuple[int, ...]] = {}
        for p in op.STRUCTURAL:
            operand, dims = getattr(op, "dyn_" + p), getattr(op, p)
            if operand is not None:
                static[p] = tuple(int(v) for v in known[operand].reshape(-1))
            elif dims is not None:
                static[p] = tuple(evaluate(d, self.symbols) for d in dims)
        operands = [None if v is None else known[v] for v in operand_groups(op)]
        found = bind(op, static)(*operands)
        return found if isinstance(found, tuple) else (np.asarray(found),)

    @impl(graph.Constant)
    def run_constant(
        self, interpreter: Interpreter, op: graph.Constant, args: PythonValues
    ) -> PythonValues:
        return (op.value.array,)

    @impl(graph.ShapeOf)
    def run_shape_of(
        self, interpreter: Interpreter, op: graph.ShapeOf, args: PythonValues
    ) -> PythonValues:
        return (np.array(args[0].shape, np.int64),)

    @impl(graph.ShapeExpr)
    def run_shape_expr(
        self, interpreter: Interpreter, op: graph.ShapeExpr, args: PythonValues
    ) -> PythonValues:
        return (np.array([evaluate(d, self.symbols) for d in op.exprs], np.int64),)

    @impl(graph.If)
    def run_if(self, interpreter: Interpreter, op: graph.If, args: PythonValues) -> PythonValues:
        region = op.then_region if bool(args[0]) else op.else_region
        return interpreter.run_ssacfg_region(region, ())

    @impl(graph.Loop)
    def run_loop(
        self, interpreter: Interpreter, op: graph.Loop, args: PythonValues
    ) -> PythonValues:
        given = dict(zip(op.operands, args, strict=True))
        scans = []
        for out in op.outputs[len(op.carried) :]:
            dims = tuple(d if isinstance(d, int) else 0 for d in shape_of(out)[1:])
            scans.append((dims, dtype_of(out.type.element_type).np))  # type: ignore[attr-defined]
        return run_loop(
            lambda *inner: interpreter.run_ssacfg_region(op.body, inner),
            None if op.max_trips is None else given[op.max_trips],
            None if op.condition is None else given[op.condition],
            tuple(args[len(args) - len(op.carried) :]),
            tuple(scans),
        )

    @impl(graph.Fused)
    def run_fused(
        self, interpreter: Interpreter, op: graph.Fused, args: PythonValues
    ) -> PythonValues:
        return interpreter.run_ssacfg_region(op.body, args)

    @impl_terminator(graph.Yield)
    def run_yield(self, interpreter: Interpreter, op: graph.Yield, args: PythonValues):
        return ReturnedValues(args), ()


def _table_impl(op_type: type[GraphOp]) -> Any:
    @impl(op_type)
    def run(
        self: _GraphFunctions, interpreter: Interpreter, op: Operation, args: PythonValues
    ) -> PythonValues:
        assert isinstance(op, GraphOp)
        return self.run_kernel(interpreter, op, args)

    return run


GraphFunctions = register_impls(
    type(
        "GraphFunctions",
        (_GraphFunctions,),
        {f"run_{op.name.partition('.')[2]}_op": _table_impl(op) for op in ROWS},
    )
)
"""`_GraphFunctions` with an implementation for every row of the kernel table."""


def interpret(
    module: ModuleOp, inputs: Sequence[np.ndarray], function: str = "main"
) -> tuple[np.ndarray, ...]:
    """Run a function of the module op by op in xDSL's interpreter."""
    func = main_of(module, function)
    symbols = {
        name: int(inputs[i]) if axis is None else inputs[i].shape[axis]
        for name, (i, axis) in bound_symbols(func).items()
    }
    interpreter = Interpreter(module)
    interpreter.register_implementations(FuncFunctions())
    interpreter.register_implementations(GraphFunctions(symbols))
    with np.errstate(all="ignore"):
        return interpreter.call_op(func, tuple(inputs))
