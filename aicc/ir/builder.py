"""Building graph IR: emit ops with inferred types, locations and named dynamic dims."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np
from xdsl.dialects.builtin import LocationAttr, NameLoc, NoneAttr, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.ir import graph
from aicc.ir.constants import DenseAttr
from aicc.ir.dtypes import dtype_of, i64
from aicc.ir.module import bound_symbols
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim, SymExpr, sym
from aicc.ir.types import (
    element_type,
    format_dims,
    is_static,
    rank_of,
    shape_of,
    symbols_of,
    tensor,
)
from aicc.ir.values import SymbolicValues

Dims = Sequence[Dim | None]

_ARITHMETIC: dict[type[ast.operator], type[GraphOp]] = {
    ast.Add: graph.Add,
    ast.Sub: graph.Sub,
    ast.Mult: graph.Mul,
    ast.FloorDiv: graph.Div,
    ast.Mod: graph.Mod,
    ast.Pow: graph.Pow,
}


def name_location(name: str, inner: LocationAttr | None = None) -> LocationAttr:
    """The location ``loc("name")``, around another one if given."""
    return NameLoc(StringAttr(name), inner if inner is not None else NoneAttr())


def name_hint(name: str) -> str:
    """A model's own name as the name of an SSA value: ``/block1/Conv_output_0`` keeps its words."""
    words = "".join(c if c.isalnum() and c.isascii() else " " for c in name).split()
    hint = "_".join(words)
    return hint if hint[:1].isalpha() else f"v_{hint}"


class SymbolScope:
    """The symbols of one function.

    `bound` are those its arguments define: attributes may mention them. Dims that only a run can
    tell get fresh names ``u0``, ``u1``, …; `sources` says which dim of which value has each.
    """

    def __init__(self, bound: Iterable[str] = ()):
        self.bound = set(bound)
        self.sources: dict[str, tuple[SSAValue, int]] = {}
        self._next = 0

    def fresh(self) -> SymExpr:
        while (name := f"u{self._next}") in self.bound:
            self._next += 1
        self._next += 1
        return sym(name)


