"""What decompositions share: values with Python's operators, in the type they are computed in."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import f32
from aicc.ir.graph import binary, unary
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type


def wide(b: GraphBuilder, x: SSAValue) -> SSAValue:
    """`x` in the type that it is computed in: f32 for floats of 16 bits and fewer."""
    return b.cast(x, f32) if element_type(x).is_low_precision_float else x


@dataclass(frozen=True)
class Term:
    """A value in a formula: each operator emits an op; numbers take the value's dtype."""

    b: GraphBuilder
    value: SSAValue

    def _emit(self, cls: type[GraphOp], *operands: Term | float) -> Term:
        values = [
            o.value if isinstance(o, Term) else self.b.scalar_like(o, self.value) for o in operands
        ]
        return Term(self.b, self.b.emit(cls, *values))

    def __add__(self, other: Term | float) -> Term:
        return self._emit(binary.Add, self, other)

    def __radd__(self, other: float) -> Term:
        return self._emit(binary.Add, self, other)

    def __sub__(self, other: Term | float) -> Term:
        return self._emit(binary.Sub, self, other)

    def __rsub__(self, other: float) -> Term:
        return self._emit(binary.Sub, other, self)

    def __mul__(self, other: Term | float) -> Term:
        return self._emit(binary.Mul, self, other)

    def __rmul__(self, other: float) -> Term:
        return self._emit(binary.Mul, self, other)

    def __truediv__(self, other: Term | float) -> Term:
        return self._emit(binary.Div, self, other)

    def __mod__(self, other: Term | float) -> Term:
        return self._emit(binary.Mod, self, other)

    def __abs__(self) -> Term:
        return self._emit(unary.Abs, self)

    def __ge__(self, other: Term | float) -> Term:
        return self._emit(binary.Ge, self, other)

    def __gt__(self, other: Term | float) -> Term:
        return self._emit(binary.Gt, self, other)

    def __le__(self, other: Term | float) -> Term:
        return self._emit(binary.Le, self, other)

    def __lt__(self, other: Term | float) -> Term:
        return self._emit(binary.Lt, self, other)

    def __and__(self, other: Term) -> Term:
        return self._emit(binary.And, self, other)

    def __or__(self, other: Term) -> Term:
        return self._emit(binary.Or, self, other)

    def is_nan(self) -> Term:
        return self._emit(unary.IsNaN, self)

    def floor(self) -> Term:
        return self._emit(unary.Floor, self)

    def round(self) -> Term:
        return self._emit(unary.Round, self)

    def maximum(self, other: Term | float) -> Term:
        return self._emit(binary.Max, self, other)

    def clip(self, low: float, high: float) -> Term:
        return self._emit(binary.Min, self._emit(binary.Max, self, low), high)

    def where(self, condition: Term, otherwise: Term | float) -> Term:
        """This value where the condition holds."""
        return self._emit(binary.Select, condition, self, otherwise)

    def cast(self, dtype: object) -> Term:
        return Term(self.b, self.b.cast(self.value, dtype))

    @property
    def dtype(self):
        """The element type."""
        return element_type(self.value)
