"""Kernels that are a product of two matrices and no more: a library may have a faster one."""

from __future__ import annotations

from xdsl.dialects import scf
from xdsl.ir import SSAValue

from aicc.ir import tile


def is_plain_product(kernel: tile.Kernel) -> bool:
    """Whether a kernel is ``[M, K] @ [K, N]`` of dense operands of one float dtype, and no more."""
    types = [a.type for a in kernel.body.block.args]
    if len(types) != 3 or not all(isinstance(t, tile.BufferType) for t in types):
        return False
    (a, b, out), dtypes = (t.shape for t in types), {t.dtype for t in types}  # type: ignore
    if len(dtypes) != 1 or not dtypes.pop().is_float or not len(a) == len(b) == len(out) == 2:
        return False
    if (a[0], b[1]) != tuple(out) or a[1] != b[0]:
        return False
    ops = list(kernel.body.walk())
    if not all(goes_by_rows(op) for op in ops if isinstance(op, tile.Access)):
        return False
    dots = [op for op in ops if isinstance(op, tile.Dot)]
    stored = [uncast(op.value).owner for op in ops if isinstance(op, tile.Store)]
    if len(dots) != 1 or len(stored) != 1 or not isinstance(stored[0], (tile.Dot, scf.ForOp)):
        return False
    (dot,) = dots
    loads = [uncast(v).owner for v in (dot.a, dot.b)]
    read = [load.buffer for load in loads if isinstance(load, tile.Load)]
    if read != list(kernel.body.block.args[:2]):
        return False
    return not isinstance(stored[0], scf.ForOp) or sums_only(stored[0], dot)


def uncast(value: SSAValue) -> SSAValue:
    """A value before it was rounded to another type."""
    while isinstance(value.owner, tile.Cast):
        value = value.owner.input
    return value


def sums_only(loop: scf.ForOp, dot: tile.Dot) -> bool:
    """Whether a loop adds up products, from zero on, and carries nothing else."""
    end, start = loop.body.block.last_op, loop.iter_args
    if end is None or len(start) != 1 or list(end.operands) != [dot.result]:
        return False
    zero = start[0].owner
    return dot.acc is loop.body.block.args[1] and isinstance(zero, tile.Full) and zero.value == 0


def goes_by_rows(op: tile.Access) -> bool:
    """Whether a tile is of a matrix's own rows and columns, walked through whole."""
    assert isinstance(op.buffer.type, tile.BufferType)
    axes = [s.owner for s in op.subscripts]
    if not all(isinstance(a, tile.Axis) for a in axes) or list(op.offset) != [0]:
        return False
    if not op.only_ends():
        return False
    rows, columns = op.buffer.type.shape
    found = {a.dim: (a.bound[0], by) for a, by in zip(axes, op.strides, strict=True)}  # type: ignore
    return found == {0: (rows, columns), 1: (columns, 1)}
