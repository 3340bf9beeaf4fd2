"""Large constants in safetensors files.

Dtypes that the format lacks are kept as their bytes, those of 4 and 2 bits packed; the IR's types
say what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aicc.errors import ArtifactError
from aicc.ir.constants import DenseAttr, packed
from aicc.ir.dtypes import dtype_of

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


class SafetensorsTable(Mapping[str, np.ndarray]):
    """The tensors of a file by name, each read when it is first asked for."""

    def __init__(self, path: Path):
        self._path = path
        try:
            self._file = safe_open(str(path), framework="np")
        except (SafetensorError, OSError) as e:
            raise ArtifactError(f"{path}: not a safetensors file, or damaged: {e}") from e
        self._names = frozenset(self._file.keys())

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)

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
