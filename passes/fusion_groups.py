"""Which ops may run as one kernel: groups, the rules by which they merge, and what that saves.

A group has an iteration space. Reads at any index are fine as long as what is read can be computed
anew there, which holds for groups of elements; behind a reduction or a product a value exists only
at its own place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Operation, SSAValue

from aicc.ir.dtypes import dtype_of
from aicc.ir.graph import (
    Add,
    Cast,
    Concat,
    Constant,
    Div,
    Expand,
    Fused,
    Iota,
    MatMul,
    Mul,
    Reshape,
    Slice,
    Sub,
    Transpose,
)
from aicc.ir.graph.attention import Scores
from aicc.ir.graph.reduce import reduced_shape
from aicc.ir.graph.roles import GATHERS, Role, reduced_axes, role_of, space_of
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim
from aicc.ir.symbols import total as total_of
from aicc.ir.types import Shape, element_type, numel, shape_of, typical
from aicc.ir.types import bytes_of as exact_bytes

ADDRESSES = (Reshape, Transpose, Slice, Expand)
"""Ops that only say where an element lies: whoever reads through them loads from there."""


LEAST_SHARED = 8
"""Two kernels become one where both read at least one in so many of the bytes that they move."""

PRODUCT_TILE = 128
"""Rows and columns of a product that one program computes, where costs are compared."""


@dataclass(frozen=True)
class FusionCost:
    """The rates by which costs of different kinds are compared, in bytes of device memory.

    `flops_per_byte`: operations in the time that one byte takes to move. `launch_bytes`: bytes
    moved in the time that one kernel takes to start. `max_ops`, `max_operands`: a kernel's limits,
    which stand for its registers and its code.
    """

    flops_per_byte: int = 16
    launch_bytes: int = 1 << 21
    max_ops: int = 64
    max_operands: int = 24


@dataclass(eq=False)
class Group:
    """Ops that become one kernel."""

    space: Shape
    ops: list[GraphOp] = field(default_factory=list)
    role: Role = Role.POINTWISE
    axes: frozenset[int] = frozenset()

    @classmethod
    def of(cls, op: GraphOp) -> Group:
        role = role_of(op)
        role = Role.POINTWISE if role is Role.INDEX else role
        return cls(space_of(op), [op], role, reduced_axes(op))

    @property
    def kept_rows(self) -> Shape:
        """The space with reduced dims as 1."""
        return reduced_shape(self.space, sorted(self.axes), True)

    @property
    def rows(self) -> Shape:
        """The space without its reduced dims."""
        return reduced_shape(self.space, sorted(self.axes), False)

    def output_shapes(self) -> tuple[Shape, ...]:
        """The shapes that a result of the kernel may have: the space's, or its rows'."""
        if self.role is Role.REDUCTION:
            return self.space, self.kept_rows, self.rows
        return (self.space,)

    @property
    def is_alias(self) -> bool:
        """Whether nothing is computed or moved: the same elements in the same order."""
        return all(isinstance(op, Reshape) for op in self.ops)

    def values(self) -> Iterator[SSAValue]:
        for op in self.ops:
            yield from op.results

    def outputs(self) -> Iterator[SSAValue]:
        """Values with uses outside the group."""
        inside = set(self.ops)
        for v in self.values():
            if any(u.operation not in inside for u in v.uses):
                yield v

    def inputs(self) -> list[SSAValue]:
        """What the group reads, scalar constants aside: they are written into the kernel."""
        inside = set(self.ops)
        read = (v for op in self.ops for v in op.operands)
        return [v for v in dict.fromkeys(read) if v.owner not in inside and not is_literal(v)]

    def flops(self) -> float:
        return sum(size_of((op.flops(),)) for op in self.ops)


def is_literal(value: SSAValue) -> bool:
    """Whether a value is a constant of one element."""
    return isinstance(value.owner, Constant) and size_of(shape_of(value)) == 1


def follows_from_place(op: Operation) -> bool:
    """Whether integers are made from an element's place alone: an iota, shifted and scaled."""
    if isinstance(op, Iota):
        return op.dtype.is_integer
    if not isinstance(op, (Add, Sub, Mul)) or not element_type(op.result).is_integer:
        return False
    others = [v.owner for v in op.operands if not is_literal(v)]
    return len(others) == 1 and isinstance(others[0], Operation) and follows_from_place(others[0])


def size_of(dims: Shape | tuple[Dim, ...]) -> int:
    """The product of dims, symbols being `TYPICAL_DIM`."""
    return math.prod(map(typical, dims))


