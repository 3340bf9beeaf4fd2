"""Ops that the Triton target leaves to torch: one row an op, with the calls it makes.

These are ops for which a library's kernel is better (sorting, linear algebra), whose result's size
depends on data, or that have no kernel here yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aicc.backends.triton.text import Unprintable, torch_name
from aicc.ir import graph
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, rank_of, shape_of

if TYPE_CHECKING:
    from aicc.backends.triton.program import Program

Row = Callable[[Any, Any], None]


def torch_dtype(value: Any) -> str:
    return torch_name(element_type(value))


def _reshape(p: Program, op: graph.Reshape) -> None:
    """No kernel: the same memory."""
    x, out = p.operand(op.input), p.name(op.result)
    if op.shape is None:
        p.line(f"{out} = {x}.view({p.name(op.dyn_shape)}.tolist())")
    else:
        p.line(f"{out} = {x}.view({p.shape(shape_of(op.result))})")


def _sizes(p: Program, op: Any, name: str) -> list[str]:
    """A structural parameter as Python expressions for its elements."""
    dims, operand = getattr(op, name), getattr(op, f"dyn_{name}")
    if dims is not None:
        return [p.dim(d) for d in dims]
    (count,) = shape_of(operand)
    if not isinstance(count, int):
        raise Unprintable(f"{op.kind} whose rank isn't known")
    listed = p.fresh(name)
    p.line(f"{listed} = {p.name(operand)}.tolist()")
    return [f"{listed}[{i}]" for i in range(count)]


def _expand(p: Program, op: graph.Expand) -> None:
    x, shape = p.name(op.input), ", ".join(_sizes(p, op, "shape"))
    goal = f"torch.broadcast_shapes({x}.shape, ({shape},))"
    p.line(f"{p.name(op.result)} = {x}.broadcast_to({goal}).contiguous()")


def _iota(p: Program, op: graph.Iota) -> None:
    sizes = _sizes(p, op, "shape")
    column = ["1"] * len(sizes)
    column[op.axis] = sizes[op.axis]
    steps = f"torch.arange({sizes[op.axis]}, dtype={torch_dtype(op.result)}, device=device)"
    shape = f"({', '.join(sizes)},)"
    p.line(f"{p.name(op.result)} = {steps}.view({', '.join(column)}).expand({shape}).contiguous()")


def _slice(p: Program, op: graph.Slice) -> None:
    """By a list of indices: torch's own slices take no negative steps."""
    parts = [_sizes(p, op, name) for name in ("starts", "limits", "steps")]
    x = p.name(op.input)
    for axis, start, limit, step in zip(op.axes, *parts, strict=True):
        index = f"list(range({x}.shape[{axis}])[{start}:{limit}:{step}])"
        made = p.fresh("part")
        tensor = f"torch.tensor({index}, dtype=torch.int64, device=device)"
        p.line(f"{made} = {x}.index_select({axis}, {tensor})")
        x = made
    p.line(f"{p.name(op.result)} = {x}")


def _pad(p: Program, op: graph.Pad) -> None:
    if op.mode != "constant":
        raise Unprintable(f"pad of mode {op.mode}")
    low, high = _sizes(p, op, "low"), _sizes(p, op, "high")
    pairs = [d for pair in zip(reversed(low), reversed(high), strict=True) for d in pair]
    x, value = p.name(op.input), f"{p.name(op.value)}.item()"
    made = f"torch.nn.functional.pad({x}, ({', '.join(pairs)},), value={value})"
    p.line(f"{p.name(op.result)} = {made}")


def _gather(p: Program, op: graph.Gather) -> None:
    x, index = p.name(op.input), p.name(op.indices)
    before = ", ".join([":"] * op.axis)
    place = f"{before + ', ' if before else ''}{index}.to(torch.int64)"
    p.line(f"{p.name(op.result)} = {x}[{place}]")


