"""Kernels around a matrix product: a prologue on each operand, the product, an epilogue.

Each program computes one tile ``[BLOCK_M, BLOCK_N]``. Batch dims that are walked in one stride with
the rows join them; the others go to the grid. Tiles are visited in groups of `GROUP_M` rows, so
that those that run at the same time share operands in the cache.
"""

from __future__ import annotations

from xdsl.dialects.builtin import Float32Type, Float64Type, IntegerType
from xdsl.ir import Block, SSAValue

from aicc.ir import graph, tile
from aicc.ir.dtypes import DType
from aicc.ir.graph import Fused
from aicc.ir.symbols import Dim, ceildiv, sym
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.types import element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.emitter import AxisVar, Emitter
from aicc.passes.tiling.scalars import computed
from aicc.passes.tiling.spaces import (
    add_buffers,
    collapsed,
    empty_kernel,
    index_expressions,
    is_empty,
    known_shape,
    next_power,
    output_of,
)

DOT_TYPES = ("f16", "bf16", "f32", "f64", "i8")
"""Element types that `tile.dot` multiplies."""

M, N, KA, KB = (n.axis_name(a) for a in ("m", "n", "ka", "kb"))
"""Rows, columns, and what is summed over: along the left operand's tile, and the right one's."""

LEAST = 16
"""The smallest block of a dot."""


def lower_matmul(op: Fused, product: graph.MatMul) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is built around `product`, and its parameters."""
    if is_empty(op):
        return empty_kernel(op)
    return _MatMul(op, product).build()


class _MatMul:
    def __init__(self, op: Fused, product: graph.MatMul):
        self.op, self.product = op, product
        self.dtype = element_type(product.lhs)
        if element_type(product.rhs) != self.dtype or self.dtype.name not in DOT_TYPES:
            both = f"{self.dtype} and {element_type(product.rhs)}"
            raise n.Unsupported(f"a product of {both}")
        self.acc_dtype = element_type(product.result)
        if self.dtype.name == "i8" and self.acc_dtype.name != "i32":
            raise n.Unsupported(f"a product of i8 into {self.acc_dtype}")
        self.trace()

    def trace(self) -> None:
        """Follow both operands and the results back to memory, over axes b…, m, n and k."""
        product = self.product
        shape = known_shape(shape_of(product.result))
        batch = [n.axis_name(f"b{i}") for i in range(len(shape) - 2)]
        names = [*batch, M, N]
        (self.depth,) = known_shape(shape_of(product.lhs)[-1:])
        extents: dict[str, Dim] = dict(zip(names, shape, strict=True))
        self.tracer = n.Tracer({**extents, KA: self.depth, KB: self.depth})
        acc = n.Given(self.acc_dtype, frozenset(names))
        self.tracer.given[product.result] = acc
        self.acc = acc
        at = [sym(b) for b in batch]
        self.lhs = self.tracer.value(product.lhs, self.place(product.lhs, at, sym(M), sym(KA)))
        self.rhs = self.tracer.value(product.rhs, self.place(product.rhs, at, sym(KB), sym(N)))
        self.outputs = [output_of(self.tracer, v, shape, names) for v in self.op.yielded().inputs]
        kinds = {**dict.fromkeys(batch, "m"), M: "m", N: "n"}
        roots = [self.lhs, self.rhs, *(o.node for o in self.outputs)]
        exprs = [*index_expressions(self.tracer, *roots), *(o.offset for o in self.outputs)]
        self.space = collapsed(extents, kinds, exprs, keep=(M, N))

    def place(self, value: SSAValue, batch: list, row: Dim, column: Dim) -> n.Coords:
        """Coordinates in an operand; its batch dims broadcast to the product's."""
        lead = shape_of(value)[:-2]
        used = batch[len(batch) - len(lead) :]
        goal = shape_of(self.product.result)[:-2][len(batch) - len(lead) :]
        coords: list[Dim] = []
        for d, g, b in zip(lead, goal, used, strict=True):
            if d != 1 and d != g:
                raise n.Unsupported("a batch dim that may be 1")
            coords.append(0 if d == 1 else b)
        return (*coords, row, column)

    # ------------------------------------------------------------------ building

    def build(self) -> tuple[Block, dict]:
        rows = self.space.of_kind("m")
        scalars = [AxisVar(a, self.space.extents[a]) for a in rows[:-1]]
        m_extent, n_extent = self.space.extents[rows[-1]], self.space.extents[N]
        self.schedule = default_schedule(self.dtype, m_extent, n_extent, self.depth)
        block_m, block_n, block_k = (sym(f"BLOCK_{d}") for d in "MNK")
        e = Emitter(2, self.schedule, self.tracer, self.space.rename)
        results = add_buffers(e, self.op)
        tiles_m, tiles_n = ceildiv(m_extent, block_m), ceildiv(n_extent, block_n)
        for i, a in enumerate(scalars):
            e.add_axis(a, e.program(i))
        first_m, first_n = self.tile_of(e, len(scalars), tiles_m, tiles_n)
        e.add_axis(AxisVar(rows[-1], m_extent, block_m, 0), first_m)
        e.add_axis(AxisVar(N, n_extent, block_n, 1), first_n)
        acc = self.accumulate(e, block_m, block_n, block_k)
        e.remember(self.acc, acc)
        for o, buffer in zip(self.outputs, results, strict=True):
            e.store(o.node, buffer, o.offset, [a for a in o.axes if a in self.space.extents])
        block = e.scopes[0].block
        block.add_op(tile.Return.make(result_types=[]))
        grid = [*(a.extent for a in scalars), tiles_m * tiles_n]
        inputs = len(self.op.body.block.args)
        return block, {"grid": grid, "schedule": self.schedule, "inputs": inputs}

    def tile_of(
        self, e: Emitter, axis: int, tiles_m: Dim, tiles_n: Dim
    ) -> tuple[SSAValue, SSAValue]:
        """The first row and column of this program's tile, tiles taken in groups of rows."""
        op = e.scalars.op
        program, group = e.program(axis), e.size(sym("GROUP_M"))
        in_group = e.size(sym("GROUP_M") * tiles_n)
        first = op("arith.muli", op("arith.divui", program, in_group), group)
        high = op("arith.minsi", op("arith.subi", e.size(tiles_m), first), group)
        rest = op("arith.remui", program, in_group)
        row = op("arith.addi", first, op("arith.remui", rest, high))
        column = op("arith.divui", rest, high)
        high.name_hint, row.name_hint, column.name_hint = "rows", "tile_m", "tile_n"
        return (
            op("arith.muli", row, e.size(sym("BLOCK_M"))),
            op("arith.muli", column, e.size(sym("BLOCK_N"))),
        )

    def accumulate(self, e: Emitter, block_m: Dim, block_n: Dim, block_k: Dim) -> SSAValue:
        """The product's tile, as the element type that results are computed in."""
        element = accumulator(self.dtype)
        zero = 0 if isinstance(element, IntegerType) else 0.0
        start = e.insert(
            tile.Full.make(value=zero, result_types=[tile_type([block_m, block_n], element)])
        )
        block = e.begin_loop(block_k, self.depth, [start])
        block.args[0].name_hint, block.args[1].name_hint = "k", "acc"
        e.add_axis(AxisVar(KA, self.depth, block_k, 1), block.args[0])
        e.add_axis(AxisVar(KB, self.depth, block_k, 0), block.args[0])
        a = e.factor(self.lhs, KA, self.dtype, [block_m, block_k])
        b = e.factor(self.rhs, KB, self.dtype, [block_k, block_n])
        acc = e.insert(tile.Dot.make(a, b, block.args[1]))
        (total,) = e.end_loop([acc])
        total.name_hint = "acc"
        return e.scalars.cast(total, computed(self.acc_dtype))


