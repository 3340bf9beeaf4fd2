"""Stores scales of integer products as the unit reads them that copies sums out of a cube unit.

Ascend's Fixpipe turns sums of 32 bits into reals of 16 on their way. Its parameters are words of 64
bits, one a column: the lower half is a float32 of which 10 bits of the mantissa count. Source: the
interface's description in CANN's asc-devkit, ``Fixpipe`` and ``SetQuantVector``, which also says
that what is too large for a half becomes the largest one, not an infinity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from xdsl.context import Context
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.ir import tile
from aicc.ir.graph import Constant
from aicc.ir.interfaces import CompileContext, remark
from aicc.ir.symbols import product
from aicc.ir.tile.dequantized import Dequantized, dequantized
from aicc.ir.tile.types import bind
from aicc.passes.panels import is_known, launches_by_kernel
from aicc.passes.weights import derived_constant

IGNORED = np.uint32(2**13 - 1)
"""Bits of a scale that don't count."""

LARGEST = 65504.0
"""The largest half."""

LARGEST_PRODUCT = 128 * 128
"""The largest product of two bytes."""


class FixpipeScales(ModulePass):
    """Give scales of dequantized sums the shape ``[N, 2]``, each followed by a zero.

    That is done where the unit computes the same bits: all scales are positive and known, have at
    most 11 significant bits (`quantize-weights` and `quantize-activations` make such ones with
    ``scale-bits=5``), no sum can become larger than the largest half, and the target reads them as
    such. Biases that are subtracted become ones that are added.
    """

    name = "fixpipe-scales"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        launches = launches_by_kernel(op)
        for kernel in [k for k in op.ops if isinstance(k, tile.Kernel)]:
            users = launches[kernel.sym_name]
            for found, depth in list(products(kernel)):
                if users and all(is_exact(launch, found, depth) for launch in users):
                    self.store(ctx, kernel, found, users)

    def store(
        self, ctx: Context, kernel: tile.Kernel, found: Dequantized, users: list[tile.Launch]
    ) -> None:
        """Have a kernel read its scales as words, if the target is for that."""
        copy = kernel.clone()
        twin = next(t for t, _ in products(copy) if argument(t.scale) == argument(found.scale))
        read_pairs(twin)
        if not (isinstance(ctx, CompileContext) and ctx.target.dequantizes(copy)):
            return
        scale = argument(found.scale)
        bias = argument(found.bias) if found.bias is not None and found.minus else None
        read_pairs(found)
        for launch in users:
            launch.operands[scale] = paired(launch.arguments[scale])
            if bias is not None:
                launch.operands[bias] = negated(launch.arguments[bias])
        remark(ctx, f"{kernel.sym_name}: sums are dequantized on their way out of the cube unit")


def products(kernel: tile.Kernel) -> Iterator[tuple[Dequantized, int]]:
    """Loops of a kernel whose sums are dequantized, with how many products each adds up."""
    for op in kernel.body.walk():
        if isinstance(op, scf.ForOp) and len(op.results) == 1:
            found, end = dequantized(op.results[0]), op.ub.owner
            if found is None or found.is_paired or not isinstance(end, tile.Size):
                continue
            depth = bind(end.value[0], kernel.schedule)
            if isinstance(depth, int) and adds_up_a_dot(op):
                yield found, depth


def adds_up_a_dot(loop: scf.ForOp) -> bool:
    """Whether a dot is what a loop carries on."""
    end = loop.body.block.last_op
    dot = end.operands[0].owner if end is not None else None
    return isinstance(dot, tile.Dot) and dot.acc is loop.body.block.args[1]


def argument(load: tile.Load) -> int:
    assert isinstance(load.buffer, BlockArgument)
    return load.buffer.index


def array_of(value: SSAValue) -> np.ndarray:
    assert isinstance(value.owner, Constant)
    return value.owner.value.array


def is_exact(launch: tile.Launch, found: Dequantized, depth: int) -> bool:
    """Whether the unit computes what the kernel does, whatever is multiplied."""
    scale = launch.arguments[argument(found.scale)]
    bias = launch.arguments[argument(found.bias)] if found.bias is not None else None
    if not is_known(scale) or (bias is not None and not is_known(bias)):
        return False
    scales = array_of(scale).reshape(-1)
    if not (scales > 0).all() or (scales.view(np.uint32) & IGNORED).any():
        return False
    most = float(depth * LARGEST_PRODUCT)
    if bias is not None:
        most += float(np.abs(array_of(bias).astype(np.float64)).max(initial=0))
    return bool(most < 2**31) and bool((scales.astype(np.float64) * most <= LARGEST).all())


def read_pairs(found: Dequantized) -> None:
    """Have a kernel read scales that a zero follows, and add its biases."""
    load = found.scale
    assert isinstance(load.buffer.type, tile.BufferType)
    size = product(d for d in load.buffer.type.shape if d is not None)
    pairs = tile.BufferType.of([size, 2], load.buffer.type.dtype)
    Rewriter.replace_value_with_new_type(load.buffer, pairs)
    new = tile.Load.make(
        load.buffer, load.mask, load.subscripts, strides=[2], offset=load.offset, other=load.other
    )
    new.result.name_hint = load.result.name_hint
    Rewriter.replace_op(load, new)
    for step in found.steps:
        if isinstance(step, arith.SubiOp):
            Rewriter.replace_op(step, arith.AddiOp(step.lhs, step.rhs))


def paired(scale: SSAValue) -> SSAValue:
    scales = array_of(scale).reshape(-1)
    return beside(scale, np.stack([scales, np.zeros_like(scales)], axis=1), "words")


def negated(bias: SSAValue) -> SSAValue:
    return beside(bias, -array_of(bias), "negated")


def beside(source: SSAValue, array: np.ndarray, how: str) -> SSAValue:
    """A constant made from another, before it."""
    assert isinstance(source.owner, Constant)
    made = derived_constant(source, array, how)
    made.location = source.owner.location
    made.result.name_hint = source.name_hint
    Rewriter.insert_op(made, InsertPoint.before(source.owner))
    return made.result
