"""Which aten operators torch decomposes before they are imported."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch._decomp import core_aten_decompositions
from torch._decomp import decomposition_table as registered
from torch._decomp import decompositions as written

from aicc.frontends.torch.importer import op_name
from aicc.frontends.torch.table import IMPORTERS

_NEVER = frozenset({"lift_fresh.default", "lift.default"})
"""Decomposing these while tracing would mix real tensors with fake ones."""


@cache
def decomposition_table() -> dict[Any, Callable[..., Any]]:
    """Decompositions of every operator that has no importer of its own."""
    table: dict[Any, Callable[..., Any]] = dict(core_aten_decompositions())
    for op, fn in registered.items():
        if isinstance(op, torch._ops.OpOverload) and fn.__module__ == written.__name__:
            table.setdefault(op, fn)
    kept = set(IMPORTERS) | _NEVER
    return {
        op: _for_floats(fn) if op_name(op).startswith("linspace.") else fn
        for op, fn in table.items()
        if op_name(op) not in kept
    }


def _for_floats(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` for float results only: truncated to integers its rounding differs from the op's."""

    def decompose(*args: Any, dtype: torch.dtype | None = None, **kwargs: Any) -> Any:
        if dtype is not None and not dtype.is_floating_point:
            return NotImplemented
        return fn(*args, dtype=dtype, **kwargs)

    return decompose
