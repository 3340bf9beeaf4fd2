"""Elementwise ops of two and three operands, with NumPy broadcasting."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from aicc.ir.dtypes import DType, i1
from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    is_any,
    is_bits,
    is_float,
    is_integer,
    is_numeric,
    operand_def,
    require,
    require_dtype,
    require_same_dtype,
    result_def,
    result_numel,
    unknown,
)
from aicc.ir.op import graph_op
from aicc.ir.symbols import Dim, bounds, exact_div, floordiv, maximum, minimum, mod
from aicc.ir.types import Shape, broadcast_shapes, element_type, rank_of, shape_of, tensor
from aicc.ir.values import Elements, SymbolicValues

Symbolic = Callable[[Any, Any], "Dim | None"]


def is_numeric_or_complex(d: DType) -> bool:
    return d.kind in ("int", "uint", "float", "complex")


def _lift(f: Callable[[Any, Any], Dim]) -> Symbolic:
    def apply(a: Dim, b: Dim) -> Dim | None:
        try:
            return f(a, b)
        except OverflowError:
            return None

    return apply


def _int_only(f: Callable[[int, int], int]) -> Symbolic:
    return lambda a, b: f(a, b) if isinstance(a, int) and isinstance(b, int) else None


def _non_negative(d: Dim) -> bool:
    low, _ = bounds(d, {})
    return low is not None and low >= 0


def _div(a: Dim, b: Dim) -> Dim | None:
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        q = abs(a) // abs(b)
        return q if (a < 0) == (b < 0) else -q
    if (exact := exact_div(a, b)) is not None:
        return exact
    return floordiv(a, b) if _non_negative(a) and isinstance(b, int) and b > 0 else None


def _mod(a: Dim, b: Dim) -> Dim | None:
    return mod(a, b) if isinstance(b, int) and b > 0 else None


def _rem(a: Dim, b: Dim) -> Dim | None:
    return _mod(a, b) if _non_negative(a) else None


def broadcast_operands(op: GraphOp, *operands: SSAValue) -> Shape:
    try:
        return broadcast_shapes(*(shape_of(o) for o in operands))
    except ValueError as e:
        raise VerifyException(f"{op.name}: {e}") from None


def pair_elements(
    values: SymbolicValues, a: SSAValue, b: SSAValue
) -> tuple[Elements, Elements] | None:
    """Symbolic elements of two operands, broadcast to one length."""
    x, y = values.get(a), values.get(b)
    if x is None or y is None:
        return None
    n = len(x) if len(y) == 1 else len(y)
    if len(x) not in (1, n) or len(y) not in (1, n):
        return None
    return (x * n if len(x) != n else x), (y * n if len(y) != n else y)


class BinaryOp(GraphOp):
    """An elementwise op of two operands of one dtype; the result has that dtype."""

    traits = PURE
    lhs = operand_def(TENSOR)
    rhs = operand_def(TENSOR)
    result = result_def(TENSOR)
    rule = staticmethod(is_numeric)
    symbolic = staticmethod(unknown)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_dtype(self, self.lhs, type(self).rule, "the left operand")
        dtype = require_same_dtype(self, self.lhs, self.rhs)
        return [tensor(broadcast_operands(self, self.lhs, self.rhs), dtype)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        f = type(self).symbolic
        if f is unknown or max(rank_of(self.lhs), rank_of(self.rhs)) > 1:
            return [None]
        pair = pair_elements(values, self.lhs, self.rhs)
        if pair is None:
            return [None]
        return [
            tuple(None if a is None or b is None else f(a, b) for a, b in zip(*pair, strict=True))
        ]

    def flops(self) -> Dim:
        return result_numel(self)


@graph_op
class Add(BinaryOp):
    """a + b; integers wrap. ONNX Add, aten.add."""

    name = "graph.add"
    rule = staticmethod(is_numeric_or_complex)
    symbolic = staticmethod(_lift(operator.add))


@graph_op
class Sub(BinaryOp):
    """a − b; integers wrap. ONNX Sub, aten.sub."""

    name = "graph.sub"
    rule = staticmethod(is_numeric_or_complex)
    symbolic = staticmethod(_lift(operator.sub))


@graph_op
class Mul(BinaryOp):
    """a · b; integers wrap. ONNX Mul, aten.mul."""

    name = "graph.mul"
    rule = staticmethod(is_numeric_or_complex)
    symbolic = staticmethod(_lift(operator.mul))


@graph_op
class Div(BinaryOp):
    """a / b; integers round toward zero. ONNX Div, aten.div."""

    name = "graph.div"
    rule = staticmethod(is_numeric_or_complex)
    symbolic = staticmethod(_div)


@graph_op
class Rem(BinaryOp):
    """The remainder with the sign of a (C's %, fmod). ONNX Mod with fmod=1, aten.fmod."""

    name = "graph.rem"
    symbolic = staticmethod(_rem)


@graph_op
class Mod(BinaryOp):
    """The remainder with the sign of b (Python's %). ONNX Mod on integers, aten.remainder."""

    name = "graph.mod"
    symbolic = staticmethod(_mod)


@graph_op
class Min(BinaryOp):
    """The lesser; NaN wins. ONNX Min, aten.minimum."""

    name = "graph.min"
    symbolic = staticmethod(_lift(minimum))


@graph_op
class Max(BinaryOp):
    """The greater; NaN wins. ONNX Max, aten.maximum."""

    name = "graph.max"
    symbolic = staticmethod(_lift(maximum))


@graph_op
class Atan2(BinaryOp):
    """The angle of (b, a) in radians. aten.atan2."""

    name = "graph.atan2"
    rule = staticmethod(is_float)


@graph_op
class And(BinaryOp):
    """Logical and of booleans, bitwise of integers. ONNX And, BitwiseAnd."""

    name = "graph.and"
    rule = staticmethod(is_bits)
    symbolic = staticmethod(_int_only(operator.and_))


@graph_op
class Or(BinaryOp):
    """Logical or of booleans, bitwise of integers. ONNX Or, BitwiseOr."""

    name = "graph.or"
    rule = staticmethod(is_bits)
    symbolic = staticmethod(_int_only(operator.or_))


@graph_op
class Xor(BinaryOp):
    """Logical xor of booleans, bitwise of integers. ONNX Xor, BitwiseXor."""

    name = "graph.xor"
    rule = staticmethod(is_bits)


@graph_op
class Shl(BinaryOp):
    """Shift left; by the width or more gives 0. ONNX BitShift LEFT."""

    name = "graph.shl"
    rule = staticmethod(is_integer)


@graph_op
class Shr(BinaryOp):
    """Shift right, arithmetic if signed, logical if unsigned. ONNX BitShift RIGHT."""

    name = "graph.shr"
    rule = staticmethod(is_integer)


@graph_op
class Pow(GraphOp):
    """a to the power b; the result has a's dtype. ONNX Pow, aten.pow."""

    name = "graph.pow"
    traits = PURE
    lhs = operand_def(TENSOR)
    rhs = operand_def(TENSOR)
    result = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_dtype(self, self.lhs, is_numeric, "the base")
        require_dtype(self, self.rhs, is_numeric, "the exponent")
        shape = broadcast_operands(self, self.lhs, self.rhs)
        return [tensor(shape, element_type(self.lhs))]

    def flops(self) -> Dim:
        return result_numel(self)


def _compare(f: Callable[[Any, Any], bool]) -> Symbolic:
    """Decide a comparison of dims: known where the difference is a constant."""

    def apply(a: Dim, b: Dim) -> Dim | None:
        difference = a - b
        return int(f(difference, 0)) if isinstance(difference, int) else None

    return apply


class CompareOp(BinaryOp):
    """An elementwise comparison; the result is i1."""

    rule = staticmethod(is_any)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_same_dtype(self, self.lhs, self.rhs)
        return [tensor(broadcast_operands(self, self.lhs, self.rhs), i1)]


@graph_op
class Eq(CompareOp):
    """a = b. ONNX Equal, aten.eq."""

    name = "graph.eq"
    symbolic = staticmethod(_compare(operator.eq))


@graph_op
class Ne(CompareOp):
    """a ≠ b (true for NaN). aten.ne."""

    name = "graph.ne"
    symbolic = staticmethod(_compare(operator.ne))


@graph_op
class Lt(CompareOp):
    """a < b. ONNX Less, aten.lt."""

    name = "graph.lt"
    symbolic = staticmethod(_compare(operator.lt))


@graph_op
class Le(CompareOp):
    """a ≤ b. ONNX LessOrEqual, aten.le."""

    name = "graph.le"
    symbolic = staticmethod(_compare(operator.le))


@graph_op
class Gt(CompareOp):
    """a > b. ONNX Greater, aten.gt."""

    name = "graph.gt"
    symbolic = staticmethod(_compare(operator.gt))


@graph_op
class Ge(CompareOp):
    """a ≥ b. ONNX GreaterOrEqual, aten.ge."""

    name = "graph.ge"
    symbolic = staticmethod(_compare(operator.ge))


@graph_op
class Select(GraphOp):
    """`on_true` where `condition` (i1), else `on_false`. ONNX Where, aten.where."""

    name = "graph.select"
    traits = PURE
    condition = operand_def(TENSOR)
    on_true = operand_def(TENSOR)
    on_false = operand_def(TENSOR)
    result = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require(self, element_type(self.condition) == i1, "the condition must be i1")
        dtype = require_same_dtype(self, self.on_true, self.on_false)
        shape = broadcast_operands(self, self.condition, self.on_true, self.on_false)
        return [tensor(shape, dtype)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        condition = values.get(self.condition)
        pair = pair_elements(values, self.on_true, self.on_false)
        if condition is None or pair is None:
            return [None]
        n = max(len(condition), len(pair[0]))
        if len(condition) not in (1, n) or len(pair[0]) not in (1, n):
            return [None]
        c = condition * n if len(condition) != n else condition
        a, b = (p * n if len(p) != n else p for p in pair)
        return [
            tuple(None if k is None else (x if k else y) for k, x, y in zip(c, a, b, strict=True))
        ]

    def flops(self) -> Dim:
        return result_numel(self)
