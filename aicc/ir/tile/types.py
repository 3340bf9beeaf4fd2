"""Types of the tile dialect: buffers in device memory, and tiles of values in registers.

A tile is MLIR's builtin ``tensor<…>`` with signless elements, or ``index`` for positions in memory.
Its dims are static or named by schedule parameters: ``tensor<?x768xf32, #graph.dims<BLOCK_M>>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, IntegerType, TensorType
from xdsl.ir import Attribute, Data, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from aicc.ir.dtypes import DType, dtype_of
from aicc.ir.params import Kind
from aicc.ir.symbols import Dim, evaluate
from aicc.ir.types import DimsAttr, Shape, format_dims, parse_dims, shape_of

INDEX = IndexType()


@irdl_attr_definition
class BufferType(ParametrizedAttribute, TypeAttribute):
    """Elements in device memory, dense and row-major: ``!tile.buffer<[s0, 768], f32>``."""

    name = "tile.buffer"
    dims: DimsAttr
    element_type: Attribute

    @classmethod
    def of(cls, shape: Sequence[Dim], dtype: object) -> BufferType:
        """A buffer of the given dims; `dtype` is whatever `dtype_of` takes."""
        return cls(DimsAttr(shape), dtype_of(dtype).ir)

    @property
    def shape(self) -> Shape:
        return self.dims.data

    @property
    def dtype(self) -> DType:
        return dtype_of(self.element_type)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        parser.parse_punctuation("<")
        dims = parse_dims(parser, "[", "]")
        parser.parse_punctuation(",")
        element_type = parser.parse_type()
        parser.parse_punctuation(">")
        return [DimsAttr(dims), element_type]

    def print_parameters(self, printer: Printer) -> None:
        printer.print_string(f"<[{format_dims(self.shape)}], ")
        printer.print_attribute(self.element_type)
        printer.print_string(">")


@irdl_attr_definition
class ScheduleAttr(Data[tuple[tuple[str, int], ...]]):
    """Values of schedule parameters: ``#tile.schedule<BLOCK_M = 64, num_warps = 4>``."""

    name = "tile.schedule"

    def __init__(self, values: Mapping[str, int]):
        for name, value in values.items():  # they become parameters in printed sources
            if not (name.isidentifier() and name.isascii() and isinstance(value, int)):
                raise ValueError(f"'{name} = {value}' is no schedule parameter")
        super().__init__(tuple(values.items()))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[tuple[str, int], ...]:
        parser.parse_punctuation("<")
        return tuple(_parse_items(parser, ">").items())

    def print_parameter(self, printer: Printer) -> None:
        printer.print_string(f"<{_items(dict(self.data))}>")


def _items(values: Mapping[str, int]) -> str:
    return ", ".join(f"{k} = {v}" for k, v in values.items())


def _parse_items(parser: AttrParser, closing: str) -> dict[str, int]:
    values: dict[str, int] = {}
    while not parser.parse_optional_punctuation(closing):  # type: ignore[arg-type]
        if values:
            parser.parse_punctuation(",")
        name = parser.parse_identifier()
        if not name.isidentifier():
            parser.raise_error(f"'{name}' is no schedule parameter")
        parser.parse_punctuation("=")
        values[name] = parser.parse_integer()
    return values


def _parse_schedule(parser: AttrParser) -> dict[str, int]:
    parser.parse_punctuation("{")
    return _parse_items(parser, "}")


SCHEDULE = Kind(
    "schedule",
    lambda v: v if isinstance(v, ScheduleAttr) else ScheduleAttr(v),
    lambda a: dict(a.data),
    lambda p, v: p.print_string("{" + _items(v) + "}"),
    _parse_schedule,
)


def signless(dtype: DType) -> Attribute:
    """The element type that a tile of `dtype` holds: unsignedness is in the ops, as in MLIR."""
    return IntegerType(dtype.bits) if dtype.kind == "uint" else dtype.ir


def tile(shape: Sequence[Dim], element: Attribute) -> TensorType:
    """The type of a tile."""
    static = [d if isinstance(d, int) else DYNAMIC_INDEX for d in shape]
    names = [d for d in shape if not isinstance(d, int)]
    return TensorType(element, static, DimsAttr(names)) if names else TensorType(element, static)


def tile_shape(type: Attribute) -> tuple[Dim, ...]:
    """The dims of a tile's type; a scalar has none."""
    if not isinstance(type, TensorType):
        return ()
    return tuple(d for d in shape_of(type) if d is not None)


def tile_element(type: Attribute) -> Attribute:
    return type.element_type if isinstance(type, TensorType) else type


def with_shape(type: Attribute, shape: Sequence[Dim]) -> TensorType:
    """A tile type with the same elements."""
    return tile(shape, tile_element(type))


def broadcast_tiles(*shapes: Sequence[Dim]) -> tuple[Dim, ...]:
    """The shape of tiles of one rank broadcast together; ValueError where they don't fit."""
    rank = max((len(s) for s in shapes), default=0)
    result: list[Dim] = [1] * rank
    for shape in shapes:
        if not shape:
            continue
        if len(shape) != rank:
            raise ValueError(f"tiles of ranks {len(shape)} and {rank}")
        for i, d in enumerate(shape):
            if result[i] != 1 and d not in (1, result[i]):
                raise ValueError(f"tiles of {result[i]} and {d} along dim {i}")
            result[i] = result[i] if d == 1 else d
    return tuple(result)


def bind(dim: Dim, values: Mapping[str, int]) -> Dim:
    """A dim with schedule parameters put in; an int where nothing else is in it."""
    if isinstance(dim, int):
        return dim
    if dim.symbols() <= values.keys():
        return evaluate(dim, values)
    return dim.substitute({k: v for k, v in values.items() if k in dim.symbols()})