def _pow(p: Program, op: graph.Pow) -> None:
    x, y = (p.name(v) for v in op.operands)
    p.line(f"{p.name(op.result)} = torch.pow({x}, {y}).to({torch_dtype(op.result)})")


_FLOAT8 = ("f8E4M3FN", "f8E4M3FNUZ", "f8E5M2", "f8E5M2FNUZ")


def _shape_expr(p: Program, op: graph.ShapeExpr) -> None:
    items = ", ".join(p.dim(d) for d in op.exprs)
    p.line(f"{p.name(op.result)} = torch.tensor([{items}], device=device)")


def _shape_of(p: Program, op: graph.ShapeOf) -> None:
    p.line(f"{p.name(op.result)} = torch.tensor({p.name(op.input)}.shape, device=device)")


def _matmul(p: Program, op: graph.MatMul) -> None:
    """Only for dtypes that no kernel multiplies: integers go by way of f64 on a GPU."""
    out = torch_dtype(op.result)
    x, y = (f"{p.name(v)}.to({out})" for v in (op.lhs, op.rhs))
    p.line(f"{p.name(op.result)} = torch.matmul({x}, {y})")


def _top_k(p: Program, op: graph.TopK) -> None:
    x, (k,) = p.name(op.input), _sizes(p, op, "k")
    names = ", ".join(p.name(r) for r in op.results)
    # A stable sort, and not torch.topk: among equals the lower index comes first.
    order = f"torch.sort({x}, dim={op.axis}, descending={op.largest}, stable=True)"
    p.line(f"{names} = (t.narrow({op.axis}, 0, {k}).contiguous() for t in {order})")


def _sort(p: Program, op: graph.Sort) -> None:
    names = ", ".join(p.name(r) for r in op.results)
    x = p.name(op.input)
    p.line(f"{names} = torch.sort({x}, dim={op.axis}, descending={op.descending}, stable=True)")


def _running(function: str) -> Row:
    def row(p: Program, op: graph.CumSum | graph.CumProd) -> None:
        x, out, axis = p.name(op.input), p.name(op.result), op.axis
        if op.reverse:
            x = f"{x}.flip({axis})"
        made = f"torch.{function}({x}, {axis}, dtype={torch_dtype(op.result)})"
        p.line(f"{out} = {made}")
        if op.exclusive:
            first = 0 if function == "cumsum" else 1
            start = f"torch.full_like({out}.narrow({axis}, 0, 1), {first})"
            kept = f"{out}.narrow({axis}, 0, {out}.shape[{axis}] - 1)"
            p.line(f"{out} = torch.cat([{start}, {kept}], {axis}) if {out}.numel() else {out}")
        if op.reverse:
            p.line(f"{out} = {out}.flip({axis})")

    return row


def _running_extreme(function: str) -> Row:
    def row(p: Program, op: graph.CumMax | graph.CumMin) -> None:
        names = ", ".join(p.name(r) for r in op.results)
        p.line(f"{names} = torch.{function}({p.name(op.input)}, {op.axis})")

    return row


_SCATTER = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scatter_elements(p: Program, op: graph.ScatterElements) -> None:
    x, index, new = (p.name(v) for v in (op.input, op.indices, op.updates))
    size = f"{x}.shape[{op.axis}]"
    index = f"torch.where({index} < 0, {index} + {size}, {index}).to(torch.int64)"
    if op.reduction == "none":
        p.line(f"{p.name(op.result)} = {x}.scatter({op.axis}, {index}, {new})")
        return
    how = f'"{_SCATTER[op.reduction]}"'
    p.line(f"{p.name(op.result)} = {x}.scatter_reduce({op.axis}, {index}, {new}, {how})")


