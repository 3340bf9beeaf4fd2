"""Kernels around a matrix product."""

from __future__ import annotations

from xdsl.ir import Block, SSAValue

from aicc.ir import graph
from aicc.ir.graph import Fused
from aicc.ir.symbols import Dim, sym
from aicc.ir.types import shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.coords import broadcast_at
from aicc.passes.tiling.products import KA, KB, M, N, Product, check_dtypes
from aicc.passes.tiling.spaces import known_shape


def lower_matmul(op: Fused, product: graph.MatMul) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is built around `product`, and its parameters.

    Batch dims that every operand walks through in one stride with the rows join them.
    """
    dtype, out = check_dtypes(product.lhs, product.rhs, product.result)
    shape = known_shape(shape_of(product.result))
    batch = [n.axis_name(f"b{i}") for i in range(len(shape) - 2)]
    names = [*batch, M, N]
    (depth,) = known_shape(shape_of(product.lhs)[-1:])
    extents: dict[str, Dim] = {**dict(zip(names, shape, strict=True)), KA: depth, KB: depth}
    tracer = n.Tracer(extents)
    at: list[Dim] = [sym(b) for b in batch]
    left = (*_batch(product.lhs, shape[:-2], at), sym(M), sym(KA))
    right = (*_batch(product.rhs, shape[:-2], at), sym(KB), sym(N))
    acc = n.Given(out, frozenset(names))
    return Product(
        op,
        product.result,
        tracer,
        extents,
        {**dict.fromkeys(batch, "batch"), M: "m", N: "n", KA: "ka", KB: "kb"},
        [sym(a) for a in names],
        tracer.value(product.lhs, left),
        tracer.value(product.rhs, right),
        dtype,
        acc,
        acc,
    ).lower()


def _batch(value: SSAValue, lead: tuple[Dim, ...], batch: list[Dim]) -> n.Coords:
    """Coordinates along an operand's batch dims, which broadcast to the product's."""
    own = shape_of(value)[:-2]
    return broadcast_at(own, lead, batch)
