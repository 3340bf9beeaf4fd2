"""aicc: a compiler from model graphs to kernels.

Importing it costs next to nothing: the names below load on first use.
"""

from __future__ import annotations

import os
import sys
from importlib.util import spec_from_file_location
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from aicc.api import CompiledModel, compile, load
    from aicc.quantization import Quantized, quantize

__version__ = "0.1.0"
__all__ = ["CompiledModel", "Quantized", "__version__", "compile", "load", "quantize"]


def __getattr__(name: str) -> Any:
    if name in ("Quantized", "quantize"):
        from aicc import quantization

        return getattr(quantization, name)
    if name in __all__:
        from aicc import api

        return getattr(api, name)
    raise AttributeError(f"module 'aicc' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CheckoutFinder:
    """Finds `aicc.<folder>` beside `aicc/`, where it lies in a checkout."""

    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    names = frozenset({"aicc.backends", "aicc.frontends", "aicc.passes"})

    @classmethod
    def find_spec(cls, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname not in cls.names:
            return None
        folder = os.path.join(cls.root, fullname.removeprefix("aicc."))
        return spec_from_file_location(
            fullname, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )


if os.path.exists(os.path.join(_CheckoutFinder.root, "pyproject.toml")):
    # First in line, so that a checkout never runs with the folders of another, installed one.
    sys.meta_path.insert(0, _CheckoutFinder)
