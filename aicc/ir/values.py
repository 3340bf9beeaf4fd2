"""Symbolic elements of small integer tensors.

Shapes travel through models as integer tensors (``Shape → Gather → Mul → Concat → Reshape``).
`SymbolicValues` follows them: for an integer tensor of rank 0 or 1 with few elements it gives each
element as a `Dim`, or None where the element isn't known.
"""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType
from xdsl.ir import OpResult, SSAValue

from aicc.ir.symbols import Dim, bounds
from aicc.ir.types import element_type, static_shape

MAX_ELEMENTS = 64

Elements = tuple[Dim | None, ...]


class SymbolicValues:
    """A memo from SSA values to their symbolic elements."""

    def __init__(self) -> None:
        self._known: dict[SSAValue, Elements | None] = {}

    def get(self, value: SSAValue | None) -> Elements | None:
        """The elements of an integer or boolean tensor, or None if nothing is known."""
        if value is None or not is_candidate(value):
            return None
        pending = [value]
        while pending:
            top = pending[-1]
            if top in self._known:
                pending.pop()
                continue
            op = top.owner if isinstance(top, OpResult) else None
            if op is None or not hasattr(op, "symbolic_results"):
                self._known[top] = None
                continue
            missing = [o for o in op.operands if o not in self._known and is_candidate(o)]
            if missing:
                pending += missing
                continue
            found = op.symbolic_results(self)  # type: ignore[attr-defined]
            for result, elements in zip(op.results, found, strict=True):
                self._known[result] = None if elements is None else in_range(result, elements)
        return self._known[value]

    def all_known(self, value: SSAValue | None) -> tuple[Dim, ...] | None:
        """The elements if every one is known."""
        elements = self.get(value)
        if elements is None or None in elements:
            return None
        return elements  # type: ignore[return-value]

    def forget(self, value: SSAValue) -> None:
        self._known.pop(value, None)


def in_range(value: SSAValue, elements: Elements) -> Elements:
    """The elements without those that the value's dtype may not hold, which wrap at run time.

    Sizes are trusted to fit 32 bits and more.
    """
    dtype = element_type(value)
    if dtype.kind == "bool":
        return elements
    low, high = dtype.integer_range

    def kept(d: Dim | None) -> Dim | None:
        if isinstance(d, int) or d is None:
            return d if d is not None and low <= d <= high else None
        least, _ = bounds(d, {})
        signed_or_natural = dtype.kind == "int" or (least is not None and least >= 0)
        return d if dtype.bits >= 32 and signed_or_natural else None

    return tuple(map(kept, elements))


class _NoValues(SymbolicValues):
    def get(self, value: SSAValue | None) -> Elements | None:
        return None


NO_VALUES: SymbolicValues = _NoValues()


def is_candidate(value: SSAValue) -> bool:
    """Whether the value is an integer or boolean tensor of rank 0 or 1 with few elements."""
    type = value.type
    if not isinstance(type, TensorType) or len(type.shape.data) > 1:
        return False
    shape = static_shape(type)
    if shape is None or (shape and shape[0] > MAX_ELEMENTS):
        return False
    return hasattr(type.element_type, "width")
