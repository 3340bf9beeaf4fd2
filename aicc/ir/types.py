"""Tensor types with named dynamic dims.

A tensor type is MLIR's builtin ``tensor<…>``. Its dynamic dims (``?``) carry names in the encoding:
``tensor<?x?x64xf32, #graph.dims<s0, s0 * 2>>`` has one entry for each ``?``, in order. The same
name means the same size everywhere in a function. A ``?`` without an entry is unknown and equal to
nothing, not even to itself. A tensor of codes may say there what they stand for, too
(`aicc.ir.quantized`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from xdsl.dialects.builtin import DYNAMIC_INDEX, NoneAttr, TensorType
from xdsl.ir import Attribute, Data, SSAValue
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError

from aicc.ir.dtypes import DType, dtype_of
from aicc.ir.symbols import Dim, SymExpr, definitely_equal, evaluate
from aicc.ir.symbols import parse as parse_dim
from aicc.ir.text import raw_group, split_top_level

Shape = tuple[Dim | None, ...]
"""Dims of a tensor: an int, a symbolic expression, or None where nothing is known."""


@irdl_attr_definition
class DimsAttr(Data[Shape]):
    """A list of symbolic integers: the names of dynamic dims, or a structural parameter of an op.

    Printed as ``#graph.dims<s0, s0 * 2 + 1, 4>``.
    """

    name = "graph.dims"

    def __init__(self, dims: Iterable[Dim | None]):
        super().__init__(tuple(dims))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Shape:
        return parse_dims(parser, "<", ">")

    def print_parameter(self, printer: Printer) -> None:
        printer.print_string(f"<{format_dims(self.data)}>")

    def symbols(self) -> frozenset[str]:
        return symbols_of(self.data)


def parse_dims(parser: AttrParser, opening: str, closing: str) -> Shape:
    """Parse ``<s0, s0 * 2>`` or ``[0, s0]`` into dims."""
    text = raw_group(parser, opening, closing)
    try:
        return tuple(None if p == "?" else parse_dim(p) for p in split_top_level(text))
    except (ValueError, OverflowError) as e:
        raise ParseError(parser._current_token.span, f"bad dimension expression: {e}") from None


def format_dims(dims: Iterable[Dim | None]) -> str:
    return ", ".join("?" if d is None else str(d) for d in dims)


def symbols_of(dims: Iterable[Dim | None]) -> frozenset[str]:
    """The names that occur in `dims`."""
    found: frozenset[str] = frozenset()
    for d in dims:
        if isinstance(d, SymExpr):
            found |= d.symbols()
    return found


@lru_cache(maxsize=1 << 16)
def _tensor(shape: Shape, dtype: DType) -> TensorType:
    static = [d if isinstance(d, int) else DYNAMIC_INDEX for d in shape]
    names = [d for d in shape if not isinstance(d, int)]
    if all(d is None for d in names):
        return TensorType(dtype.ir, static)
    return TensorType(dtype.ir, static, DimsAttr(names))


def tensor(shape: Sequence[Dim | None], dtype: object) -> TensorType:
    """The type of a tensor with the given dims; `dtype` is whatever `dtype_of` takes."""
    return _tensor(tuple(shape), dtype_of(dtype))


def shape_of(value: SSAValue | Attribute) -> Shape:
    """The dims of a tensor type or of a value that has one."""
    type = value.type if isinstance(value, SSAValue) else value
    if not isinstance(type, TensorType):
        raise TypeError(f"expected a tensor, got {type}")
    static = [d.data for d in type.shape.data]
    if DYNAMIC_INDEX not in static:
        return tuple(static)
    encoding = type.encoding
    names = iter(encoding.data if isinstance(encoding, DimsAttr) else getattr(encoding, "dims", ()))
    return tuple(next(names, None) if d == DYNAMIC_INDEX else d for d in static)


def element_type(value: SSAValue | Attribute) -> DType:
    """The `DType` of a tensor type or of a value that has one."""
    type = value.type if isinstance(value, SSAValue) else value
    if not isinstance(type, TensorType):
        raise TypeError(f"expected a tensor, got {type}")
    return dtype_of(type.element_type)


def rank_of(value: SSAValue | Attribute) -> int:
    type = value.type if isinstance(value, SSAValue) else value
    if not isinstance(type, TensorType):
        raise TypeError(f"expected a tensor, got {type}")
    return len(type.shape.data)


def is_static(shape: Iterable[Dim | None]) -> bool:
    return all(isinstance(d, int) for d in shape)


def static_shape(value: SSAValue | Attribute) -> tuple[int, ...] | None:
    """The dims as ints, or None if one is dynamic."""
    shape = shape_of(value)
    return shape if is_static(shape) else None  # type: ignore[return-value]


def numel(shape: Iterable[Dim | None]) -> Dim | None:
    """The number of elements, symbolic where dims are, None where one is unknown."""
    total: Dim = 1
    for d in shape:
        if d is None:
            return None
        total = total * d
    return total


def has_encoding(type: TensorType) -> bool:
    return not isinstance(type.encoding, NoneAttr)


def compatible_dim(a: Dim | None, b: Dim | None) -> bool:
    """Whether the dims can be the same size: only a provable difference of ints says no."""
    return not (isinstance(a, int) and isinstance(b, int)) or a == b


def compatible(a: Attribute, b: Attribute) -> bool:
    """Whether two tensor types have one dtype, one rank, and no dims that are different ints."""
    if not isinstance(a, TensorType) or not isinstance(b, TensorType):
        return a == b
    sa, sb = shape_of(a), shape_of(b)
    return (
        a.element_type == b.element_type
        and len(sa) == len(sb)
        and all(compatible_dim(x, y) for x, y in zip(sa, sb, strict=True))
    )


def same_dim(a: Dim | None, b: Dim | None) -> bool:
    """Whether the dims are known to be the same size."""
    return a is not None and b is not None and definitely_equal(a, b)


def broadcast_dim(a: Dim | None, b: Dim | None) -> Dim | None:
    """NumPy's broadcasting rule for one dim.

    Two dynamic dims with different names give None: either may be 1. A dynamic dim beside a static
    one other than 1 gives the static one. Raises ValueError for two different ints above 1.
    """
    if isinstance(a, int) and isinstance(b, int):
        if a == b or b == 1:
            return a
        if a == 1:
            return b
        raise ValueError(f"{a} and {b} don't broadcast")
    if a == 1:
        return b
    if b == 1:
        return a
    if isinstance(a, int):
        return a
    if isinstance(b, int):
        return b
    return a if same_dim(a, b) else None


def broadcast_shapes(*shapes: Shape) -> Shape:
    """NumPy's broadcasting rule for whole shapes; raises ValueError where they don't fit."""
    rank = max((len(s) for s in shapes), default=0)
    result: list[Dim | None] = [1] * rank
    for shape in shapes:
        offset = rank - len(shape)
        for i, d in enumerate(shape):
            try:
                result[offset + i] = broadcast_dim(result[offset + i], d)
            except ValueError:
                listed = " and ".join(f"[{format_dims(s)}]" for s in shapes)
                raise ValueError(f"shapes {listed} don't broadcast") from None
    return tuple(result)


def bytes_of(value: SSAValue) -> Dim | None:
    """A tensor's size in bytes, None where a dim is unknown."""
    count = numel(shape_of(value))
    return None if count is None else count * max(element_type(value).bits // 8, 1)


TYPICAL_DIM = 64
"""What a symbol counts as where sizes are compared or one number is asked for."""


def typical(d: Dim | None) -> int:
    """A size with every symbol being `TYPICAL_DIM`; so is a size that is unknown."""
    if isinstance(d, int):
        return d
    return TYPICAL_DIM if d is None else evaluate(d, dict.fromkeys(d.symbols(), TYPICAL_DIM))