class GraphBuilder:
    """Emits ops at the end of a block, or wherever `insert` puts them.

    `values` remembers the symbolic elements of small integer tensors, so that shapes computed by
    the model become symbolic dims as they are built. `scope` names unknown dims; without one they
    stay anonymous.
    """

    def __init__(
        self,
        insert: Block | Callable[[Operation], object],
        values: SymbolicValues | None = None,
        scope: SymbolScope | None = None,
    ):
        self._insert = insert.add_op if isinstance(insert, Block) else insert
        self.values = values if values is not None else SymbolicValues()
        self.names_dims = scope is not None
        self.scope = scope if scope is not None else SymbolScope()
        self.location: LocationAttr | None = None

    @classmethod
    def before(cls, op: Operation, **kwargs: Any) -> GraphBuilder:
        """A builder that inserts before `op` and gives new ops its location."""
        point = InsertPoint.before(op)
        builder = cls(lambda new: Rewriter.insert_op(new, point), **kwargs)
        builder.location = op.location
        parent = op.parent_op()
        while parent is not None and not isinstance(parent, FuncOp):
            parent = parent.parent_op()
        if parent is not None:
            builder.scope.bound |= bound_symbols(parent).keys()
        return builder

    def in_block(self, block: Block) -> GraphBuilder:
        """A builder for a nested block that shares symbols, names and location."""
        nested = GraphBuilder(block, self.values, self.scope if self.names_dims else None)
        nested.scope = self.scope
        nested.location = self.location
        return nested

    @contextmanager
    def at(self, location: LocationAttr | None) -> Iterator[None]:
        """Give ops emitted inside this location."""
        saved, self.location = self.location, location
        try:
            yield
        finally:
            self.location = saved

    def name_dims(self, value: SSAValue) -> None:
        """Give each unknown dim of the value a fresh name."""
        shape = list(shape_of(value))
        if None not in shape:
            return
        for i, d in enumerate(shape):
            if d is None:
                shape[i] = new = self.scope.fresh()
                self.scope.sources[str(new)] = (value, i)
        value._type = tensor(shape, element_type(value))

    def build(self, cls: type[GraphOp], *operands: Any, **params: Any) -> GraphOp:
        """Make an op (see `GraphOp.make`) and insert it."""
        op = cls.make(*operands, location=self.location, values=self.values, **params)
        self._insert(op)
        if self.names_dims:
            for r in op.results:
                if isinstance(r.type, TensorType):
                    self.name_dims(r)
        return op

    def emit(self, cls: type[GraphOp], *operands: Any, **params: Any) -> SSAValue:
        """Like `build`, giving the first result."""
        return self.build(cls, *operands, **params).results[0]

    # ------------------------------------------------------------------ shorthands

    def constant(self, value: Any, dtype: object = None, name: str | None = None) -> SSAValue:
        """A constant from an array or scalar; `dtype` as for `dtype_of`."""
        array = np.asarray(value, None if dtype is None else dtype_of(dtype).np)
        value = self.emit(graph.Constant, value=DenseAttr.make(array, name))
        if name is not None:
            value.name_hint = name_hint(name)
        return value

    def scalar_like(self, value: float | int | bool, other: SSAValue) -> SSAValue:
        """A scalar constant of another value's dtype."""
        return self.constant(value, element_type(other))

    def cast(self, x: SSAValue, dtype: object) -> SSAValue:
        """`x` itself if it has the dtype already."""
        to = dtype_of(dtype)
        return x if element_type(x) == to else self.emit(graph.Cast, x, to=to)

    def dims(self, dims: Dims) -> SSAValue:
        """A 1-D i64 tensor of dims, from their symbols wherever those are bound."""
        if is_static(dims):
            return self.constant(np.array(dims, np.int64))
        if self.is_bound(dims):
            return self.emit(graph.ShapeExpr, exprs=dims)
        parts = [self.reshape(self.dim(d), [1]) for d in dims if d is not None]
        if len(parts) != len(dims):
            raise ValueError(f"the dims [{format_dims(dims)}] aren't known")
        return self.emit(graph.Concat, parts, axis=0) if len(parts) > 1 else parts[0]

    def dim(self, d: Dim) -> SSAValue:
        """One dim as an i64 scalar, computed from the tensors that have its unbound symbols."""
        if isinstance(d, int):
            return self.constant(d, i64)
        if self.is_bound([d]):
            return self.emit(graph.Reshape, self.emit(graph.ShapeExpr, exprs=[d]), shape=[])
        return self._lower(ast.parse(d.python(lambda name: name), mode="eval").body)

    def _lower(self, node: ast.AST) -> SSAValue:
        if isinstance(node, ast.Constant):
            return self.constant(node.value, i64)
        if isinstance(node, ast.Name):
            if node.id in self.scope.sources:
                return self.size(*self.scope.sources[node.id])
            return self.dim(sym(node.id))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self.emit(graph.Neg, self._lower(node.operand))
        if isinstance(node, ast.BinOp):
            a, b = self._lower(node.left), self._lower(node.right)
            if isinstance(node.op, ast.FloorDiv):  # div rounds toward zero
                a = self.emit(graph.Sub, a, self.emit(graph.Mod, a, b))
            return self.emit(_ARITHMETIC[type(node.op)], a, b)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            cls = {"min": graph.Min, "max": graph.Max}[node.func.id]
            return reduce(lambda a, b: self.emit(cls, a, b), map(self._lower, node.args))
        raise TypeError(f"no op for {ast.dump(node)}")

    def shape(self, x: SSAValue) -> SSAValue:
        """The sizes of `x` as a 1-D i64 tensor."""
        static = shape_of(x)
        if is_static(static):
            return self.constant(np.array(static, np.int64))
        return self.emit(graph.ShapeOf, x)

    def size(self, x: SSAValue, axis: int) -> SSAValue:
        """The size of one dim as an i64 scalar."""
        d = shape_of(x)[axis]
        if isinstance(d, int):
            return self.constant(d, i64)
        return self.emit(graph.Gather, self.emit(graph.ShapeOf, x), self.constant(axis, i64))

    def is_bound(self, dims: Dims) -> bool:
        """Whether an attribute may hold the dims: all their symbols are the function's own."""
        return None not in dims and symbols_of(dims) <= self.scope.bound

    def structural(self, dims: Dims | SSAValue) -> Dims | SSAValue:
        """A structural parameter in its best form: dims if they can be, else a tensor of them."""
        if isinstance(dims, SSAValue):
            known = self.values.all_known(dims)
            return known if known is not None and self.is_bound(known) else dims
        return dims if self.is_bound(dims) else self.dims(dims)

    def reshape(self, x: SSAValue, shape: Dims | SSAValue) -> SSAValue:
        """Reshape; at most one size may be −1. Gives `x` itself if it has that shape already."""
        shape = self.structural(shape)
        if isinstance(shape, SSAValue):
            return self.emit(graph.Reshape, x, shape=shape)
        if -1 in shape:
            operand = self.dims(shape)
            probe = graph.Reshape.make(x, shape=operand, values=self.values)
            resolved = shape_of(probe.result)
            probe.erase()
            if not self.is_bound(resolved):
                return self.emit(graph.Reshape, x, shape=operand)
            shape = resolved
        if tuple(shape) == shape_of(x):
            return x
        return self.emit(graph.Reshape, x, shape=shape)

    def unsqueeze(self, x: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Insert dims of size 1 at `axes`, positions in the result."""
        rank = rank_of(x) + len(axes)
        own = iter(shape_of(x))
        shape = [1 if i in axes else next(own) for i in range(rank)]
        if self.is_bound(shape):
            return self.reshape(x, shape)
        one = self.constant(np.ones(1, np.int64))
        sizes = [one if i in axes else None for i in range(rank)]
        return self._reshape_pieces(x, sizes, axes)

    def squeeze(self, x: SSAValue, axes: Sequence[int]) -> SSAValue:
        """Drop dims of size 1 at `axes`."""
        shape = [d for i, d in enumerate(shape_of(x)) if i not in axes]
        if self.is_bound(shape):
            return self.reshape(x, shape)
        keep = [i for i in range(rank_of(x)) if i not in axes]
        sizes = self.emit(graph.Gather, self.shape(x), self.constant(np.array(keep, np.int64)))
        return self.emit(graph.Reshape, x, shape=sizes)

    def _reshape_pieces(
        self, x: SSAValue, sizes: list[SSAValue | None], axes: Sequence[int]
    ) -> SSAValue:
        source = self.shape(x)
        index = 0
        parts: list[SSAValue] = []
        for size in sizes:
            if size is None:
                size = self.emit(graph.Gather, source, self.constant(np.array([index])))
                index += 1
            parts.append(size)
        return self.emit(graph.Reshape, x, shape=self.emit(graph.Concat, parts, axis=0))

    def expand(self, x: SSAValue, shape: Dims | SSAValue) -> SSAValue:
        """Broadcast to a shape; gives `x` itself if it has it already."""
        shape = self.structural(shape)
        if not isinstance(shape, SSAValue) and tuple(shape) == shape_of(x):
            return x
        return self.emit(graph.Expand, x, shape=shape)

    def full(self, shape: Dims | SSAValue, value: float | int | bool, dtype: object) -> SSAValue:
        """A tensor of one value."""
        return self.expand(self.constant(value, dtype), shape)

    def transpose(self, x: SSAValue, permutation: Sequence[int]) -> SSAValue:
        """Permute dims; gives `x` itself for the identity."""
        if list(permutation) == list(range(len(permutation))):
            return x
        return self.emit(graph.Transpose, x, permutation=tuple(permutation))

    def slice(self, x: SSAValue, axis: int, start: Dim, limit: Dim, step: int = 1) -> SSAValue:
        """Slice along one axis."""
        return self.emit(
            graph.Slice,
            x,
            axes=(axis,),
            starts=self.structural([start]),
            limits=self.structural([limit]),
            steps=[step],
        )