def bytes_of(value: SSAValue) -> int:
    assert isinstance(value.type, TensorType)
    return size_of(shape_of(value)) * max(dtype_of(value.type.element_type).bits // 8, 1)


# ---------------------------------------------------------------------- rules


def why_not(first: Group, second: Group, cost: FusionCost) -> str | None:
    """Why `second`, which reads results of `first`, can't join its kernel; None if it can."""
    if Role.OPAQUE in (first.role, second.role):
        opaque = first if first.role is Role.OPAQUE else second
        return f"{opaque.ops[0].kind} has a kernel of its own"
    if None in (*first.space, *second.space):
        return "a size is unknown"
    rules = {
        Role.POINTWISE: _after_elements,
        Role.REDUCTION: _after_reduction,
        Role.CONTRACTION: _after_contraction,
    }
    reason = rules[first.role](first, second, cost)
    return reason or _too_large(first, second, cost)


def why_not_beside(first: Group, second: Group, cost: FusionCost) -> str | None:
    """Why two groups over one space that don't need one another don't share a kernel."""
    if None in first.space:
        return "a size is unknown"
    moved = sum(bytes_of(v) for g in (first, second) for v in (*g.inputs(), *g.outputs()))
    shared = sum(map(bytes_of, set(first.inputs()) & set(second.inputs())))
    if moved > cost.launch_bytes and shared * LEAST_SHARED < moved:
        reason = "which takes longer than to start a kernel"
        return f"they move {moved} bytes, {shared} of them for both, {reason}"
    return _too_large(first, second, cost)


def merged(first: Group, second: Group) -> Group:
    """One group of both; only for pairs that `why_not` has nothing against."""
    anchor = max(second, first, key=lambda g: _ANCHORS.index(g.role))
    return Group(anchor.space, [*first.ops, *second.ops], anchor.role, anchor.axes)


_ANCHORS = (Role.POINTWISE, Role.REDUCTION, Role.CONTRACTION)
"""Roles in the order in which they say what a kernel is built around."""


def crossing(first: Group, second: Group) -> list[tuple[SSAValue, Operation]]:
    """Results of `first` and the ops of `second` that read them."""
    inside = set(second.ops)
    return [(v, u.operation) for v in first.values() for u in v.uses if u.operation in inside]


def needed_outside(first: Group, second: Group) -> list[SSAValue]:
    """Results of `first` that something besides the two groups reads."""
    inside = {*first.ops, *second.ops}
    return [v for v in first.values() if any(u.operation not in inside for u in v.uses)]


def _after_elements(first: Group, second: Group, cost: FusionCost) -> str | None:
    stored = needed_outside(first, second)
    products = [u for _, u in crossing(first, second) if role_of(u) is Role.CONTRACTION]
    if products and all(isinstance(u, Scores) for u in products):
        return _before_attention(first, second, products[0], cost)
    if products:
        if not (all(_reads_for_product(op) for op in first.ops) or _is_weight(first)):
            return "it would be computed again for each tile of the product"
        if stored:
            return "its result is needed elsewhere too, and the product doesn't write it"
        return None
    fits = second.output_shapes()
    odd = [v for v in stored if shape_of(v) not in fits and not _lies_as_read(v, first, second)]
    if odd:
        return f"its result {shape_of(odd[0])} is needed elsewhere, in another shape"
    again = size_of(second.space) / max(size_of(first.space), 1)
    if again > 1 and not all(map(follows_from_place, first.ops)):
        extra = first.flops() * (again - 1)
        saved = 2 * sum(bytes_of(v) for v in {v for v, _ in crossing(first, second)})
        if extra > (saved + cost.launch_bytes) * cost.flops_per_byte:
            return f"each element would be computed {again:.0f} times"
    return None


def _before_attention(
    first: Group, second: Group, attention: Operation, cost: FusionCost
) -> str | None:
    """Elements of queries are computed once, those of keys and values for each tile of queries."""
    if needed_outside(first, second):
        return "its result is needed elsewhere too, and attention doesn't write it"
    if any(isinstance(op, (*GATHERS, Concat)) and not _is_cheap(op) for op in first.ops):
        return "attention would look each element up again for each tile of queries"
    query, key = (shape_of(v) for v in attention.operands[:2])
    read = {v for v, u in crossing(first, second)}
    again = 1
    if read - {attention.operands[0]}:
        tiles = -(-size_of(query[2:3]) // PRODUCT_TILE)
        again = tiles * max(size_of(query[1:2]) // size_of(key[1:2]), 1)
    saved = 2 * sum(map(bytes_of, read)) + cost.launch_bytes
    if first.flops() * (again - 1) > saved * cost.flops_per_byte:
        return f"each element would be computed {again} times"
    return None


def _is_cheap(op: GraphOp) -> bool:
    """Whether reading through the op takes no memory of its own: halves joined, as in RoPE."""
    return isinstance(op, Concat) and len(op.inputs) <= 2


def _reads_for_product(op: GraphOp) -> bool:
    """Whether a product may do the op as it reads a tile: addresses, casts, a constant scale."""
    if isinstance(op, (Mul, Div)):
        return any(is_literal(v) for v in op.operands)
    return isinstance(op, (Cast, *ADDRESSES))


def _is_weight(group: Group) -> bool:
    """Whether the elements come from constants: they would be folded if that made nothing larger.

    A product takes a quantized weight apart as it reads a tile of it.
    """
    constant = all(isinstance(v.owner, Constant) for v in group.inputs())
    return constant and all(_moves_or_computes(op) for op in group.ops)


def _only_reshaped(first: Group, second: Group) -> bool:
    """Whether elements keep their order on the way from `first` through `second`."""
    if numel(first.space) != numel(second.space) or second.role is Role.REDUCTION:
        return False
    return all(_keeps_order(value, user) for value, user in dependent(first, second))


def _lies_as_read(value: SSAValue, first: Group, second: Group) -> bool:
    """Whether a result of `first` is read in its own order by `second`, which can then write it."""
    if second.role is not Role.REDUCTION:
        return _only_reshaped(first, second)
    readers = [user for read, user in crossing(first, second) if read is value]
    whole = numel(shape_of(value)) == numel(second.space)
    return whole and all(_keeps_order(value, user) for user in readers)


def _moves_or_computes(op: GraphOp) -> bool:
    return isinstance(op, ADDRESSES) or role_of(op) is Role.POINTWISE


def _keeps_order(value: SSAValue, user: Operation) -> bool:
    if isinstance(user, Reshape):
        return True
    same = all(shape_of(r) == shape_of(value) for r in user.results)
    return same and role_of(user) is Role.POINTWISE


def _after_reduction(first: Group, second: Group, cost: FusionCost) -> str | None:
    if second.role is Role.CONTRACTION:
        return _beside_product(first, second, cost)
    if second.role is Role.REDUCTION and (second.space, second.axes) != (first.space, first.axes):
        return "it reduces other rows"
    elsewhere = second.role is Role.POINTWISE and second.space not in first.output_shapes()
    if elsewhere and numel(second.space) != numel(first.space):
        return f"it iterates over {second.space}, the reduction over {first.space}"
    for value, user in dependent(first, second):
        in_order = numel(shape_of(value)) == numel(first.space) and _keeps_order(value, user)
        if not in_order and not _in_place(first, value, user):
            return f"{_kind(user)} reads {_kind(value.owner)} at another index than its own row's"
    return None


def _beside_product(first: Group, second: Group, cost: FusionCost) -> str | None:
    """Sums over the rows that a product reads, which its result is then scaled by."""
    products = [op for op in second.ops if isinstance(op, MatMul)]
    crossed = crossing(first, second)
    if not products or any(role_of(u) is not Role.POINTWISE for _, u in crossed):
        return "a product reads its operands tile by tile, not in whole rows"
    rows = shape_of(products[0].lhs)
    if first.space != rows or first.axes != {len(rows) - 1} or rows[:-1] != second.space[:-1]:
        return f"it reduces {first.space}, the product reads rows of {rows}"
    if needed_outside(first, second):
        return "its result is needed elsewhere too, and the product doesn't write it"
    if any(shape_of(v) != first.kept_rows for v, _ in crossed):
        return "a product reads its operands tile by tile, not in whole rows"
    if any(_reduces_twice(first)):
        return "it goes over the row more than once"
    tiles = -(-size_of(second.space[-1:]) // PRODUCT_TILE)
    saved = sum(map(bytes_of, first.inputs())) + cost.launch_bytes
    if first.flops() * (tiles - 1) > saved * cost.flops_per_byte:
        return f"the product has {tiles} tiles of columns: it would be computed in each"
    return None


def _reduces_twice(group: Group) -> Iterator[GraphOp]:
    """Reductions of what comes from other reductions."""
    after: set[SSAValue] = set()
    for op in group.ops:
        if any(v in after for v in op.operands):
            after.update(op.results)
            if role_of(op) is Role.REDUCTION:
                yield op
        elif role_of(op) is Role.REDUCTION:
            after.update(op.results)


def _in_place(group: Group, value: SSAValue, user: Operation) -> bool:
    """Whether `user` reads each element of the value where the group has it."""
    at = shape_of(value)
    if role_of(user) is Role.REDUCTION:
        return at == group.space and value is user.operands[0]
    goal = shape_of(user.results[0])
    if goal not in group.output_shapes():
        return False
    if isinstance(user, Reshape):  # only dims of 1 may come and go
        return at == goal or {at, goal} == {group.rows, group.kept_rows}
    if role_of(user) is Role.INDEX and not isinstance(user, Expand):
        return False
    return at == goal or (at == group.kept_rows and goal == group.space)


def _after_contraction(first: Group, second: Group, cost: FusionCost) -> str | None:
    if second.role is Role.CONTRACTION:
        return _same_operand(first, second)
    if second.role is not Role.POINTWISE:
        return f"a {second.role.name.lower()} needs more of the product than one tile"
    if not _only_reshaped(first, second):
        return f"it reads the product {first.space} at another index, or more than once"
    return None


def _same_operand(first: Group, second: Group) -> str | None:
    """Two products of one left operand, whose elements meet: a gate and what it lets through."""
    products = [[op for op in g.ops if role_of(op) is Role.CONTRACTION] for g in (first, second)]
    (one, *more), (other, *rest) = products
    if not (isinstance(one, MatMul) and isinstance(other, MatMul)):
        return f"{_kind(other)} needs more of the product than one tile"
    if more or rest:
        return "a kernel sums at most two products"
    if not same_address(one.lhs, other.lhs):
        return "the products read different operands"
    if first.space != second.space or shape_of(one.rhs) != shape_of(other.rhs):
        return f"the products are {first.space} and {second.space}"
    if needed_outside(first, second):
        return "its result is needed elsewhere too"
    if not _only_reshaped(first, second):
        return "one product reads elements of the other at another index"
    return None


def same_address(a: SSAValue, b: SSAValue) -> bool:
    """Whether two values are one, through ops that only say where elements lie."""
    while a is not b:
        x, y = a.owner, b.owner
        if type(x) is not type(y) or not isinstance(x, ADDRESSES) or not isinstance(y, ADDRESSES):
            return False
        if len(x.operands) != 1 or x.properties != y.properties or a.type != b.type:
            return False
        a, b = x.operands[0], y.operands[0]
    return True


def dependent(first: Group, second: Group) -> Iterator[tuple[SSAValue, Operation]]:
    """What ops of `second` read that comes from `first`, through other ops of `second` or not."""
    values = set(first.values())
    for op in second.ops:  # in topological order, as groups grow
        read = [v for v in op.operands if v in values]
        yield from ((v, op) for v in read)
        if read:
            values.update(op.results)


def _too_large(first: Group, second: Group, cost: FusionCost) -> str | None:
    if len(first.ops) + len(second.ops) > cost.max_ops:
        return f"the kernel would hold more than {cost.max_ops} ops"
    both = merged(first, second)
    operands = len(both.inputs()) + sum(1 for _ in both.outputs())
    if operands > cost.max_operands:
        return f"the kernel would have {operands} operands, more than {cost.max_operands}"
    return None


def _kind(owner: Operation | Block) -> str:
    return owner.name.removeprefix("graph.") if isinstance(owner, Operation) else "an argument"


PARTIAL = (*GATHERS, Slice)
"""Ops that read only some elements of their first operand."""


def moved_bytes(op: GraphOp) -> Dim:
    """Bytes that a kernel reads and writes, each element once."""
    total = total_of(exact_bytes(r) or 0 for r in op.results)
    inside = op.body.block.args if isinstance(op, Fused) else op.operands
    for value, inner in dict(zip(op.operands, inside, strict=True)).items():
        readers = [u for u in inner.uses if isinstance(op, Fused) or u.operation is op]
        parts = total_of(
            exact_bytes(u.operation.results[0]) or 0
            if isinstance(u.operation, PARTIAL) and u.index == 0
            else exact_bytes(value) or 0
            for u in readers
        )
        total = total + min(parts, (exact_bytes(value) or 0), key=lambda d: size_of((d,)))
    return total
