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

_TRAINING_ONLY = frozenset({"_scaled_dot_product_flash_attention_for_cpu.default"})
"""Kept whole for inference; in training their decomposition has a gradient that is imported."""


@cache
def decomposition_table(training: bool = False) -> dict[Any, Callable[..., Any]]:
    """Decompositions of every operator that has no importer of its own."""
    table: dict[Any, Callable[..., Any]] = dict(core_aten_decompositions())
    for op, fn in registered.items():
        if isinstance(op, torch._ops.OpOverload) and fn.__module__ == written.__name__:
            table.setdefault(op, fn)
    kept = set(IMPORTERS) - (_TRAINING_ONLY if training else frozenset())
    return {op: fn for op, fn in table.items() if op_name(op) not in kept}
