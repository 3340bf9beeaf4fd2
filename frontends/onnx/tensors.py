"""TensorProtos → NumPy arrays, external data included."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from xdsl.dialects.builtin import TensorType

from aicc.frontends.onnx.context import onnx_dtype
from aicc.frontends.onnx.errors import ImportError_
from aicc.ir.constants import INLINE_ELEMENTS, DenseAttr, expands_too_far
from aicc.ir.types import tensor


class WeightReader:
    """Reads initializers. External data must lie inside `base_dir`; None refuses all of it."""

    def __init__(self, base_dir: str | None):
        self.base = None if base_dir is None else Path(base_dir).resolve()
        self._names: dict[str, int] = {}

    def attribute(self, init: onnx.TensorProto) -> DenseAttr:
        array = self.array(init)
        if array.size <= INLINE_ELEMENTS:
            return DenseAttr(array)
        return DenseAttr(array, self.unique_name(init.name or "weight"))

    def unique_name(self, name: str) -> str:
        """`name`, made unique: subgraphs and functions may reuse names."""
        n = self._names.get(name, 0)
        self._names[name] = n + 1
        return name if n == 0 else self.unique_name(f"{name}.{n}")

    def array(self, t: onnx.TensorProto) -> np.ndarray:
        """The elements; raises ImportError_ where the data doesn't fit shape and type."""
        dtype = onnx_dtype(t.data_type)
        shape = tuple(t.dims)
        if any(d < 0 for d in shape) or math.prod(shape) > 2**47:
            raise ImportError_(f"tensor '{t.name}' has the impossible shape {list(shape)}")
        if t.data_location == onnx.TensorProto.EXTERNAL:
            return self._external(t, dtype.np, dtype.bits, shape)
        try:
            array = numpy_helper.to_array(t)
        except Exception as e:  # onnx raises many kinds of exceptions on malformed tensors
            raise ImportError_(f"tensor '{t.name}' is malformed: {e}") from e
        return array if array.dtype == dtype.np else array.view(dtype.np)

    def _external(
        self, t: onnx.TensorProto, dtype: np.dtype, bits: int, shape: tuple[int, ...]
    ) -> np.ndarray:
        info = {e.key: e.value for e in t.external_data}
        if self.base is None:
            raise ImportError_(f"tensor '{t.name}' has external data, but the model has no folder")
        location = info.get("location", "")
        path = Path(os.path.normpath(self.base / location))
        inside = path.resolve().is_relative_to(self.base)
        if not location or os.path.isabs(location) or not inside or path.is_symlink():
            raise ImportError_(
                f"tensor '{t.name}': external data '{location}' lies outside the model's folder"
            )
        if not path.is_file():
            raise ImportError_(f"tensor '{t.name}': external data file '{location}' is missing")
        try:
            offset, length = int(info.get("offset", 0)), int(info.get("length", -1))
        except ValueError as e:
            raise ImportError_(f"tensor '{t.name}': bad external data entry: {e}") from None
        count = math.prod(shape)
        need = (count * bits + 7) // 8
        if length not in (-1, need) or offset < 0 or offset + need > path.stat().st_size:
            raise ImportError_(
                f"tensor '{t.name}': '{location}' has too few bytes for {list(shape)} of {dtype}"
            )
        if bits < 8:
            copy = onnx.TensorProto()
            copy.CopyFrom(t)
            copy.ClearField("external_data")
            copy.data_location = onnx.TensorProto.DEFAULT
            with path.open("rb") as f:
                f.seek(offset)
                copy.raw_data = f.read(need)
            return numpy_helper.to_array(copy)
        if count == 0:
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", offset, (count,)).reshape(shape).view(np.ndarray)

    def sparse(self, s: onnx.SparseTensorProto) -> np.ndarray:
        """A sparse initializer as a dense array."""
        shape = tuple(s.dims)
        values, indices = self.array(s.values), self.array(s.indices)
        if expands_too_far(values.nbytes + indices.nbytes, math.prod(shape) * values.itemsize):
            raise ImportError_(f"sparse tensor '{s.values.name}' is too large: {list(shape)}")
        out = np.zeros(shape, values.dtype)
        if indices.ndim == 1:
            out.reshape(-1)[indices] = values
        else:
            out[tuple(indices.T)] = values
        return out


def array_type(array: np.ndarray) -> TensorType:
    return tensor(array.shape, array.dtype)
