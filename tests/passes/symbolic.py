"""Evaluates modules of the graph dialect for all values at once, as terms of the solver z3.

Tensors are NumPy arrays of terms: bit-vectors for integers, IEEE 754 floats, Bools. What two
modules give can then be proved equal for every input, not only for those that a test draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import z3
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from aicc.ir import graph
from aicc.ir.dtypes import DType
from aicc.ir.module import main_of, return_of
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, static_shape

NEAREST = z3.RNE()
SORTS = {
    "f16": z3.FPSort(5, 11),
    "bf16": z3.FPSort(8, 8),
    "f32": z3.FPSort(8, 24),
    "f64": z3.FPSort(11, 53),
}


def sort_of(dtype: DType) -> Any:
    if dtype.name == "i1":
        return z3.BoolSort()
    return z3.BitVecSort(dtype.bits) if dtype.is_integer else SORTS[dtype.name]


def literal(value: Any, dtype: DType) -> Any:
    if dtype.name == "i1":
        return z3.BoolVal(bool(value))
    if dtype.is_integer:
        return z3.BitVecVal(int(value), dtype.bits)
    number = float(value)
    sort = SORTS[dtype.name]
    return z3.fpMinusZero(sort) if number == 0 and np.signbit(number) else z3.FPVal(number, sort)


def cast(x: Any, source: DType, to: DType) -> Any:
    """As graph.cast: integers wrap, floats round to nearest or toward zero, ``!= 0`` for i1."""
    if source == to:
        return x
    if source.name == "i1":
        return z3.If(x, literal(1, to), literal(0, to))
    if to.name == "i1":
        return z3.Not(z3.fpIsZero(x)) if source.is_float else x != 0
    signed = source.kind == "int"
    if source.is_float and to.is_float:
        return z3.fpFPToFP(NEAREST, x, SORTS[to.name])
    if source.is_float:
        convert = z3.fpToSBV if to.kind == "int" else z3.fpToUBV
        return convert(z3.RTZ(), x, z3.BitVecSort(to.bits))
    if to.is_float:
        convert = z3.fpSignedToFP if signed else z3.fpUnsignedToFP
        return convert(NEAREST, x, SORTS[to.name])
    if to.bits <= source.bits:
        return z3.Extract(to.bits - 1, 0, x)
    wide = (z3.SignExt if signed else z3.ZeroExt)(to.bits - source.bits, x)
    return _not_narrowed(x, wide)


def _not_narrowed(x: Any, wide: Any) -> Any:
    """What `x` was cut out of, where widening it gives that back: proved here, as a lemma.

    Without it the solver would have to see through products of bit-vectors.
    """
    if x.decl().kind() != z3.Z3_OP_EXTRACT or x.arg(0).size() != wide.size():
        return wide
    solver = z3.Solver()
    solver.add(wide != x.arg(0))
    return x.arg(0) if solver.check() == z3.unsat else wide


def _divided(x: Any, y: Any, dtype: DType) -> Any:
    if dtype.is_float:
        return z3.fpDiv(NEAREST, x, y)
    return x / y if dtype.kind == "int" else z3.UDiv(x, y)


def _greater(x: Any, y: Any, dtype: DType) -> Any:
    if dtype.is_float:
        return z3.fpGT(x, y)
    return x > y if dtype.kind == "int" else z3.UGT(x, y)


def _largest(x: Any, y: Any, dtype: DType) -> Any:
    most = z3.If(_greater(y, x, dtype), y, x)
    return z3.If(z3.fpIsNaN(y), y, z3.If(z3.fpIsNaN(x), x, most)) if dtype.is_float else most


ARITHMETIC: dict[type[GraphOp], Callable[[Any, Any, DType], Any]] = {
    graph.Add: lambda x, y, t: z3.fpAdd(NEAREST, x, y) if t.is_float else x + y,
    graph.Sub: lambda x, y, t: z3.fpSub(NEAREST, x, y) if t.is_float else x - y,
    graph.Mul: lambda x, y, t: z3.fpMul(NEAREST, x, y) if t.is_float else x * y,
    graph.Div: _divided,
    graph.Max: _largest,
}
UNARY: dict[type[GraphOp], Callable[[Any, DType], Any]] = {
    graph.Neg: lambda x, t: z3.fpNeg(x) if t.is_float else -x,
    graph.Not: lambda x, t: z3.Not(x) if t.name == "i1" else ~x,
    graph.Relu: lambda x, t: _largest(x, literal(0, t), t),
}


def _on_each(f: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    wide = np.broadcast_arrays(*arrays)
    out = np.empty(wide[0].shape, object)
    for at in np.ndindex(out.shape):
        out[at] = f(*(a[at] for a in wide))
    return out


def evaluated(op: GraphOp, args: list[np.ndarray]) -> np.ndarray:
    """The op's result; NotImplementedError for an op without a meaning here."""
    dtype = element_type(op.operands[0]) if op.operands else element_type(op.results[0])
    if isinstance(op, graph.Constant):
        return _on_each(lambda v: literal(v, dtype), np.asarray(op.value.array, object))
    if type(op) in ARITHMETIC:
        return _on_each(lambda x, y: ARITHMETIC[type(op)](x, y, dtype), *args)
    if type(op) in UNARY:
        return _on_each(lambda x: UNARY[type(op)](x, dtype), *args)
    if isinstance(op, graph.Cast):
        return _on_each(lambda x: cast(x, dtype, op.to), *args)
    if isinstance(op, graph.Select):
        return _on_each(z3.If, *args)
    if isinstance(op, graph.Reshape | graph.Expand):
        shape = static_shape(op.results[0])
        assert shape is not None
        same_size = isinstance(op, graph.Reshape)
        return args[0].reshape(shape) if same_size else np.broadcast_to(args[0], shape)
    if isinstance(op, graph.Transpose):
        return args[0].transpose(op.permutation)
    if isinstance(op, graph.ReduceSum):
        total = np.sum(args[0], axis=tuple(op.axes), keepdims=op.keepdims)
        return np.asarray(total, object)
    if isinstance(op, graph.MatMul):
        return _product(op, args)
    raise NotImplementedError(op.name)


