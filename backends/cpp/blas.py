"""A BLAS library of those that Python's packages bring: another candidate for plain products."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

VARIABLE = "AICC_BLAS"
"""Names the library that compiled models call; without it they look for one of the system's."""

CALL = "cblas_sgemm"
"""The call that kernels name as theirs (its function is in runtime/blas.h)."""


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
