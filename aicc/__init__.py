"""aicc: a compiler from model graphs to kernels that people can read, run and ship."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aicc.api import CompiledModel, compile, load

__version__ = "0.1.0"

_LAZY = ("CompiledModel", "compile", "load")
_ROOT = Path(__file__).resolve().parent.parent


class _CheckoutFinder(importlib.abc.MetaPathFinder):
    """Finds aicc.frontends, aicc.passes and aicc.backends beside a bare checkout's aicc/."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None):
        parent, _, name = fullname.rpartition(".")
        if parent != "aicc" or name not in ("frontends", "passes", "backends"):
            return None
        init = _ROOT / name / "__init__.py"
        if not init.exists():
            return None
        return importlib.util.spec_from_file_location(
            fullname, init, submodule_search_locations=[str(init.parent)]
        )


if (_ROOT / "passes" / "__init__.py").exists() and (_ROOT / "pyproject.toml").exists():
    sys.meta_path.append(_CheckoutFinder())


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from aicc import api

        return getattr(api, name)
    raise AttributeError(f"module 'aicc' has no attribute {name!r}")


__all__ = ["CompiledModel", "__version__", "compile", "load"]
