"""Ops without a kernel of tiles that C++ runs by a function of its runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xdsl.ir import Operation, SSAValue

from aicc.backends.c_host import HostProgram
from aicc.backends.c_text import Unprintable
from aicc.ir import graph
from aicc.ir.symbols import Dim, product
from aicc.ir.types import element_type, rank_of, shape_of

NUMBERS = {"f32": "float", "f64": "double", "i32": "int32_t", "i64": "int64_t"}
"""Element types that slices are joined in, without rounding between."""

ORDERED = {
    **{**NUMBERS, "f16": "f16", "bf16": "bf16", "i8": "int8_t", "i16": "int16_t"},
    **{"ui8": "uint8_t", "ui16": "uint16_t", "ui32": "uint32_t", "ui64": "uint64_t"},
}
"""Element types that are put in order."""

JOINS = ("none", "add", "mul", "max", "min")


def dims_of(value: SSAValue) -> list[Dim]:
    """The sizes of a value. Raises Unprintable where one isn't known."""
    dims = [d for d in shape_of(value) if d is not None]
    if len(dims) < len(shape_of(value)):
        raise Unprintable("a size that isn't known before it runs")
    return dims


def number(value: SSAValue, op: Operation, types: Mapping[str, str] = NUMBERS) -> str:
    """The C++ type of a value's elements. Raises Unprintable for one not in `types`."""
    dtype = element_type(value).name
    if dtype not in types:
        raise Unprintable(f"{op.name} of {dtype}")
    return types[dtype]


def sizes(host: HostProgram, dims: Sequence[Dim]) -> str:
    """An array of sizes, by name."""
    name = host.fresh("shape")
    host.line(f"const int64_t {name}[] = {{{', '.join([*map(host.dim, dims), '0'])}}};")
    return name


Scatter = graph.ScatterND | graph.ScatterElements


def scatter(host: HostProgram, op: Scatter, function: str, *more: str | int) -> None:
    """A call that may find an index out of range."""
    kind, at = number(op.input, op), number(op.indices, op)
    if at not in ("int32_t", "int64_t") or op.reduction not in JOINS:
        raise Unprintable(f"{op.name} by {op.reduction} at {at}")
    place = host.reserve(op.result)
    arguments = (
        f"({kind}*)({place})",
        f"(const {kind}*)({host.places[op.input]})",
        f"(const {at}*)({host.places[op.indices]})",
        f"(const {kind}*)({host.places[op.updates]})",
        *map(str, more),
    )
    host.line(f"if (!{function}<join::{op.reduction}>({', '.join(arguments)})) return 1;")
    host.places[op.result] = place


def scatter_nd(host: HostProgram, op: graph.ScatterND) -> None:
    dims, tuples = dims_of(op.input), dims_of(op.indices)
    depth = tuples[-1]
    if not isinstance(depth, int):
        raise Unprintable("index tuples whose length isn't known")
    count, size = host.dim(product(tuples[:-1])), host.dim(product(dims[depth:]))
    scatter(host, op, "scatter_slices", sizes(host, dims[:depth]), depth, count, size)


def scatter_elements(host: HostProgram, op: graph.ScatterElements) -> None:
    shape, counts = (sizes(host, dims_of(v)) for v in (op.input, op.indices))
    rank = rank_of(op.input)
    scatter(host, op, "scatter_elements", shape, counts, rank, op.axis % rank)


def in_order(host: HostProgram, op: graph.TopK | graph.Sort) -> None:
    """The first of each line: all of them for a sort."""
    dims, kept = dims_of(op.input), dims_of(op.results[0])
    kind, axis = number(op.input, op, ORDERED), op.axis % len(dims)
    descending = op.descending if isinstance(op, graph.Sort) else op.largest
    values, indices = map(host.reserve, op.results)
    counts = (product(dims[:axis]), dims[axis], product(dims[axis + 1 :]), kept[axis])
    host.line(
        f"put_in_order<{str(descending).lower()}>(({kind}*)({values}), (int64_t*)({indices}), "
        f"(const {kind}*)({host.places[op.input]}), {', '.join(map(host.dim, counts))});"
    )
    host.places.update(zip(op.results, (values, indices), strict=True))


def pool_gradient(host: HostProgram, op: graph.MaxPoolGrad) -> None:
    dims, counts = dims_of(op.result), dims_of(op.output_grad)
    kind, place = number(op.output_grad, op), host.reserve(op.result)
    arguments = (
        f"({kind}*)({place})",
        f"(const {kind}*)({host.places[op.output_grad]})",
        f"(const int64_t*)({host.places[op.indices]})",
        *map(host.dim, (product(dims[:2]), product(dims[2:]), product(counts[2:]))),
    )
    host.line(f"if (!add_in_planes({', '.join(arguments)})) return 1;")
    host.places[op.result] = place


HEADERS: Mapping[str, str] = {
    "put_in_order<": '"order.h"',
    "scatter_slices<": '"scatter.h"',
    "scatter_elements<": '"scatter.h"',
    "add_in_planes(": '"scatter.h"',
    "std::max<": "<algorithm>",
    "std::min<": "<algorithm>",
}
"""Headers by what is called of them."""

LIBRARY: Mapping[type[Operation], Callable[[HostProgram, Operation], None]] = {
    graph.ScatterND: scatter_nd,  # type: ignore[dict-item]
    graph.ScatterElements: scatter_elements,  # type: ignore[dict-item]
    graph.MaxPoolGrad: pool_gradient,  # type: ignore[dict-item]
    graph.TopK: in_order,  # type: ignore[dict-item]
    graph.Sort: in_order,  # type: ignore[dict-item]
}
"""How each is called."""
