"""The table of torch importers: aten operator (``add.Tensor``) → the function that lowers a call.

An importer takes a `CallContext` and the call's own arguments: tensors as SSA values, SymInts as
dims, numbers, lists, dtypes as torch has them. It returns one value or a sequence of them, or
NotImplemented for a call that it can't lower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Importer = Callable[..., Any]

IMPORTERS: dict[str, Importer] = {}


def aten(*names: str) -> Callable[[Importer], Importer]:
    """Enter the decorated importer for operators ``name.overload`` (default overload: name)."""

    def enter(importer: Importer) -> Importer:
        for name in names:
            IMPORTERS[name if "." in name else f"{name}.default"] = importer
        return importer

    return enter
