"""What an op is to a kernel: elements, an index, a reduction, a product, or something else."""

from __future__ import annotations

from enum import Enum

from aicc.ir.graph import (
    attention,
    binary,
    contract,
    creation,
    indexing,
    norm,
    reduce,
    shape,
    unary,
    winograd,
)
from aicc.ir.op import GraphOp
from aicc.ir.types import Shape, rank_of, shape_of


class Role(Enum):
    """How an op takes part in a fused kernel."""

    POINTWISE = "each element of the result from the same element of the operands, broadcast"
    INDEX = "each element of the result is an element of the first operand, at another index"
    REDUCTION = "elements of the first operand combined along axes"
    CONTRACTION = "a product or convolution"
    OPAQUE = "has a lowering of its own"


GATHERS = (indexing.Gather, indexing.GatherElements, indexing.GatherND)
"""Ops that read their first operand at places that are read from memory."""

_INDEX = (
    shape.Reshape,
    shape.Transpose,
    shape.Slice,
    shape.Expand,
    shape.Pad,
    shape.Concat,
    *GATHERS,
)
_REDUCTION = (
    reduce.ReduceSum,
    reduce.ReduceMean,
    reduce.ReduceMax,
    reduce.ReduceMin,
    reduce.ReduceProd,
    reduce.ArgMax,
    reduce.ArgMin,
    norm.Softmax,
    norm.LogSoftmax,
    norm.LayerNorm,
    norm.RMSNorm,
)
_CONTRACTION = (
    contract.MatMul,
    contract.Conv,
    contract.ConvTranspose,
    attention.Scores,
    winograd.WinogradConv,
)
_NOT_POINTWISE = (unary.Bitcast,)


def role_of(op: object) -> Role:
    """The role of an op; OPAQUE for what no kernel can take in."""
    if isinstance(op, GraphOp) and op.ROLE is not None:
        return Role[op.ROLE]
    if isinstance(op, _INDEX):
        return Role.INDEX
    if isinstance(op, _REDUCTION):
        return Role.REDUCTION
    if isinstance(op, _CONTRACTION):
        return Role.CONTRACTION
    if isinstance(op, creation.Iota):
        return Role.POINTWISE
    pointwise = type(op).__module__ in (unary.__name__, binary.__name__)
    return Role.POINTWISE if pointwise and not isinstance(op, _NOT_POINTWISE) else Role.OPAQUE


def space_of(op: GraphOp) -> Shape:
    """What a kernel for the op iterates over: the result's elements, or what is reduced."""
    if role_of(op) is Role.REDUCTION:
        return shape_of(op.operands[0])
    return shape_of(op.results[0])


def reduced_axes(op: GraphOp) -> frozenset[int]:
    """The axes of the iteration space that the op combines along."""
    if isinstance(op, reduce.ReduceOp):
        return frozenset(op.axes)
    if isinstance(op, (norm.LayerNorm, norm.RMSNorm)):
        return frozenset(range(op.axis, rank_of(op.input)))
    if role_of(op) is Role.REDUCTION:
        return frozenset({op.axis})  # type: ignore[attr-defined]
    return frozenset()
