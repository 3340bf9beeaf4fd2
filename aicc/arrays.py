"""Reading .npy and .npz files, and archives in general, that may come from anyone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from aicc.errors import InputError
from aicc.ir.constants import expands_too_far


def check_archive(path: str | Path) -> None:
    """Raise InputError for an archive (zip) that expands to far more than its own size."""
    size = Path(path).stat().st_size
    with zipfile.ZipFile(path) as archive:
        expanded = sum(i.file_size for i in archive.infolist())
    if expands_too_far(size, expanded):
        raise InputError(
            f"{path}: an archive of {size:,} bytes that expands to {expanded:,}: "
            "store it without compression if that is meant"
        )


def load_array(path: str | Path) -> np.ndarray:
    """The array of an .npy file; nothing pickled is read. Raises InputError for anything else."""
    found = _load(path, "an .npy file")
    if isinstance(found, Mapping):
        raise InputError(f"{path}: an archive of arrays, where one array is wanted")
    return found


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name; nothing pickled is read. Raises InputError."""
    found = _load(path, "an .npz file")
    if isinstance(found, np.ndarray):
        raise InputError(f"{path}: one array without a name: write an .npz file")
    return found


def _load(path: str | Path, wanted: str) -> np.ndarray | dict[str, np.ndarray]:
    try:
        with open(path, "rb") as f:
            if f.read(2) == b"PK":
                return _members(path)
            f.seek(0)
            _check_header(f, Path(path).stat().st_size)
        return np.load(path, allow_pickle=False)
    except InputError:
        raise
    except OSError as e:
        raise InputError(f"{path}: {e.strerror or e}") from None
    except Exception as e:  # numpy and zipfile raise exceptions of many kinds
        raise InputError(f"{path}: not {wanted}, or damaged: {e}") from None


def _members(path: str | Path) -> dict[str, np.ndarray]:
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                _check_header(member, info.file_size)
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def _check_header(f: IO[bytes], size: int) -> None:
    """Raise ValueError for a header that promises more than there is: numpy would allocate it."""
    major, _ = np.lib.format.read_magic(f)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    if major not in read:
        raise ValueError(f"version {major} of the format")
    shape, _, dtype = read[major](f)
    if dtype.hasobject:
        raise ValueError("Python objects, which only running code could read")
    bytes_ = dtype.itemsize
    for dim in shape:
        bytes_ *= dim
    if bytes_ < 0 or bytes_ > size:
        raise ValueError(f"{list(shape)} of {dtype} in {size:,} bytes")
