"""Large constants in safetensors files.

Dtypes that the format lacks are kept as their bytes, those of 4 and 2 bits packed; the IR's types
say what they are.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aicc.errors import ArtifactError
from aicc.ir.constants import DenseAttr, packed
from aicc.ir.dtypes import dtype_of
from aicc.ir.memory import MOST_MOVED, empty

_NATIVE = frozenset(
    [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
    ]
)


_ELEMENTS = {
    "BOOL": "bool",
    **{
        f"{kind}{bits}": f"{name}{bits}"
        for kind, name in (("I", "int"), ("U", "uint"))
        for bits in (8, 16, 32, 64)
    },
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
"""The format's names of element types, and NumPy's."""


class SafetensorsTable(Mapping[str, np.ndarray]):
    """The tensors of a file by name, each read when it is asked for.

    The largest are read-only views of the file, whose pages are read when touched.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            self._file = safe_open(str(path), framework="np")
        except (SafetensorError, OSError) as e:
            raise ArtifactError(f"{path}: not a safetensors file, or damaged: {e}") from e
        self._names = frozenset(self._file.keys())
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self._header = json.loads(file.read(size))
            self._start = 8 + size
            self._file_map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        about = self._header[name]
        if about["dtype"] not in _ELEMENTS:
            return self._file.get_tensor(name)
        first, end = (self._start + offset for offset in about["data_offsets"])
        dtype, shape = _ELEMENTS[about["dtype"]], about["shape"]
        view = np.frombuffer(memoryview(self._file_map)[first:end], dtype).reshape(shape)
        if view.nbytes > MOST_MOVED:
            return view
        array = empty(shape, dtype)
        array[...] = view
        array.flags.writeable = False
        self.forget(first, end)
        return array

    def forget(self, first: int, end: int) -> None:
        """Have the pages between two offsets count no more for what the process holds."""
        first = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        end = end // mmap.PAGESIZE * mmap.PAGESIZE
        if end > first and hasattr(mmap, "MADV_DONTNEED"):
            self._file_map.madvise(mmap.MADV_DONTNEED, first, end - first)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_weights(path: Path) -> SafetensorsTable:
    """Open a file without reading the tensors. Raises ArtifactError if it is damaged."""
    return SafetensorsTable(path)


def save_weights(constants: Mapping[str, DenseAttr], path: Path) -> None:
    """Write named constants to a file."""
    arrays = {}
    for name, attr in constants.items():
        array = np.ascontiguousarray(attr.array)
        if dtype_of(array.dtype).bits < 8:
            array = packed(array)
        elif array.dtype.name not in _NATIVE:
            array = array.reshape(-1).view(np.uint8)
        arrays[name] = array
    save_file(arrays, str(path))