def _product(op: graph.MatMul, args: list[np.ndarray]) -> np.ndarray:
    to = element_type(op.result)
    x, y = (
        _on_each(lambda e, source: cast(e, source, to), a, np.asarray(element_type(v), object))
        for a, v in zip(args, op.operands, strict=True)
    )
    out = np.empty((x.shape[0], y.shape[1]), object)
    for i, j in itertools.product(*map(range, out.shape)):
        out[i, j] = reduce(lambda a, b: a + b, [x[i, k] * y[k, j] for k in range(x.shape[1])])
    return out


def results(module: ModuleOp) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The terms that stand for the inputs of ``@main``, and those of its outputs."""
    func = main_of(module)
    values: dict[SSAValue, np.ndarray] = {}
    for n, arg in enumerate(func.args):
        names = np.empty(static_shape(arg) or (), object)
        for at in np.ndindex(names.shape):
            label = "_".join(map(str, (f"x{n}", *at)))
            names[at] = z3.Const(label, sort_of(element_type(arg)))
        values[arg] = names
    for op in func.body.block.ops:
        if isinstance(op, GraphOp):
            found = evaluated(op, [values[o] for o in op.operands])
            values[op.results[0]] = np.asarray(found, object)
    inputs = [values[a] for a in func.args]
    return inputs, [values[v] for v in return_of(func).operands]


def counterexample(before: ModuleOp, after: ModuleOp, *given: Any, seconds: int = 60) -> Any:
    """Inputs for which the modules differ under the conditions `given`; None if there are none.

    All NaNs are one value. Raises TimeoutError where the solver doesn't know.
    """
    (_, wanted), (_, found) = results(before), results(after)
    differ = []
    for w, f in zip(wanted, found, strict=True):
        assert w.shape == f.shape
        for at in np.ndindex(w.shape):
            same = z3.simplify(w[at] == f[at], som=True)
            if not z3.is_true(same):
                differ.append(z3.Not(same))
    if not differ:
        return None
    solver = z3.Solver()
    solver.set("timeout", seconds * 1000)
    solver.add(*given, z3.Or(differ))
    said = solver.check()
    if said == z3.unknown:
        raise TimeoutError(solver.reason_unknown())
    return solver.model() if said == z3.sat else None
