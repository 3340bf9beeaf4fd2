"""What makes two kernels the same: everything but names, places in the model, and schedules."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import Attribute, Operation, SSAValue

from aicc.ir.asm import print_module
from aicc.ir.tile.ops import Kernel


def structure(op: Operation) -> Hashable:
    """What an op is made of: equal for those that differ in values' names and places only."""
    numbers: dict[SSAValue, int] = {}
    for v in op.operands:
        numbers.setdefault(v, len(numbers))
    return _structure(op, numbers)


def _structure(op: Operation, numbers: dict[SSAValue, int]) -> Hashable:
    operands = tuple(numbers[v] for v in op.operands)
    numbers.update({r: len(numbers) + i for i, r in enumerate(op.results)})
    regions = []
    for block in (b for r in op.regions for b in r.blocks):
        numbers.update({a: len(numbers) + i for i, a in enumerate(block.args)})
        types = tuple(a.type for a in block.args)
        regions.append((types, tuple(_structure(inner, numbers) for inner in block.ops)))
    return (
        op.name,
        operands,
        frozenset((name, _exact(value)) for name, value in op.properties.items()),
        frozenset(op.attributes.items()),
        tuple(r.type for r in op.results),
        tuple(regions),
    )


def _exact(value: Attribute) -> Hashable:
    """A parameter with the sign of a zero, which equality leaves out."""
    return (value, str(value)) if isinstance(value, FloatAttr) else value


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
