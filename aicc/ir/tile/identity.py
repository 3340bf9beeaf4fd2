"""What makes two kernels the same: everything but names, places in the model, and schedules."""

from __future__ import annotations

import hashlib

from aicc.ir.asm import print_module
from aicc.ir.tile.ops import Kernel


def nameless_text(kernel: Kernel) -> str:
    """The kernel's text, the same for kernels that differ in names of values only."""
    return _without_names(kernel.clone())


def _without_names(kernel: Kernel) -> str:
    for op in kernel.walk():
        values = [*op.results, *(a for r in op.regions for b in r.blocks for a in b.args)]
        for value in values:
            value.name_hint = None
    return print_module(kernel, locations=False)


def kernel_key(kernel: Kernel) -> str:
    """A hash of what the kernel does, whatever its schedule: what tuning records go by."""
    copy = kernel.clone()
    copy.set_param("sym_name", "")
    copy.set_param("origin", "")
    copy.set_param("library", "")
    copy.set_param("schedule", dict.fromkeys(kernel.schedule, 0))
    return hashlib.sha256(_without_names(copy).encode()).hexdigest()[:16]
