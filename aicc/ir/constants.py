"""Constant tensors as attributes.

A small constant prints inline (``dense<[1, 2]>``), a large one by name (``dense_resource<w>``); its
elements then live outside the text, in a table from names to arrays that a parser is given. Either
way the attribute holds the NumPy array itself, shared by every clone of the op: no pass copies a
weight that it doesn't change, and dumps stay small.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError

from aicc.ir.dtypes import DType, dtype_of
from aicc.ir.memory import MOST_MOVED, aligned
from aicc.ir.text import raw_group
from aicc.ir.types import static_shape, tensor

INLINE_ELEMENTS = 64
"""The most elements of a constant that still prints inline."""

NAME = re.compile(r"[A-Za-z_][\w.$/:-]*")
"""Names that need no quotes."""


class Literal:
    """The elements of a constant: an array, or a name whose array is not at hand (or both)."""

    __slots__ = ("_array", "_digest", "_hash", "dtype", "load", "name", "shape")

    def __init__(
        self,
        array: np.ndarray | None,
        name: str | None = None,
        shape: tuple[int, ...] = (),
        dtype: DType | None = None,
        load: Callable[[], np.ndarray] | None = None,
    ):
        self._array = array
        self.name = name
        self.load = load
        self._digest: str | None = None
        self._hash: int | None = None
        if array is not None:
            self.shape, self.dtype = array.shape, dtype_of(array.dtype)
        else:
            assert name is not None and dtype is not None
            self.shape, self.dtype = shape, dtype

    @property
    def array(self) -> np.ndarray:
        """The elements; raises ValueError if they were never given."""
        if self._array is None:
            if self.load is None:
                raise ValueError(
                    f"the elements of constant '{self.name}' are not at hand; "
                    "they live in the safetensors file beside the dump"
                )
            self._array = self.load()
        return self._array

    def align(self) -> np.ndarray:
        """The elements, contiguous, and moved to where vectors of them are read fast.

        The largest stay where they are.
        """
        large = self.array.nbytes > MOST_MOVED
        self._array = np.ascontiguousarray(self.array) if large else aligned(self.array)
        return self._array

    @property
    def computed(self) -> bool:
        """Whether the elements are there already."""
        return self._array is not None

    @property
    def resolved(self) -> bool:
        return self._array is not None or self.load is not None

    @property
    def digest(self) -> str:
        """SHA-256 of dtype, shape and bytes, computed once."""
        if self._digest is None:
            h = hashlib.sha256(f"{self.dtype.name}{self.shape}".encode())
            a = np.ascontiguousarray(self.array)
            h.update(a.reshape(-1).view(np.uint8).data if a.size else b"")
            self._digest = h.hexdigest()
        return self._digest

    @property
    def content_name(self) -> str:
        """A name that equal elements share."""
        return "constant_" + self.digest[:16]

    def __hash__(self) -> int:
        if self._hash is None:
            if self.name is None:
                self._hash = hash((self.dtype, self.shape, self.array.tobytes()))
            else:
                self._hash = hash((self.name, self.dtype, self.shape))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Literal):
            return NotImplemented
        if (self.name, self.dtype, self.shape) != (other.name, other.dtype, other.shape):
            return False
        if not (self.resolved and other.resolved):
            return True
        return self.array is other.array or self.digest == other.digest


ROOM = 2**28
"""Bytes that any input may take in memory; beyond them it is bounded by its own size."""


def expands_too_far(stored: int, expanded: int) -> bool:
    """Whether what takes `stored` bytes in a file may not take `expanded` bytes in memory."""
    return expanded > 4 * stored + ROOM


@irdl_attr_definition
class DenseAttr(Data[Literal]):
    """The elements of a constant tensor (see the module's docstring)."""

    name = "graph.dense"

    def __init__(self, array: np.ndarray | Literal, name: str | None = None):
        """Hold `array` without a copy. With a `name`, it prints as ``dense_resource<name>``."""
        super().__init__(array if isinstance(array, Literal) else Literal(array, name))

    @classmethod
    def make(cls, array: np.ndarray, name: str | None = None) -> DenseAttr:
        """Inline if small; else named: by `name`, or by the content where none is given."""
        array = np.asarray(array)
        if array.size <= INLINE_ELEMENTS:
            return cls(array)
        attr = cls(array, name or "unnamed")
        if name is None:
            return cls(array, attr.data.content_name)
        return attr

    @classmethod
    def deferred(
        cls, name: str, type: TensorType, load: Callable[[], np.ndarray] | None = None
    ) -> DenseAttr:
        """A named constant whose array comes later, by `load`, or never."""
        shape = static_shape(type)
        assert shape is not None, "constants have static shapes"
        return cls.new(Literal(None, name, shape, dtype_of(type.element_type), load))

    @property
    def array(self) -> np.ndarray:
        return self.data.array

    @property
    def resource(self) -> str | None:
        """The name under which the elements are kept outside the text, or None if inline."""
        return self.data.name

    @property
    def type(self) -> TensorType:
        return tensor(self.data.shape, self.data.dtype)

    def print_literal(self, printer: Printer) -> None:
        if self.data.name is not None:
            printer.print_string(f"dense_resource<{quote_name(self.data.name)}>")
        else:
            printer.print_string(f"dense<{format_elements(self.data.array)}>")

    @classmethod
    def parse_literal(cls, parser: AttrParser) -> tuple[str, str]:
        """Parse ``dense<…>`` or ``dense_resource<…>``; the type that follows gives it meaning."""
        keyword = parser.parse_identifier()
        if keyword not in ("dense", "dense_resource"):
            parser.raise_error("expected dense<…> or dense_resource<…>")
        return keyword, raw_group(parser, "<", ">").strip()

    @classmethod
    def from_literal(cls, parser: AttrParser, literal: tuple[str, str], type: Any) -> DenseAttr:
        keyword, text = literal
        shape = static_shape(type) if isinstance(type, TensorType) else None
        if shape is None:
            parser.raise_error(f"a constant needs a static tensor type, got {type}")
        if keyword == "dense_resource":
            return cls._from_table(parser, unquote_name(text), type)
        try:
            return cls(parse_elements(text, shape, dtype_of(type.element_type)))
        except (ValueError, OverflowError, TypeError) as e:
            raise ParseError(parser._current_token.span, f"bad constant: {e}") from None

    @classmethod
    def _from_table(cls, parser: AttrParser, name: str, type: TensorType) -> DenseAttr:
        table = getattr(parser.ctx, "weights", None)
        if table is None or name not in table:
            return cls.deferred(name, type)
        return cls.deferred(name, type, lambda: _as_type(table[name], type))

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Literal:
        with parser.in_angle_brackets():
            literal = cls.parse_literal(parser)
            parser.parse_punctuation(":")
            return cls.from_literal(parser, literal, parser.parse_type()).data

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            self.print_literal(printer)
            printer.print_string(" : ")
            printer.print_attribute(self.type)


def _as_type(array: np.ndarray, type: TensorType) -> np.ndarray:
    """A stored array as the type says; dtypes that files lack are stored as bytes."""
    row, shape = dtype_of(type.element_type), static_shape(type)
    dtype = row.np
    if row.bits < 8 and array.dtype == np.uint8:
        array = unpacked(array, row, math.prod(shape or ()))
    if array.dtype != dtype and array.dtype == np.uint8:
        array = array.view(dtype)
    if array.dtype != dtype or array.size != math.prod(shape or ()):
        raise ValueError(f"stored as {array.dtype}{list(array.shape)}, but the type is {type}")
    return array.reshape(shape or ())


def packed(array: np.ndarray) -> np.ndarray:
    """Elements of 4 or 2 bits as bytes, the first in the lowest bits, as ONNX has them."""
    bits = dtype_of(array.dtype).bits
    count = 8 // bits
    codes = np.ascontiguousarray(array).reshape(-1).view(np.uint8) & (2**bits - 1)
    codes = np.pad(codes, (0, -codes.size % count)).reshape(-1, count)
    return np.bitwise_or.reduce(codes << (np.arange(count, dtype=np.uint8) * bits), axis=1)


def unpacked(data: np.ndarray, dtype: DType, count: int) -> np.ndarray:
    """The inverse of `packed`. Raises ValueError for another number of bytes."""
    per_byte = 8 // dtype.bits
    if data.size != -(-count // per_byte):
        raise ValueError(f"{count} elements of {dtype} can't be {data.size} bytes")
    shifts = np.arange(per_byte, dtype=np.uint8) * dtype.bits
    codes = ((data.reshape(-1, 1) >> shifts) & (2**dtype.bits - 1)).reshape(-1)[:count]
    if dtype.is_float:
        return codes.view(dtype.np)
    if dtype.kind == "int":
        middle = 1 << (dtype.bits - 1)
        return ((codes.astype(np.int8) ^ middle) - middle).astype(dtype.np)
    return codes.astype(dtype.np)


def quote_name(name: str) -> str:
    if NAME.fullmatch(name):
        return name
    escaped = "".join(c if c.isprintable() and c not in '"\\<>%' else f"%{ord(c):x};" for c in name)
    return f'"{escaped}"'


def unquote_name(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"%([0-9a-f]+);", lambda m: chr(int(m[1], 16)), text[1:-1])
    return text


def _format_scalar(x: Any, dtype: DType) -> str:
    if dtype.kind == "bool":
        return "true" if x else "false"
    if dtype.is_integer:
        return str(int(x))
    if dtype.kind == "complex":
        part = np.float32 if dtype.np == np.complex64 else np.float64
        row = dtype_of(part)
        return f"({_format_scalar(part(x.real), row)},{_format_scalar(part(x.imag), row)})"
    value = float(x)
    if math.isnan(value) or math.isinf(value):
        bits = np.asarray(x, dtype.np).tobytes()[::-1].hex().upper()
        return "0x" + bits
    if dtype.np == np.float32:
        return repr_float(str(np.float32(x)))
    if dtype.np == np.float16:
        return repr_float(str(np.float16(x)))
    return repr_float(repr(value))


def repr_float(text: str) -> str:
    """`text` with a point, as MLIR's float literals have one: 1e-05 becomes 1.0e-05."""
    if "." in text:
        return text
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}.0{e}{exponent}"


def format_elements(array: np.ndarray) -> str:
    """Nested lists as in MLIR's ``dense<…>``; one scalar where all elements are the same bits."""
    dtype = dtype_of(array.dtype)
    if array.size == 0:
        return ""
    flat = np.ascontiguousarray(array).reshape(-1)
    raw = flat.view(np.uint8).reshape(flat.size, -1)
    if array.ndim == 0 or (array.size > 1 and bool((raw == raw[0]).all())):
        return _format_scalar(flat[0], dtype)

    def nest(a: np.ndarray) -> str:
        if a.ndim == 0:
            return _format_scalar(a[()], dtype)
        return "[" + ", ".join(nest(part) for part in a) + "]"

    return nest(array)


def _parse_scalar(text: str, dtype: DType) -> Any:
    if dtype.kind == "bool":
        if text not in ("true", "false"):
            raise ValueError(f"expected true or false, got {text!r}")
        return text == "true"
    if dtype.is_integer:
        return int(text)
    if text.startswith("0x"):
        raw = bytes.fromhex(text[2:])
        if len(raw) != dtype.np.itemsize:
            raise ValueError(f"{text} has not the width of {dtype}")
        return np.frombuffer(raw[::-1], dtype.np)[0]
    return float(text)


def _tokens(text: str) -> Iterator[str]:
    yield from text.replace("[", " ").replace("]", " ").replace(",", " ").split()


def parse_elements(text: str, shape: Sequence[int], dtype: DType) -> np.ndarray:
    """The inverse of `format_elements`."""
    count = math.prod(shape)
    values: list[Any]
    if dtype.kind == "complex":
        part = dtype_of(np.float32 if dtype.np == np.complex64 else np.float64)
        raw = [_parse_scalar(t, part) for t in re.findall(r"[^\s,()\[\]]+", text)]
        pairs = np.array(raw, part.np).reshape(-1, 2)
        values = [complex(a, b) for a, b in pairs]
        if any(np.isnan(pairs).ravel()) or len(values) not in (1, count):
            flat = np.ascontiguousarray(pairs).view(dtype.np).reshape(-1)
            return _fill(flat, count, shape)
    else:
        values = [_parse_scalar(t, dtype) for t in _tokens(text)]
    if dtype.is_integer:
        low, high = _integer_range(dtype)
        for v in values:
            if not low <= v <= high:
                raise ValueError(f"{v} is out of range for {dtype}")
        flat = np.array(values, np.uint64 if dtype.name == "ui64" else np.int64).astype(dtype.np)
    else:
        flat = np.array(values, dtype.np)
    return _fill(flat, count, shape)


def _fill(flat: np.ndarray, count: int, shape: Sequence[int]) -> np.ndarray:
    if flat.size == 1 and count != 1:
        if expands_too_far(0, count * flat.itemsize):
            raise ValueError(f"one element for {count:,}: write graph.expand of a scalar")
        return np.full(tuple(shape), flat[0], flat.dtype)
    if flat.size != count:
        raise ValueError(f"expected {count} elements, got {flat.size}")
    return flat.reshape(tuple(shape))


def _integer_range(dtype: DType) -> tuple[int, int]:
    if dtype.kind == "uint":
        return 0, 2**dtype.bits - 1
    return -(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1
