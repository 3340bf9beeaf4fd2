"""Kernels of running sums and products: each program walks along its lines, one element a step."""

from __future__ import annotations

from xdsl.ir import Block

from aicc.ir import graph, tile
from aicc.ir.graph import Fused
from aicc.ir.symbols import Dim, ceildiv, sym
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import tile as tile_type
from aicc.ir.types import element_type, shape_of
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.coords import linear, reshaped
from aicc.passes.tiling.emitter import AxisVar, Emitter
from aicc.passes.tiling.scalars import computed
from aicc.passes.tiling.spaces import add_buffers, finished, known_shape, next_power

BEFORE, STEP, AFTER = (n.axis_name(a) for a in ("outer", "step", "inner"))
"""What lies before the axis that is walked along, that axis, and what lies after."""

LINES = 64
"""Lines of one program."""


def lower_scan(op: Fused, scan: graph.CumSum | graph.CumProd) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is `scan` alone, and its parameters.

    Lines side by side in memory are walked along together, else neighbouring ones: a tile has
    `BLOCK_M` of them.
    """
    dtype = element_type(scan.input)
    if dtype.kind == "uint" or dtype.bits < 8:
        raise n.Unsupported(f"{scan.kind} of {dtype}")
    shape, axis = known_shape(shape_of(scan.input)), scan.axis % len(shape_of(scan.input))
    outer, length, inner = product_of(shape[:axis]), shape[axis], product_of(shape[axis + 1 :])
    extents: dict[str, Dim] = {BEFORE: outer, STEP: length, AFTER: inner}
    tracer = n.Tracer(extents)
    at = reshaped(tuple(map(sym, extents)), tuple(extents.values()), shape, extents)
    source = tracer.value(scan.input, at)
    wide, other = (BEFORE, AFTER) if inner == 1 else (AFTER, BEFORE)
    size = extents[wide]
    lines = min(next_power(size), LINES) if isinstance(size, int) else LINES
    block: Dim = sym("BLOCK_M") if lines > 1 else 1
    schedule = {**({"BLOCK_M": lines} if lines > 1 else {}), "num_warps": 1}
    e = Emitter(1, schedule, tracer, {})
    (result,) = add_buffers(e, op)
    first = e.binary("arith.muli", e.program(0), e.size(block))
    e.add_axis(AxisVar(wide, size, block, 0), first)
    e.add_axis(AxisVar(other, extents[other]), e.program(1))
    is_sum = isinstance(scan, graph.CumSum)
    start = float(not is_sum) if dtype.is_float else int(not is_sum)
    goal = tile_type([block], computed(dtype))
    carried = e.insert(tile.Full.make(value=start, result_types=[goal]))
    index, total = e.begin_loop(1, length, [carried]).args
    index.name_hint, total.name_hint = "start", "total"
    if scan.reverse:
        index = e.binary("arith.subi", e.size(length - 1), index)
    e.add_axis(AxisVar(STEP, length), index)
    name = ("add" if is_sum else "mul") + ("f" if dtype.is_float else "i")
    new = e.binary(f"arith.{name}", total, e.broadcast(e.node(source), [block]))
    node = n.Given(dtype, frozenset(extents))
    e.remember(node, total if scan.exclusive else new)
    e.store(node, result, linear(at, shape), list(extents))
    e.end_loop([new])
    return finished(e, op, [ceildiv(size, block), extents[other]])
