"""Turns shape arithmetic into symbolic expressions."""

from __future__ import annotations

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import VerifyException

from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Constant, Reshape, ShapeExpr, Yield
from aicc.ir.module import bound_symbols, update_function_type
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, rank_of, shape_of, symbols_of, tensor
from aicc.ir.values import SymbolicValues, is_candidate
from aicc.passes.dce import eliminate_dead_code


class ShapeSimplify(ModulePass):
    """Replace computed shapes by constants and ``shape_expr``; sharpen types with what is known.

    A structural parameter in operand form whose elements are symbols of the function's arguments
    becomes an attribute, and the arithmetic that fed it dies.
    """

    name = "shape-simplify"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for func in op.ops:
            if isinstance(func, FuncOp):
                _simplify(func)
                update_function_type(func)
        eliminate_dead_code(op)


def _simplify(func: FuncOp) -> None:
    bound = frozenset(bound_symbols(func))
    values = SymbolicValues()
    for op in list(func.walk()):
        if not isinstance(op, GraphOp) or isinstance(op, (Constant, ShapeExpr, Yield)):
            continue
        _sharpen(op, values, bound)
        _bind_parameters(op, values, bound)
        for result in op.results:
            if result.first_use is not None and is_candidate(result):
                _materialize(op, result, values, bound)


def _known(dims: tuple[Dim, ...] | None, bound: frozenset[str]) -> bool:
    return dims is not None and symbols_of(dims) <= bound


def _bind_parameters(op: GraphOp, values: SymbolicValues, bound: frozenset[str]) -> None:
    """Operand forms of structural parameters → attribute forms, where all are known."""
    found: dict[str, tuple[Dim, ...]] = {}
    for p in op.STRUCTURAL:
        operand = getattr(op, "dyn_" + p)
        if operand is None:
            continue
        dims = values.all_known(operand)
        if dims is None or not _known(dims, bound):
            return
        if type(op) is Reshape and -1 in dims:
            dims = shape_of(op.result)
            if None in dims or not _known(dims, bound):  # type: ignore[arg-type]
                return
        found[p] = dims  # type: ignore[assignment]
    if not found:
        return
    names = [n for n, _ in op.get_irdl_definition().operands]
    keep: list[SSAValue] = []
    sizes: list[int] = []
    for name in names:
        group = getattr(op, name)
        if name.startswith("dyn_") and name[4:] in found:
            group = None
        entries = [] if group is None else [group]
        keep += entries
        sizes.append(len(entries))
    op.operands = keep
    if "operandSegmentSizes" in op.properties:
        from xdsl.dialects.builtin import DenseArrayBase, i32

        op.properties["operandSegmentSizes"] = DenseArrayBase.from_list(i32, sizes)
    for p, dims in found.items():
        op.set_param(p, dims)


def _sharpen(op: GraphOp, values: SymbolicValues, bound: frozenset[str]) -> None:
    """Where inference now names a dim of a result that had an unbound name, take it."""
    if type(op).infer is GraphOp.infer:
        return
    try:
        inferred = op.infer(values)
    except VerifyException:
        return
    for result, new in zip(op.results, inferred, strict=True):
        if not isinstance(result.type, TensorType):
            continue
        old = shape_of(result)
        dims = [
            b if b is not None and (a is None or not symbols_of([a]) <= bound) else a
            for a, b in zip(old, shape_of(new), strict=True)
        ]
        if tuple(dims) != old:
            result._type = tensor(dims, element_type(result))


def _materialize(
    op: GraphOp, result: SSAValue, values: SymbolicValues, bound: frozenset[str]
) -> None:
    """A small integer tensor with known elements → a constant or a shape_expr."""
    dims = values.all_known(result)
    dtype = element_type(result)
    if dims is None or not _known(dims, bound):
        return
    b = GraphBuilder.before(op)
    if all(isinstance(d, int) for d in dims):
        array = np.array(dims, dtype.np).reshape(shape_of(result))  # type: ignore[arg-type]
        new = b.constant(array)
    else:
        if isinstance(op, Reshape) and isinstance(op.input.owner, ShapeExpr):
            return
        new = b.emit(ShapeExpr, exprs=dims)
        if rank_of(result) == 0:
            new = b.emit(Reshape, new, shape=[])
        new = b.cast(new, dtype)
    new.name_hint = result.name_hint
    result.replace_all_uses_with(new)