def _scatter_nd(p: Program, op: graph.ScatterND) -> None:
    if op.reduction not in ("none", "add"):
        raise Unprintable(f"scatter_nd with {op.reduction}")
    x, index, new = (p.name(v) for v in (op.input, op.indices, op.updates))
    places = f"tuple({index}.to(torch.int64).unbind(-1))"
    added = ", accumulate=True" if op.reduction == "add" else ""
    p.line(f"{p.name(op.result)} = {x}.index_put({places}, {new}{added})")


def _non_zero(p: Program, op: graph.NonZero) -> None:
    p.line(f"{p.name(op.result)} = torch.nonzero({p.name(op.input)}).T.contiguous()")


def _det(p: Program, op: graph.Det) -> None:
    p.line(f"{p.name(op.result)} = torch.linalg.det({p.name(op.input)})")


def _max_pool(p: Program, op: graph.MaxPool) -> None:
    """Only where the places of maxima are asked for."""
    n = len(op.kernel_shape)
    low, high = op.pads[:n], op.pads[n:]
    fits = all(a == b and 2 * a <= k for a, b, k in zip(low, high, op.kernel_shape, strict=True))
    if not fits or n > 3 or not element_type(op.input).is_float:
        raise Unprintable("the places of maxima under padding of unequal sides")
    options = (
        f"{list(op.kernel_shape)}, stride={list(op.strides)}, padding={list(low)}, "
        f"dilation={list(op.dilations)}, ceil_mode={op.ceil_mode}, return_indices=True"
    )
    names = ", ".join(p.name(r) for r in op.results)
    p.line(f"{names} = torch.nn.functional.max_pool{n}d({p.name(op.input)}, {options})")


def _select(p: Program, op: graph.Select) -> None:
    parts = ", ".join(p.name(v) for v in op.operands)
    p.line(f"{p.name(op.result)} = torch.where({parts})")


def _cast(p: Program, op: graph.Cast) -> None:
    """Casts to and from 8-bit floats; what is too large for one is clamped if it saturates."""
    x, out = f"{p.name(op.input)}", torch_dtype(op.result)
    torch_dtype(op.input)
    if op.to.is_float and op.to.bits == 8:
        if op.to.name not in _FLOAT8:
            raise Unprintable(f"a cast to {op.to}")
        x = f"{x}.to(torch.float32)"
        limit = op.to.largest
        x = f"{x}.clamp(-{limit}, {limit})" if op.saturate else x
    elif element_type(op.input).is_float and not op.to.is_float:
        x = f"{x}.to(torch.float32)"
    p.line(f"{p.name(op.result)} = {x}.to({out})")


def _bitcast(p: Program, op: graph.Bitcast) -> None:
    if rank_of(op.input) != rank_of(op.result):
        view = "view_as_real" if element_type(op.input).kind == "complex" else "view_as_complex"
        p.line(f"{p.name(op.result)} = torch.{view}({p.operand(op.input)})")
        return
    p.line(f"{p.name(op.result)} = {p.name(op.input)}.view({torch_dtype(op.result)})")


LIBRARY: dict[type[GraphOp], Row] = {
    graph.Reshape: _reshape,
    graph.ShapeExpr: _shape_expr,
    graph.ShapeOf: _shape_of,
    graph.Expand: _expand,
    graph.Iota: _iota,
    graph.Slice: _slice,
    graph.Pad: _pad,
    graph.Gather: _gather,
    graph.Pow: _pow,
    graph.MatMul: _matmul,
    graph.TopK: _top_k,
    graph.Sort: _sort,
    graph.CumSum: _running("cumsum"),
    graph.CumProd: _running("cumprod"),
    graph.CumMax: _running_extreme("cummax"),
    graph.CumMin: _running_extreme("cummin"),
    graph.ScatterElements: _scatter_elements,
    graph.ScatterND: _scatter_nd,
    graph.NonZero: _non_zero,
    graph.Det: _det,
    graph.MaxPool: _max_pool,
    graph.Select: _select,
    graph.Cast: _cast,
    graph.Bitcast: _bitcast,
}
