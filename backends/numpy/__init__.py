"""The NumPy backend: the reference interpreter of graph IR."""

from __future__ import annotations

from aicc.backends.numpy.backend import NumpyBackend
from aicc.backends.numpy.executor import Executable, compile_module

__all__ = ["Executable", "NumpyBackend", "compile_module"]
