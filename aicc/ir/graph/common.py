"""What the op families share: dtype rules, shape arithmetic and bases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import AttrSizedOperandSegments, operand_def, opt_operand_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from aicc.ir.dtypes import DType
from aicc.ir.op import TENSOR, GraphOp
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, numel, rank_of, shape_of
from aicc.ir.values import SymbolicValues

SEGMENTS = AttrSizedOperandSegments(as_property=True)
"""Option of ops with several optional operands."""

PURE = traits_def(Pure())

Rule = Callable[[DType], bool]


def is_float(d: DType) -> bool:
    return d.is_float


def is_numeric(d: DType) -> bool:
    return d.kind in ("int", "uint", "float")


def is_signed(d: DType) -> bool:
    return d.kind in ("int", "float")


def is_integer(d: DType) -> bool:
    return d.is_integer


def is_bits(d: DType) -> bool:
    """Booleans and integers."""
    return d.is_integer or d.kind == "bool"


def is_any(d: DType) -> bool:
    return True


_RULE_TEXT: dict[Rule, str] = {
    is_float: "a float type",
    is_numeric: "an integer or float type",
    is_signed: "a signed integer or float type",
    is_integer: "an integer type",
    is_bits: "an integer or boolean type",
}


def require(op: GraphOp, condition: bool, message: str) -> None:
    """Raise VerifyException with the op's name unless `condition` holds."""
    if not condition:
        raise VerifyException(f"{op.name}: {message}")


def require_dtype(op: GraphOp, value: SSAValue, rule: Rule, what: str = "the operand") -> DType:
    d = element_type(value)
    if not rule(d):
        raise VerifyException(f"{op.name}: {what} must have {_RULE_TEXT[rule]}, got {d}")
    return d


def require_same_dtype(op: GraphOp, *operands: SSAValue | None) -> DType:
    present = [o for o in operands if o is not None]
    first = element_type(present[0])
    for o in present[1:]:
        if element_type(o) != first:
            raise VerifyException(
                f"{op.name}: operands must have one dtype, got {first} and {element_type(o)}"
            )
    return first


def require_axis(op: GraphOp, axis: int, rank: int, what: str = "axis") -> None:
    if not 0 <= axis < rank:
        raise VerifyException(f"{op.name}: {what} {axis} is out of range for rank {rank}")


def require_rank(op: GraphOp, value: SSAValue, rank: int, what: str) -> None:
    if rank_of(value) != rank:
        raise VerifyException(f"{op.name}: {what} must have rank {rank}, got {rank_of(value)}")


def require_lengths(op: GraphOp, n: int, **lists: Sequence[object]) -> None:
    """Each list parameter must have `n` entries."""
    for name, entries in lists.items():
        if len(entries) != n:
            raise VerifyException(f"{op.name}: {name} must have {n} entries, got {len(entries)}")


MOST_DIMS = 1024
"""More dims than any tensor has."""


def structural(
    op: GraphOp, name: str, values: SymbolicValues, length: int | None = None
) -> Sequence[Dim | None] | None:
    """The elements of a structural parameter, from either form.

    None entries are unknown; the whole is None if not even the number of entries is known.
    """
    dims = getattr(op, name)
    if dims is None:
        operand = getattr(op, "dyn_" + name)
        if operand is None:
            raise VerifyException(f"{op.name}: needs {name} or its operand form")
        if element_type(operand).name != "i64" or rank_of(operand) != 1:
            raise VerifyException(f"{op.name}: {name} must be a 1-D i64 tensor")
        dims = values.get(operand)
        if dims is None:
            n = shape_of(operand)[0]
            if isinstance(n, int) and n > MOST_DIMS:
                raise VerifyException(f"{op.name}: {name} has {n:,} elements: no rank is so high")
            dims = (None,) * n if isinstance(n, int) else None
    if length is not None and dims is not None and len(dims) != length:
        raise VerifyException(f"{op.name}: {name} must have {length} entries, got {len(dims)}")
    return dims


def result_numel(op: GraphOp) -> Dim:
    total = numel(shape_of(op.results[0]))
    return 0 if total is None else total


def unknown(*elements: object) -> Dim | None:
    """Stands for an op whose symbolic elements are never known."""
    return None


class UnaryOp(GraphOp):
    """An elementwise op of one operand; the result has the operand's type."""

    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    rule = staticmethod(is_float)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_dtype(self, self.input, type(self).rule)
        return [self.input.type]  # type: ignore[list-item]

    def flops(self) -> Dim:
        return result_numel(self)


__all__ = [
    "PURE",
    "SEGMENTS",
    "TENSOR",
    "GraphOp",
    "UnaryOp",
    "operand_def",
    "opt_operand_def",
    "result_def",
]
