"""Ops that rearrange elements: reshape, expand, transpose, concat, slice, pad."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.irdl import opt_operand_def, var_operand_def

from aicc.ir.graph.common import (
    PURE,
    SEGMENTS,
    TENSOR,
    GraphOp,
    operand_def,
    require,
    require_axis,
    require_lengths,
    require_rank,
    require_same_dtype,
    result_def,
    structural,
)
from aicc.ir.op import graph_op
from aicc.ir.params import DIMS, INTS, param
from aicc.ir.symbols import Dim, bounds, ceildiv, exact_div, floordiv, maximum, minimum
from aicc.ir.types import (
    Shape,
    broadcast_shapes,
    element_type,
    is_static,
    numel,
    rank_of,
    same_dim,
    shape_of,
    tensor,
)
from aicc.ir.values import Elements, SymbolicValues


@graph_op
class Reshape(GraphOp):
    """The same elements in row-major order under another shape. ONNX Reshape, aten.view.

    In the operand form at most one size may be −1; it is then what the others leave.
    """

    name = "graph.reshape"
    traits = PURE
    input = operand_def(TENSOR)
    dyn_shape = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    shape: tuple = param(DIMS, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dims = structural(self, "shape", values)
        if dims is None:
            require(self, False, "the length of the shape must be static")
        assert dims is not None
        dtype = element_type(self.input)
        total = numel(shape_of(self.input))
        if -1 in dims:
            require(self, list(dims).count(-1) == 1, f"more than one -1 in {list(dims)}")
            rest = numel([d for d in dims if d != -1])
            missing = None
            if total is not None and rest is not None and rest != 0:
                missing = exact_div(total, rest)
                if missing is None:
                    require(
                        self,
                        not (isinstance(total, int) and isinstance(rest, int)),
                        f"{total} elements don't divide into {list(dims)}",
                    )
                    missing = floordiv(total, rest)
            dims = [missing if d == -1 else d for d in dims]
        new = numel(dims)
        if isinstance(total, int) and isinstance(new, int):
            require(
                self,
                total == new,
                f"{total} elements of {self.input.type} don't fit into {list(dims)}",
            )
        elif isinstance(total, int) and list(dims).count(None) == 1:
            known = numel([d for d in dims if d is not None])
            if isinstance(known, int) and known and total % known == 0:
                dims = [total // known if d is None else d for d in dims]
        return [tensor(dims, dtype)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        return [values.get(self.input)]


@graph_op
class Expand(GraphOp):
    """Broadcast the operand and `shape` against each other. ONNX Expand, aten.expand."""

    name = "graph.expand"
    traits = PURE
    input = operand_def(TENSOR)
    dyn_shape = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    shape: tuple = param(DIMS, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dims = structural(self, "shape", values)
        if dims is None:
            require(self, False, "the length of the shape must be static")
        assert dims is not None
        try:
            shape = broadcast_shapes(shape_of(self.input), tuple(dims))
        except ValueError as e:
            require(self, False, str(e))
            raise
        return [tensor(shape, element_type(self.input))]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        known, shape = values.get(self.input), shape_of(self.result)
        if known is None or len(shape) > 1 or not is_static(shape):
            return [None]
        n = shape[0] if shape else 1
        assert isinstance(n, int)
        return [known * n if len(known) == 1 else known]


@graph_op
class Transpose(GraphOp):
    """Result dim i is operand dim `permutation[i]`. ONNX Transpose, aten.permute."""

    name = "graph.transpose"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    permutation: tuple[int, ...] = param(INTS)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        shape = shape_of(self.input)
        require(
            self,
            sorted(self.permutation) == list(range(len(shape))),
            f"{list(self.permutation)} is no permutation of {len(shape)} dims",
        )
        return [tensor([shape[p] for p in self.permutation], element_type(self.input))]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        return [values.get(self.input)]


@graph_op
class Concat(GraphOp):
    """Join tensors along `axis`; the other dims are equal. ONNX Concat, aten.cat."""

    name = "graph.concat"
    traits = PURE
    inputs = var_operand_def(TENSOR)
    result = result_def(TENSOR)
    axis: int = param(int)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require(self, len(self.inputs) > 0, "needs at least one operand")
        dtype = require_same_dtype(self, *self.inputs)
        shapes = [shape_of(x) for x in self.inputs]
        rank = len(shapes[0])
        require_axis(self, self.axis, rank)
        result: list[Dim | None] = list(shapes[0])
        for s in shapes[1:]:
            require(self, len(s) == rank, f"operands have ranks {rank} and {len(s)}")
            for i in range(rank):
                a, b = result[i], s[i]
                if i == self.axis:
                    result[i] = None if a is None or b is None else a + b
                elif isinstance(a, int) and isinstance(b, int):
                    require(self, a == b, f"dim {i} is {a} in one operand, {b} in another")
                elif not isinstance(a, int) and b is not None:
                    result[i] = b
        return [tensor(result, dtype)]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        if rank_of(self.result) != 1:
            return [None]
        parts = [values.get(x) for x in self.inputs]
        if any(p is None for p in parts):
            parts = [
                p if p is not None else _unknown_elements(x)
                for p, x in zip(parts, self.inputs, strict=True)
            ]
        if any(p is None for p in parts):
            return [None]
        return [tuple(e for p in parts for e in p or ())]


def _unknown_elements(x) -> Elements | None:
    n = shape_of(x)[0]
    return (None,) * n if isinstance(n, int) else None


def slice_size(dim: Dim | None, start: Dim | None, limit: Dim | None, step: Dim | None):
    """The length of ``range(dim)[start:limit:step]``, symbolic where it can be; else None."""
    if isinstance(dim, int) and all(isinstance(v, int) for v in (start, limit, step)):
        if step == 0:
            raise ValueError("the step of a slice can't be 0")
        return len(range(*slice(start, limit, step).indices(dim)))  # type: ignore[arg-type]
    if dim is None or start is None or limit is None or not isinstance(step, int) or step == 0:
        return None
    if step < 0:
        whole = start == -1 and isinstance(limit, int) and limit < -(2**31)
        return ceildiv(dim, -step) if whole else None
    lo, hi = _clamp(start, dim), _clamp(limit, dim)
    if lo is None or hi is None:
        return None
    length = hi - lo
    if step != 1:
        length = ceildiv(length, step)
    low, _ = bounds(length, {})
    return length if low is not None and low >= 0 else maximum(length, 0)


def _clamp(bound: Dim, dim: Dim) -> Dim | None:
    """`bound` as NumPy reads it: negative counts from the end, then clamped to 0..dim."""
    low, high = bounds(bound, {})
    if isinstance(bound, int) and bound >= 2**31 - 1:
        return dim
    if high is not None and high < 0:
        shifted = dim + bound
        s_low, _ = bounds(shifted, {})
        return shifted if s_low is not None and s_low >= 0 else maximum(shifted, 0)
    if low is None or low < 0:
        return None
    spare, _ = bounds(dim - bound, {})
    return bound if spare is not None and spare >= 0 else minimum(bound, dim)


@graph_op
class Slice(GraphOp):
    """``x[starts:limits:steps]`` along `axes`. ONNX Slice, aten.slice.

    Bounds are read as NumPy reads them: negative ones count from the end, then they are clamped;
    steps may be negative (a limit below −rank's reach then means "through index 0").
    """

    name = "graph.slice"
    traits = PURE
    irdl_options = (SEGMENTS,)
    input = operand_def(TENSOR)
    dyn_starts = opt_operand_def(TENSOR)
    dyn_limits = opt_operand_def(TENSOR)
    dyn_steps = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    axes: tuple[int, ...] = param(INTS)
    starts: tuple = param(DIMS, default=None)
    limits: tuple = param(DIMS, default=None)
    steps: tuple = param(DIMS, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        shape: list[Dim | None] = list(shape_of(self.input))
        n = len(self.axes)
        require(self, len(set(self.axes)) == n, f"axes {list(self.axes)} repeat")
        bounds_ = [structural(self, p, values, n) for p in ("starts", "limits", "steps")]
        starts, limits, steps = (b if b is not None else (None,) * n for b in bounds_)
        for axis, start, limit, step in zip(self.axes, starts, limits, steps, strict=True):
            require_axis(self, axis, len(shape))
            require(self, step != 0, "a step is 0")
            shape[axis] = slice_size(shape[axis], start, limit, step)
        return [tensor(shape, element_type(self.input))]

    def symbolic_results(self, values: SymbolicValues) -> Sequence[Elements | None]:
        known = values.get(self.input)
        if known is None or rank_of(self.input) != 1 or self.axes != (0,):
            return [known if self.axes == () else None]
        triple = [structural(self, p, values) for p in ("starts", "limits", "steps")]
        picked = [t[0] for t in triple if t and isinstance(t[0], int)]
        return [known[slice(*picked)] if len(picked) == 3 else None]


@graph_op
class Pad(GraphOp):
    """Add `low` and `high` elements at the ends of each dim; negative ones crop. ONNX Pad.

    `value` is a scalar tensor of the operand's dtype, used by mode "constant".
    """

    name = "graph.pad"
    traits = PURE
    irdl_options = (SEGMENTS,)
    input = operand_def(TENSOR)
    value = operand_def(TENSOR)
    dyn_low = opt_operand_def(TENSOR)
    dyn_high = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    mode: str = param(str, default="constant", choices=("constant", "reflect", "edge", "wrap"))
    low: tuple = param(DIMS, default=None)
    high: tuple = param(DIMS, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        shape = shape_of(self.input)
        require_same_dtype(self, self.input, self.value)
        require_rank(self, self.value, 0, "the value")
        low = structural(self, "low", values, len(shape)) or (None,) * len(shape)
        high = structural(self, "high", values, len(shape)) or (None,) * len(shape)
        out: list[Dim | None] = []
        for d, a, b in zip(shape, low, high, strict=True):
            size = None if d is None or a is None or b is None else d + a + b
            require(self, not isinstance(size, int) or size >= 0, f"{d} + {a} + {b} is negative")
            out.append(size)
        return [tensor(out, element_type(self.input))]


def squeezed(shape: Shape, axes: Sequence[int]) -> Shape:
    """`shape` without the given axes."""
    return tuple(d for i, d in enumerate(shape) if i not in axes)


__all__ = [
    "Concat",
    "Expand",
    "Pad",
    "Reshape",
    "Slice",
    "Transpose",
    "require_lengths",
    "same_dim",
    "slice_size",
    "squeezed",
]