def accumulator(dtype: DType):
    """The element type that products of `dtype` are summed in."""
    if dtype.name == "f64":
        return Float64Type()
    return IntegerType(32) if dtype.is_integer else Float32Type()


def default_schedule(dtype: DType, m: Dim, n_: Dim, k: Dim) -> dict[str, int]:
    """Blocks for a product of the given size: large where there is work for a whole chip."""
    wide = dtype.bits <= 16
    block_m, block_n, block_k = (128, 128, 64) if wide else (64, 64, 32)
    block_m, block_n, block_k = (
        _clipped(size, block) for size, block in ((m, block_m), (n_, block_n), (k, block_k))
    )
    if isinstance(m, int) and isinstance(n_, int):
        while block_m * block_n > 32 * 32 and -(-m // block_m) * -(-n_ // block_n) < 64:
            if block_m >= block_n:
                block_m //= 2
            else:
                block_n //= 2
    warps = 8 if block_m * block_n >= 128 * 128 else 4
    return {
        "BLOCK_M": max(block_m, LEAST),
        "BLOCK_N": max(block_n, LEAST),
        "BLOCK_K": block_k,
        "GROUP_M": 8,
        "num_warps": warps,
        "num_stages": 3,
    }


def _clipped(size: Dim, block: int) -> int:
    return max(min(next_power(size), block), LEAST) if isinstance(size, int) else block
