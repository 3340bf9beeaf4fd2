"""Folders: ops that equal one of their operands or a small constant, one function each.

Only identities that are exact for every value of the dtype stand here (x + 0 is not one for floats:
−0.0 + 0.0 is 0.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.ir import Attribute, OpResult, SSAValue

from aicc.ir.constants import DenseAttr
from aicc.ir.graph import binary, creation, reduce, shape, unary
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, static_shape

Folder = Callable[[Any], "SSAValue | Attribute | None"]


def constant_of(value: SSAValue | None) -> np.ndarray | None:
    """The elements of a value that is a constant, else None."""
    if isinstance(value, OpResult) and isinstance(value.op, creation.Constant):
        literal = value.op.value.data
        return literal.array if literal.resolved else None
    return None


def is_splat(value: SSAValue, number: float) -> bool:
    """Whether the value is a small constant with `number` everywhere."""
    array = constant_of(value)
    if array is None or not 0 < array.size <= 64:
        return False
    # 0 is 0.0 only: x − (−0.0) is not x for −0.0.
    return bool((array == number).all()) and not np.signbit(array.astype(np.float64)).any()


def _same_type(op: GraphOp) -> SSAValue | None:
    return op.operands[0] if op.operands[0].type == op.results[0].type else None


def _neutral_right(number: int, ints_only: bool = False) -> Folder:
    def fold(op: binary.BinaryOp) -> SSAValue | None:
        if ints_only and not element_type(op.lhs).is_integer:
            return None
        return op.lhs if is_splat(op.rhs, number) else None

    return fold


def _neutral(number: int, ints_only: bool = False) -> Folder:
    right = _neutral_right(number, ints_only)

    def fold(op: binary.BinaryOp) -> SSAValue | None:
        if right(op) is not None and op.lhs.type == op.result.type:
            return op.lhs
        if ints_only and not element_type(op.lhs).is_integer:
            return None
        return op.rhs if is_splat(op.lhs, number) else None

    return fold


def _involution(cls: type[GraphOp]) -> Folder:
    def fold(op: GraphOp) -> SSAValue | None:
        inner = op.operands[0].owner
        return inner.operands[0] if isinstance(inner, cls) else None

    return fold


def _transpose(op: shape.Transpose) -> SSAValue | None:
    return op.input if list(op.permutation) == list(range(len(op.permutation))) else None


def _expand(op: shape.Expand) -> SSAValue | None:
    return _same_type(op) if static_shape(op.input) is not None or op.shape is not None else None


def _reshape(op: shape.Reshape) -> SSAValue | None:
    known = static_shape(op.input) is not None or op.shape is not None
    return _same_type(op) if known else None


def _concat(op: shape.Concat) -> SSAValue | None:
    return op.inputs[0] if len(op.inputs) == 1 else None


def _slice(op: shape.Slice) -> SSAValue | None:
    if op.input.type != op.result.type or static_shape(op.input) is None:
        return None
    forward = op.steps is not None and all(s == 1 for s in op.steps)
    return op.input if forward else None


def _pad(op: shape.Pad) -> SSAValue | None:
    if op.low is None or op.high is None:
        return None
    return op.input if not any(op.low) and not any(op.high) else None


def _reduce(op: reduce.ReduceOp) -> SSAValue | None:
    return op.input if not op.axes else None


def _select(op: binary.Select) -> SSAValue | None:
    condition = constant_of(op.condition)
    if condition is None or condition.size == 0 or condition.size > 64:
        return op.on_true if op.on_true is op.on_false else None
    if bool(condition.all()):
        return op.on_true
    return op.on_false if not bool(condition.any()) else None


def _shape_of(op: creation.ShapeOf) -> Attribute | None:
    static = static_shape(op.input)
    return None if static is None else DenseAttr(np.array(static, np.int64))


def _shape_expr(op: creation.ShapeExpr) -> Attribute | None:
    if not all(isinstance(e, int) for e in op.exprs):
        return None
    return DenseAttr(np.array(op.exprs, np.int64))


FOLDERS: dict[type[GraphOp], Folder] = {
    unary.Cast: _same_type,
    unary.Bitcast: _same_type,
    unary.Neg: _involution(unary.Neg),
    unary.Not: _involution(unary.Not),
    binary.Add: _neutral(0, ints_only=True),
    binary.Sub: _neutral_right(0),
    binary.Mul: _neutral(1),
    binary.Div: _neutral_right(1),
    binary.Select: _select,
    shape.Reshape: _reshape,
    shape.Expand: _expand,
    shape.Transpose: _transpose,
    shape.Concat: _concat,
    shape.Slice: _slice,
    shape.Pad: _pad,
    reduce.ReduceSum: _reduce,
    reduce.ReduceProd: _reduce,
    reduce.ReduceMax: _reduce,
    reduce.ReduceMin: _reduce,
    reduce.ReduceMean: _reduce,
    creation.ShapeOf: _shape_of,
    creation.ShapeExpr: _shape_expr,
}
