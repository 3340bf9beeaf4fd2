"""Kernels around a product: a prologue on each operand, the product, an epilogue.

Each program computes one tile ``[BLOCK_M, BLOCK_N]`` of sums over k. Products of one left operand
with several right ones have an accumulator each, and what the epilogue needs summed over the left
operand's rows, as a norm does, is summed in the same loop. Axes are of a kind: "grid" ones go to
the grid, those of "m", "n" and k are walked through as one each. Tiles are visited in groups of
`GROUP_M` rows, so that those that run at the same time share operands in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import Float32Type, Float64Type, IntegerType
from xdsl.ir import Attribute, Block, SSAValue

from aicc.ir import tile
from aicc.ir.dtypes import DType
from aicc.ir.graph import Fused
from aicc.ir.symbols import Dim, ceildiv, sym
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.types import element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.emitter import AxisVar, Emitter
from aicc.passes.tiling.reductions import Reduction
from aicc.passes.tiling.scalars import computed
from aicc.passes.tiling.spaces import (
    Space,
    add_buffers,
    collapsed,
    finished,
    flattened,
    index_expressions,
    known_shape,
    next_power,
    output_of,
)

DOT_TYPES = ("f16", "bf16", "f32", "f64", "i8", "f8E4M3FN", "f8E5M2")
"""Element types that `tile.dot` multiplies."""

LEAST = 16
"""The smallest block of a dot."""

M, N, KA, KB = (n.axis_name(a) for a in ("m", "n", "ka", "kb"))
"""Rows, columns, and what is summed over: along the left operand's tile, and the right one's."""


@dataclass
class Product:
    """What a kernel around a product is made of, traced back to memory.

    `results` are the products' values at `coords`, over the axes of `extents`, each of a kind:
    "m", "n", "ka", "kb", or others that go to the grid ("batch" joins "m" where it can). For each
    there is a node of the right operand in `rhs`, of the sums in `acc`, and in `after` of the
    result that is made from the sums.
    """

    op: Fused
    results: Sequence[SSAValue]
    tracer: n.Tracer
    extents: Mapping[str, Dim]
    kinds: Mapping[str, str]
    coords: Sequence[Dim]
    lhs: n.Node
    rhs: Sequence[n.Node]
    dtype: DType
    acc: Sequence[n.Given]
    after: Sequence[n.Node]
    indexed: bool = False
    """Whether the right operand's address takes divisions: more registers for each element."""

    def lower(self) -> tuple[Block, dict]:
        """The kernel's body and its parameters."""
        self.tracer.given.update(zip(self.results, self.after, strict=True))
        shape = known_shape(shape_of(self.results[0]))
        used = [a for a, k in self.kinds.items() if k not in ("ka", "kb")]
        outputs = [
            output_of(self.tracer, v, shape, self.coords, used=used)
            for v in self.op.yielded().inputs
        ]
        roots = [self.lhs, *self.rhs, *(o.node for o in outputs)]
        exprs = [*index_expressions(self.tracer, *roots), *(o.offset for o in outputs)]
        space = collapsed(self.extents, self.kinds, exprs, keep=(M, N, KA, KB))
        return _Kernel(self, space, outputs).build()


def check_dtypes(lhs: SSAValue, rhs: SSAValue, result: SSAValue) -> tuple[DType, DType]:
    """The dtype of both operands and that of the result; Unsupported if no dot has them."""
    dtype, other, out = element_type(lhs), element_type(rhs), element_type(result)
    if other != dtype or dtype.name not in DOT_TYPES:
        raise n.Unsupported(f"a product of {dtype} and {other}")
    if dtype.name == "i8" and out.name != "i32":
        raise n.Unsupported(f"a product of i8 into {out}")
    return dtype, out


