"""A BLAS library of those that Python's packages bring: another candidate for plain products."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

VARIABLE = "AICC_BLAS"
"""Names the library that compiled models call; without it they look for one of the system's."""

CALL = "cblas_sgemm"
"""The call that kernels name as theirs (its function is in runtime/blas.h)."""

WHOLE_64 = ("scipy_cblas_sgemm64_", "cblas_sgemm64_")
"""Its names in libraries whose whole numbers have 64 bits."""

ROW_MAJOR, NO_TRANS = 101, 111


@cache
def library_path() -> str | None:
    """The library of `AICC_BLAS`, else the one that NumPy has loaded; None where there is none."""
    if given := os.environ.get(VARIABLE):
        return given
    try:
        loaded = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    found = re.findall(r"(/\S*(?:openblas|mkl_rt|blis)\S*\.so\S*)", loaded)
    return found[0] if found else None


def offer() -> None:
    """Have models that are loaded in this process find the library."""
    if (path := library_path()) is not None:
        os.environ.setdefault(VARIABLE, path)


def sgemm() -> Callable[[np.ndarray, np.ndarray, np.ndarray], None] | None:
    """``out = a @ b`` of row-major float32 matrices by the library; None where there is none."""
    if (path := library_path()) is None:
        return None
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return None
    whole, function = ctypes.c_int, getattr(library, CALL, None)
    for name in WHOLE_64:
        if function is None and (function := getattr(library, name, None)) is not None:
            whole = ctypes.c_int64
    if function is None:
        return None
    function.restype = None
    pointer, real = ctypes.c_void_p, ctypes.c_float
    function.argtypes = [ctypes.c_int] * 3 + [whole] * 3 + [real]
    function.argtypes += [pointer, whole, pointer, whole, real, pointer, whole]

    def multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        (m, k), n = a.shape, b.shape[1]
        matrices = [*(x.ctypes.data for x in (a, b, out))]
        ways = (ROW_MAJOR, NO_TRANS, NO_TRANS)
        function(*ways, m, n, k, 1.0, matrices[0], k, matrices[1], n, 0.0, matrices[2], n)

    return multiply
