"""Kernels around a matrix product."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Block, SSAValue

from aicc.ir import graph
from aicc.ir.graph import Fused
from aicc.ir.symbols import Dim, sym
from aicc.ir.types import rank_of, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.coords import broadcast_at
from aicc.passes.tiling.products import KA, KB, M, N, Product, check_dtypes
from aicc.passes.tiling.spaces import known_shape


def lower_matmul(op: Fused, products: Sequence[graph.MatMul]) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is built around `products`, and its parameters.

    Several products have one left operand. Batch dims that every operand walks through in one
    stride with the rows join them.
    """
    first = products[0]
    dtype, out = check_dtypes(first.lhs, first.rhs, first.result)
    shape = known_shape(shape_of(first.result))
    batch = [n.axis_name(f"b{i}") for i in range(len(shape) - 2)]
    names = [*batch, M, N]
    (depth,) = known_shape(shape_of(first.lhs)[-1:])
    extents: dict[str, Dim] = {**dict(zip(names, shape, strict=True)), KA: depth, KB: depth}
    tracer = n.Tracer(extents, reduce_axes={rank_of(first.lhs) - 1: KA})
    at: list[Dim] = [sym(b) for b in batch]
    left = (*_batch(first.lhs, shape[:-2], at), sym(M), sym(KA))
    rights = [(*_batch(p.rhs, shape[:-2], at), sym(KB), sym(N)) for p in products]
    acc = [n.Given(out, frozenset(names)) for _ in products]
    return Product(
        op,
        [p.result for p in products],
        tracer,
        extents,
        {**dict.fromkeys(batch, "batch"), M: "m", N: "n", KA: "ka", KB: "kb"},
        [sym(a) for a in names],
        tracer.value(first.lhs, left),
        [tracer.value(p.rhs, right) for p, right in zip(products, rights, strict=True)],
        dtype,
        acc,
        acc,
    ).lower()


def _batch(value: SSAValue, lead: tuple[Dim, ...], batch: list[Dim]) -> n.Coords:
    """Coordinates along an operand's batch dims, which broadcast to the product's."""
    own = shape_of(value)[:-2]
    return broadcast_at(own, lead, batch)
