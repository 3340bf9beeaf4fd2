"""Ops without a kernel of tiles that C++ runs by a function of its runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xdsl.ir import Operation

from aicc.backends.c_host import HostProgram
from aicc.backends.c_text import Unprintable
from aicc.ir import graph
from aicc.ir.symbols import Dim, product
from aicc.ir.types import element_type, shape_of

NUMBERS = {"f32": "float", "f64": "double", "i32": "int32_t", "i64": "int64_t"}
"""Element types that slices are joined in, without rounding between."""

JOINS = ("none", "add", "mul")


def scatter_nd(host: HostProgram, op: graph.ScatterND) -> None:
    """A call that may find an index out of range."""
    dtype, index = element_type(op.input).name, element_type(op.indices).name
    if dtype not in NUMBERS or index not in ("i32", "i64") or op.reduction not in JOINS:
        raise Unprintable(f"{op.name} of {dtype} by {op.reduction}")
    shape, tuples = shape_of(op.input), shape_of(op.indices)
    depth = tuples[-1]
    if not isinstance(depth, int) or None in (*shape, *tuples):
        raise Unprintable("a size that isn't known before it runs")
    dims: list[Dim] = [d for d in shape if d is not None]
    count = product([d for d in tuples[:-1] if d is not None])
    size = product(dims[depth:])
    name = host.fresh("shape")
    host.line(f"const int64_t {name}[] = {{{', '.join([*map(host.dim, dims[:depth]), '0'])}}};")
    place = host.reserve(op.result)
    kind, at = NUMBERS[dtype], NUMBERS[index]
    pointers = (
        f"({kind}*)({place})",
        f"(const {kind}*)({host.places[op.input]})",
        f"(const {at}*)({host.places[op.indices]})",
        f"(const {kind}*)({host.places[op.updates]})",
    )
    call = f"scatter_slices<join::{op.reduction}>({', '.join(pointers)}, {name}, {depth}, "
    host.line(f"if (!{call}{host.dim(count)}, {host.dim(size)})) return 1;")
    host.places[op.result] = place


LIBRARY: Mapping[type[Operation], Callable[[HostProgram, Operation], None]] = {
    graph.ScatterND: scatter_nd,  # type: ignore[dict-item]
}
"""How each is called."""
