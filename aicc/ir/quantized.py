"""Quantized types: what the codes of a tensor stand for.

A tensor of codes may say so in its type's encoding:

    tensor<8x64xi8, #graph.quantized<f32, scale = 0.0213, zero_point = -3>>
    tensor<64x128xi4, #graph.quantized<f32, scale = @w_scale, axis = 0, group = 32>>

A code q stands for the real number ``(q − zero_point) · scale`` (Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", equation 1) of the
type that stands first. There is one scale for the tensor, one for each index along `axis`, or with
a `group` besides one for each run of so many elements along `axis`, at every place of the others.
Few numbers are listed, more are named: ``@name`` is the constant that a dump shows by that name.
Names of dynamic dims follow as ``dims = [s0]``.

The encoding says what is known. A type without one fits wherever one with it does, and operations
that know nothing of it give types without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, Data, SSAValue
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError

from aicc.ir.constants import NAME, DenseAttr
from aicc.ir.dtypes import DType, dtype_of
from aicc.ir.symbols import parse as parse_dim
from aicc.ir.text import raw_group, split_top_level
from aicc.ir.types import Shape, element_type, format_dims, shape_of, tensor

FIELDS = ("scale", "zero_point", "axis", "group", "dims")

LISTED = 8
"""The most numbers that a type lists."""

Numbers = float | tuple[float, ...] | str
"""One number, a list of them, or the name of a constant."""


@dataclass(frozen=True)
class Quantization:
    """How codes become numbers (see the module's docstring); `zero_point` is None for 0."""

    expressed: DType
    scale: Numbers
    zero_point: Numbers | None = None
    axis: int | None = None
    group: int = 0

    def __str__(self) -> str:
        parts = [str(self.expressed), f"scale = {_text(self.scale)}"]
        if self.zero_point is not None:
            parts.append(f"zero_point = {_text(self.zero_point)}")
        if self.axis is not None:
            parts.append(f"axis = {self.axis}")
        if self.group:
            parts.append(f"group = {self.group}")
        return ", ".join(parts)

    @property
    def shared(self) -> str:
        """What shares a scale, in words."""
        if self.axis is None:
            return "one scale"
        return f"a scale for each {self.group or 'index'} along {self.axis}"

    @property
    def is_per_tensor(self) -> bool:
        """Whether one scale serves all elements."""
        return self.axis is None

    def on_axis(self, axis: int) -> Quantization:
        """The same with the axis elsewhere."""
        return replace(self, axis=axis)


@irdl_attr_definition
class QuantizedAttr(Data[tuple[Quantization, Shape]]):
    """The encoding of a tensor of codes: its quantization, and the names of its dynamic dims."""

    name = "graph.quantized"

    @property
    def dims(self) -> Shape:
        return self.data[1]

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Quantization, Shape]:
        span = parser._current_token.span
        first, *parts = split_top_level(raw_group(parser, "<", ">")) or [""]
        try:
            given = dict(_pair(p) for p in parts)
            if len(given) < len(parts) or given.keys() - {*FIELDS}:
                raise ValueError(f"the fields are {', '.join(FIELDS)}, each once")
            dims = split_top_level(given.get("dims", "[]")[1:-1])
            names = [None if d == "?" else parse_dim(d) for d in dims]
            return (
                Quantization(
                    dtype_of(first),
                    _numbers(given["scale"]),
                    _numbers(given["zero_point"]) if "zero_point" in given else None,
                    int(given["axis"]) if "axis" in given else None,
                    int(given.get("group", "0")),
                ),
                tuple(names),
            )
        except (KeyError, ValueError, TypeError, OverflowError) as e:
            raise ParseError(span, f"bad quantized type: {e}") from None

    def print_parameter(self, printer: Printer) -> None:
        quantization, dims = self.data
        named = f", dims = [{format_dims(dims)}]" if dims else ""
        printer.print_string(f"<{quantization}{named}>")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition(" = ")
    if not equals:
        raise ValueError(f"'{text}' is no 'name = value'")
    return name.strip(), value.strip()


def _text(numbers: Numbers) -> str:
    if isinstance(numbers, str):
        return f"@{numbers}"
    if isinstance(numbers, tuple):
        return f"[{', '.join(_text(n) for n in numbers)}]"
    return str(int(numbers)) if numbers == int(numbers) and abs(numbers) < 1e6 else repr(numbers)


_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[-+]?\d+)?|-?inf|nan")


def _numbers(text: str) -> Numbers:
    if text.startswith("@"):
        if not NAME.fullmatch(text[1:]):
            raise ValueError(f"'{text}' is no name")
        return text[1:]
    if text.startswith("["):
        return tuple(_number(t) for t in split_top_level(text[1:-1]))
    return _number(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"'{text}' is no number")
    return float(text)


# ---------------------------------------------------------------------- types


def quantization_of(value: SSAValue | Attribute) -> Quantization | None:
    """What a tensor type, or the type of a value, says of its codes."""
    type = value.type if isinstance(value, SSAValue) else value
    encoding = type.encoding if isinstance(type, TensorType) else None
    return encoding.data[0] if isinstance(encoding, QuantizedAttr) else None


def quantized(type: Attribute, quantization: Quantization | None) -> TensorType:
    """A tensor type that says what its codes stand for; with None, that doesn't."""
    plain = tensor(shape_of(type), element_type(type))
    if quantization is None:
        return plain
    names = tuple(d for d in shape_of(plain) if not isinstance(d, int))
    return TensorType(plain.element_type, plain.get_shape(), QuantizedAttr((quantization, names)))


def quantization_by(
    expressed: DType,
    scale: DenseAttr,
    zero_point: DenseAttr | None,
    axis: int,
    group: int,
) -> Quantization:
    """The quantization of parameters as `graph.quantize` and `graph.dequantize` take them."""
    numbers = listed(scale)
    points = None if zero_point is None else listed(zero_point)
    if isinstance(numbers, float):
        return Quantization(expressed, numbers, None if points == 0 else points)
    return Quantization(expressed, numbers, points, axis, group)


def listed(constant: DenseAttr) -> Numbers:
    """A constant's elements: one number, a short list, or its name."""
    array = constant.array
    if array.size == 1:
        return _shortest(array.reshape(1)[0])
    if array.ndim == 1 and array.size <= LISTED:
        return tuple(map(_shortest, array))
    name = constant.resource or ""
    return name if NAME.fullmatch(name) else constant.data.content_name


def _shortest(x: np.generic) -> float:
    """A number of few digits that is the same in its own type."""
    return float(str(np.float32(x))) if x.dtype.itemsize <= 4 else float(x)


__all__ = ["Quantization", "QuantizedAttr", "quantization_by", "quantization_of", "quantized"]
