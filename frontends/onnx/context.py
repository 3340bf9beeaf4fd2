"""What an importer sees of one ONNX node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from xdsl.ir import OpResult, SSAValue

from aicc.frontends.onnx.errors import ImportError_, NeedsValue
from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import DType, dtype_from_onnx
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim
from aicc.ir.types import Shape, element_type, is_static, rank_of, shape_of

if TYPE_CHECKING:
    from aicc.frontends.onnx.importer import GraphImporter

_MISSING = object()


class Sequence_(list):
    """An ONNX sequence whose number of elements is known while importing."""


class Optional_:
    """An ONNX optional: `value` is None where it is empty."""

    def __init__(self, value: Any):
        self.value = value


class NodeContext:
    """A node with its inputs as SSA values, and ways to build its lowering.

    `c[i]` is input i (an error if absent), `c.optional(i)` gives None if absent.
    """

    def __init__(
        self,
        importer: GraphImporter,
        node: onnx.NodeProto,
        inputs: Sequence[Any],
        version: int,
    ):
        self.importer = importer
        self.node = node
        self.inputs = list(inputs)
        self.version = version
        self.b: GraphBuilder = importer.builder
        self._attributes = {a.name: a for a in node.attribute}

    # ------------------------------------------------------------------ inputs

    def __getitem__(self, i: int) -> SSAValue:
        value = self.optional(i)
        if value is None:
            raise ImportError_(f"input {i} is missing")
        if not isinstance(value, SSAValue):
            raise ImportError_(f"input {i} is a {type(value).__name__}, not a tensor")
        return value

    def optional(self, i: int) -> Any:
        return self.inputs[i] if i < len(self.inputs) else None

    def has(self, i: int) -> bool:
        return self.optional(i) is not None

    def __len__(self) -> int:
        return len(self.inputs)

    def tensors(self) -> list[SSAValue]:
        return [self[i] for i in range(len(self.inputs))]

    def rank(self, i: int = 0) -> int:
        return rank_of(self[i])

    def shape(self, i: int = 0) -> Shape:
        return shape_of(self[i])

    def dtype(self, i: int = 0) -> DType:
        return element_type(self[i])

    # ------------------------------------------------------------------ attributes

    def attr(self, name: str, default: Any = _MISSING) -> Any:
        """An attribute as a Python value; strings are decoded."""
        if name not in self._attributes:
            if default is _MISSING:
                raise ImportError_(f"attribute '{name}' is missing")
            return default
        proto = self._attributes[name]
        value = onnx.helper.get_attribute_value(proto)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, (list, tuple)) or type(value).__name__.startswith("Repeated"):
            return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
        return value

    def has_attr(self, name: str) -> bool:
        return name in self._attributes

    def dtype_attr(self, name: str, default: Any = _MISSING) -> DType:
        """An attribute that holds a TensorProto.DataType."""
        value = self.attr(name, default)
        return value if isinstance(value, DType) else onnx_dtype(value)

    def axis(self, default: int | None = None, name: str = "axis", rank: int | None = None) -> int:
        """An axis attribute, normalised to 0 ≤ axis < rank of input 0."""
        value = self.attr(name) if default is None else self.attr(name, default)
        return self.normalize(value, self.rank() if rank is None else rank)

    @staticmethod
    def normalize(axis: int, rank: int) -> int:
        if not -rank <= axis < rank:
            raise ImportError_(f"axis {axis} is out of range for rank {rank}")
        return axis % rank if rank else 0

    @property
    def output_count(self) -> int:
        return len(self.node.output)

    def wants(self, i: int) -> bool:
        """Whether output i has a name, so somebody may read it."""
        return i < len(self.node.output) and self.node.output[i] != ""

    # ------------------------------------------------------------------ known values

    def array(self, i: int) -> np.ndarray | None:
        """The elements of input i if they are known now, else None."""
        value = self.optional(i)
        return None if value is None else constant_array(value, self.b)

    def require_array(self, i: int, what: str) -> np.ndarray:
        """The elements of input i, on which the structure of the result depends.

        Raises NeedsValue if they come from an argument of the model, so that the caller may
        specialise the model on the argument's value.
        """
        found = self.array(i)
        if found is None:
            raise NeedsValue(what, self.importer.argument_of(self[i]))
        return found

    def ints(self, i: int, what: str) -> list[int]:
        """A required list of ints from input i."""
        return [int(v) for v in self.require_array(i, what).reshape(-1)]

    def axes_from(self, attr: str, i: int, rank: int | None = None) -> list[int] | None:
        """Axes from an attribute or, since some opset, an input; None where neither is given."""
        rank = self.rank() if rank is None else rank
        raw = self.attr(attr, None)
        if raw is None and self.has(i):
            raw = self.ints(i, attr)
        return None if raw is None else [self.normalize(int(a), rank) for a in raw]

    def dims(self, i: int) -> Sequence[Dim | None] | SSAValue:
        """Input i as a structural parameter: dims if known symbolically, else an i64 tensor."""
        return self.b.structural(self.b.cast(self[i], "i64"))

    # ------------------------------------------------------------------ building

    def emit(self, cls: type[GraphOp], *operands: Any, **params: Any) -> SSAValue:
        return self.b.emit(cls, *operands, **params)

    def scalar(self, value: float | int | bool, like: SSAValue | None = None) -> SSAValue:
        """A scalar constant of the dtype of `like` (default: input 0)."""
        return self.b.scalar_like(value, self[0] if like is None else like)


def onnx_dtype(code: int) -> DType:
    """The element type of a TensorProto.DataType code."""
    name = onnx.TensorProto.DataType.Name(code) if code in _CODES else str(code)
    found = dtype_from_onnx(name)
    if found is None:
        raise ImportError_(f"tensors of type {name} are not supported")
    return found


_CODES = frozenset(onnx.TensorProto.DataType.values())


def constant_array(value: SSAValue, b: GraphBuilder) -> np.ndarray | None:
    """The elements of a value that is constant, or whose integers are known symbolically."""
    if not isinstance(value, OpResult):
        return None
    if isinstance(value.op, graph.Constant):
        return value.op.value.array
    if isinstance(value.op, graph.Cast | graph.Reshape | graph.Expand):
        shape = shape_of(value)
        inner = constant_array(value.op.input, b) if is_static(shape) else None
        if inner is not None and isinstance(value.op, graph.Cast) and inner.size <= 4096:
            dtype = value.op.to
            if not dtype.is_low_precision_float:
                return inner.astype(dtype.np)
        elif inner is not None and not isinstance(value.op, graph.Cast):
            if isinstance(value.op, graph.Reshape):
                return inner.reshape(shape)  # type: ignore[arg-type]
            return np.broadcast_to(inner, shape)  # type: ignore[arg-type]
    known = b.values.all_known(value)
    if known is None or not is_static(known):
        return None
    return np.array(known, element_type(value).np).reshape(shape_of(value))  # type: ignore