class _Kernel:
    def __init__(self, product: Product, space: Space, outputs: Sequence):
        self.product, self.space, self.outputs = product, space, outputs

    def build(self) -> tuple[Block, dict]:
        product, space = self.product, self.space
        tiled = ("m", "n", "ka", "kb")
        grid = [AxisVar(a, d) for a, d in space.extents.items() if space.kinds[a] not in tiled]
        rows, row_extent = flattened(space, "m", M)
        columns, column_extent = flattened(space, "n", N)
        left, depth = flattened(space, "ka", KA)
        right, _ = flattened(space, "kb", KB)
        self.schedule = default_schedule(
            product, row_extent, column_extent, depth, product_of([a.extent for a in grid])
        )
        block_m, block_n, block_k = (sym(f"BLOCK_{d}") for d in "MNK")
        e = Emitter(2, self.schedule, product.tracer, space.rename)
        results = add_buffers(e, product.op)
        tiles_m, tiles_n = ceildiv(row_extent, block_m), ceildiv(column_extent, block_n)
        for i, a in enumerate(grid):
            e.add_axis(a, e.program(i))
        first_m, first_n = self.tile_of(e, len(grid), tiles_m, tiles_n)
        e.add_axis(AxisVar(rows, row_extent, block_m, 0), first_m)
        e.add_axis(AxisVar(columns, column_extent, block_n, 1), first_n)

        sums = self.row_sums()
        e.axes[left] = AxisVar(left, depth, block_k, 1)  # what the sums ask for
        plans = [e.reduction(node)[0] for node in sums]
        del e.axes[left]
        carried = [self.zero(e, block_m, block_n) for _ in product.rhs]
        carried += [self.neutral(plan, block_m) for plan in plans]
        block = e.begin_loop(block_k, depth, carried)
        block.args[0].name_hint = "k"
        accs = block.args[1 : 1 + len(product.rhs)]
        e.add_axis(AxisVar(left, depth, block_k, 1), block.args[0])
        e.add_axis(AxisVar(right, depth, block_k, 0), block.args[0])
        a = e.factor(product.lhs, left, product.dtype, [block_m, block_k])
        totals: list[SSAValue] = []
        for rhs, acc in zip(product.rhs, accs, strict=True):
            acc.name_hint = "acc"
            b = e.factor(rhs, right, product.dtype, [block_k, block_n])
            totals.append(e.insert(tile.Dot.make(a, b, acc)))
        for node, plan, total in zip(sums, plans, block.args[1 + len(accs) :], strict=True):
            assert node.arg is not None
            value = e.broadcast(e.covered(node, e.node(node.arg)), [block_m, block_k])
            totals.append(plan.combine(total, plan.reduce(value)))
        found = e.end_loop(totals)
        for given, total in zip(product.acc, found, strict=False):
            total.name_hint = "acc"
            e.remember(given, e.scalars.cast(total, computed(given.dtype)))
        for node, plan, total in zip(sums, plans, found[len(product.acc) :], strict=True):
            e.remember(node, e.finished(plan, total))
        for o, buffer in zip(self.outputs, results, strict=True):
            e.store(o.node, buffer, o.offset, [*o.axes, rows, columns])
        return finished(e, product.op, [*(a.extent for a in grid), tiles_m * tiles_n])

    def row_sums(self) -> list[n.Reduced]:
        """What the epilogue needs summed over rows of the left operand."""
        nodes = n.nodes_below(*(o.node for o in self.outputs))
        sums = [node for node in nodes if isinstance(node, n.Reduced)]
        for node in sums:
            below = [m for m in n.nodes_below(node) if isinstance(m, (n.Reduced, n.Given))]
            if len(below) > 1:
                raise n.Unsupported("sums over rows that need other sums first")
        return sums

    def zero(self, e: Emitter, rows: Dim, columns: Dim) -> SSAValue:
        element = accumulator(self.product.dtype)
        value = 0 if isinstance(element, IntegerType) else 0.0
        made = tile.Full.make(value=value, result_types=[tile_type([rows, columns], element)])
        return e.insert(made)

    def neutral(self, plan: Reduction, rows: Dim) -> SSAValue:
        if plan.is_arg:
            raise n.Unsupported("the place of a row's extreme beside a product")
        return plan.start([rows, 1])

    def tile_of(
        self, e: Emitter, axis: int, tiles_m: Dim, tiles_n: Dim
    ) -> tuple[SSAValue, SSAValue]:
        """The first row and column of this program's tile, tiles taken in groups of rows."""
        op = e.scalars.op
        program, group = e.program(axis), e.size(sym("GROUP_M"))
        across = e.size(tiles_n)
        in_group = op("arith.muli", group, across)
        first = op("arith.muli", op("arith.divui", program, in_group), group)
        high = op("arith.minsi", op("arith.subi", e.size(tiles_m), first), group)
        rest = op("arith.remui", program, in_group)
        row = op("arith.addi", first, op("arith.remui", rest, high))
        column = op("arith.divui", rest, high)
        names = {"program": program, "group_size": in_group, "first_row": first, "rows": high}
        for name, value in {**names, "tile_m": row, "tile_n": column}.items():
            value.name_hint = name
        return (
            op("arith.muli", row, e.size(sym("BLOCK_M"))),
            op("arith.muli", column, e.size(sym("BLOCK_N"))),
        )


def accumulator(dtype: DType) -> Attribute:
    """The element type that products of `dtype` are summed in."""
    if dtype.name == "f64":
        return Float64Type()
    return IntegerType(32) if dtype.is_integer else Float32Type()


def default_schedule(product: Product, m: Dim, n_: Dim, k: Dim, batch: Dim) -> dict[str, int]:
    """Blocks for a product of the given size: large where there is work for a whole chip."""
    block_m, block_n, block_k = (128, 128, 64) if product.dtype.bits <= 16 else (64, 64, 32)
    block_n //= len(product.rhs)
    block_m, block_n = _clipped(m, block_m), _clipped(n_, block_n)
    if isinstance(m, int) and isinstance(n_, int) and isinstance(batch, int):
        while (
            block_m * block_n > 32 * 32 and batch * -(-m // block_m) * -(-n_ // block_n) < PROGRAMS
        ):
            if block_m >= block_n:
                block_m //= 2
            else:
                block_n //= 2
    block_m, block_n = max(block_m, LEAST), max(block_n, LEAST)
    block_k = _clipped(k, 32 if product.indexed else block_k)
    large = (
        block_n * block_k >= 2048
        if product.indexed
        else block_m * block_n * len(product.rhs) >= 128 * 128
    )
    return {
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "BLOCK_K": block_k,
        "GROUP_M": 8,
        "num_warps": 8 if large else 4,
        "num_stages": 3,
    }


PROGRAMS = 64
"""How many programs a kernel should have at least, before its blocks are made smaller."""


def _clipped(size: Dim, block: int) -> int:
    return max(min(next_power(size), block), LEAST) if isinstance(size, int) else block
