"""Drawers of ops that make, rearrange and pick elements, and of control flow."""

from __future__ import annotations

import numpy as np
from xdsl.ir import Block, Region, SSAValue

from aicc.fuzz.maker import SIZES, Maker
from aicc.fuzz.values import DTYPES, draw_values
from aicc.ir import graph
from aicc.ir.dtypes import DType, i1, i32, i64
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim, sym
from aicc.ir.types import element_type, is_static, numel, rank_of, shape_of, tensor


def constant(m: Maker, cls: type[GraphOp]) -> object:
    shape = [m.choose(SIZES) for _ in range(m.integer(0, 2))]
    return m.op(cls, value=_dense(draw_values(m.rng, shape, m.choose(DTYPES), m.special)))


def _dense(array: np.ndarray):
    from aicc.ir.constants import DenseAttr

    return DenseAttr.make(array)


def _bound_dim(m: Maker) -> Dim:
    bound = sorted(m.b.scope.bound & {"n", "m"})
    return sym(m.choose(bound)) if bound and m.chance(0.5) else m.choose(SIZES)


def iota(m: Maker, cls: type[GraphOp]) -> object:
    shape = [_bound_dim(m) for _ in range(m.integer(1, 3))]
    dtype = m.choose([d for d in DTYPES if d.kind in ("int", "float") and d.bits >= 16])
    return m.op(cls, shape=shape, axis=m.integer(0, len(shape) - 1), dtype=dtype)


def shape_of_value(m: Maker, cls: type[GraphOp]) -> object:
    return m.op(cls, m.pick(None, 1))


def shape_expr(m: Maker, cls: type[GraphOp]) -> object:
    bound = sorted(m.b.scope.bound & {"n", "m"})
    m.need(bool(bound))
    n: Dim = sym(m.choose(bound))
    exprs = (n, n * 2, n + 1, n * n, n * 3 + 2)
    return m.op(cls, exprs=[m.choose(exprs) for _ in range(m.integer(1, 3))])


def _parameter(m: Maker, dims: list[Dim]) -> list[Dim] | SSAValue:
    """A structural parameter as an attribute or, now and then, as an operand."""
    if m.chance(0.8):
        return dims
    return m.dims(dims)


def reshape(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick()
    kind = m.integer(0, 4)
    dims = list(shape_of(x))
    if kind == 0:
        return m.op(cls, x, shape=m.constant([-1], i64))
    m.need(None not in dims and m.b.is_bound(dims))
    known = [d for d in dims if d is not None]
    if kind == 1:  # a dim of size 1 comes in, or all that are go
        if m.chance(0.5):
            known.insert(m.integer(0, len(known)), 1)
        else:
            known = [d for d in known if d != 1]
    elif kind == 2:  # neighbours become one
        m.need(len(known) >= 2)
        i = m.integer(0, len(known) - 2)
        known[i : i + 2] = [known[i] * known[i + 1]]
    elif kind == 3:  # one becomes two
        m.need(bool(known))
        i = m.integer(0, len(known) - 1)
        size = known[i]
        m.need(isinstance(size, int) and size > 0)
        factor = m.choose([f for f in range(1, size + 1) if size % f == 0])  # type: ignore
        known[i : i + 1] = [factor, size // factor]  # type: ignore[operator]
    else:  # any other factors
        total = numel(known)
        m.need(isinstance(total, int) and total > 0)
        known, left = [], total
        while left > 1 and len(known) < 4:  # type: ignore[operator]
            factor = m.choose([f for f in range(1, left + 1) if left % f == 0])  # type: ignore
            known.append(factor)
            left //= factor  # type: ignore[operator]
        known.append(left)  # type: ignore[arg-type]
    return m.op(cls, x, shape=_parameter(m, known))


def expand(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(None, 0, 3)
    dims = [_bound_dim(m) if d == 1 and m.chance(0.7) else d for d in shape_of(x)]
    m.need(None not in dims and m.b.is_bound(dims))
    lead = [_bound_dim(m) for _ in range(m.integer(0, 1))]
    return m.op(cls, x, shape=_parameter(m, [*lead, *(d for d in dims if d is not None)]))


def transpose(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(None, 2)
    return m.op(cls, x, permutation=m.rng.permutation(rank_of(x)).tolist())


def concat(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(None, 1)
    axis = m.axis(x)
    parts = [x]
    for _ in range(m.integer(0, 2)):
        dims = list(shape_of(x))
        if m.chance(0.5):
            dims[axis] = m.choose(SIZES[:6])
        parts.append(m.like(dims, element_type(x)))
    order = m.rng.permutation(len(parts))
    return m.op(cls, [parts[i] for i in order], axis=axis)


def slice_(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(None, 1)
    axes = m.axes(x)
    starts, limits, steps = [], [], []
    for a in axes:
        size = m.array(x).shape[a]
        step = m.choose((1, 1, 1, 2, 3, -1, -2))
        if step > 0:
            starts.append(m.integer(-2, max(size - 1, 0)))
            limits.append(m.choose((size, 2**63 - 1, m.integer(0, size), -1)))
        else:
            starts.append(m.choose((-1, size - 1, m.integer(0, size))))
            limits.append(m.choose((-(2**63), -size - 1, 0)))
        steps.append(step)
    parameters = {"starts": starts, "limits": limits, "steps": steps}
    given = {k: _parameter(m, v) if k != "steps" else v for k, v in parameters.items()}
    return m.op(cls, x, axes=axes, **given)


def pad(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(None, 1, 4)
    mode = m.choose(("constant", "constant", "constant", "reflect", "edge", "wrap"))
    low, high = [], []
    for size in m.array(x).shape:
        least = -min(size, 1) if mode == "constant" else 0
        most = 3 if mode == "constant" else min(max(size - 1, 0), 3)
        low.append(m.integer(least, most))
        high.append(m.integer(0, most))
    value = m.like([], element_type(x))
    return m.op(cls, x, value, mode=mode, low=_parameter(m, low), high=_parameter(m, high))


def _indices(m: Maker, shape: list[Dim], size: int) -> SSAValue:
    """Indices in −size..size−1."""
    m.need(size > 0)
    dtype: DType = m.choose((i64, i64, i32))
    concrete = [d if isinstance(d, int) else m.sizes[str(d)] for d in shape]
    low = -size if m.chance(0.3) else 0
    return m.fresh(shape, dtype, m.rng.integers(low, size, concrete).astype(dtype.np))


def gather(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(None, 1)
    axis = m.axis(x)
    shape = m.shape(m.integer(0, 2))
    return m.op(cls, x, _indices(m, shape, m.array(x).shape[axis]), axis=axis)


def gather_elements(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(None, 1)
    axis = m.axis(x)
    sizes = m.array(x).shape
    shape: list[Dim] = [m.integer(1, max(d, 1)) if i != axis else m.choose(SIZES[:6])
                        for i, d in enumerate(sizes)]  # fmt: skip
    m.need(all(sizes))
    return m.op(cls, x, _indices(m, shape, sizes[axis]), axis=axis)


def gather_nd(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(None, 1)
    sizes = m.array(x).shape
    batch = m.integer(0, 1) if len(sizes) > 1 and is_static(shape_of(x)[:1]) else 0
    depth = m.integer(1, len(sizes) - batch)
    m.need(all(sizes))
    shape: list[Dim] = [*sizes[:batch], m.integer(1, 4), depth]
    least = min(sizes[batch : batch + depth])
    return m.op(cls, x, _indices(m, shape, least), batch_dims=batch)


def _scattered(m: Maker, x: SSAValue, count: int) -> str:
    """How updates are combined: only what doesn't depend on their order, if places repeat."""
    dtype = element_type(x)
    if dtype.kind == "complex":
        return "none"
    if dtype == i1:
        return "none" if count == 1 else m.choose(("max", "min"))
    return m.choose(("add", "max", "min") if count > 1 else ("none", "add", "mul", "max", "min"))


def scatter_elements(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: d.bits >= 8, 1)
    axis = m.axis(x)
    sizes = m.array(x).shape
    m.need(all(sizes))
    count = m.integer(1, 3)
    shape: list[Dim] = [m.integer(1, d) if i != axis else count for i, d in enumerate(sizes)]
    indices = _indices(m, shape, sizes[axis])
    updates = m.like(shape, element_type(x))
    return m.op(cls, x, indices, updates, axis=axis, reduction=_scattered(m, x, count))


def scatter_nd(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: d.bits >= 8, 1)
    sizes = m.array(x).shape
    m.need(all(sizes) and is_static(shape_of(x)))
    depth, count = m.integer(1, len(sizes)), m.integer(1, 3)
    indices = _indices(m, [count, depth], min(sizes[:depth]))
    updates = m.like([count, *sizes[depth:]], element_type(x))
    return m.op(cls, x, indices, updates, reduction=_scattered(m, x, count))


def non_zero(m: Maker, cls: type[GraphOp]) -> object:
    return m.op(cls, m.pick(lambda d: d.bits >= 8 and d.kind != "complex", 1, 3))


def _branch(m: Maker, shape: list[Dim | None], dtype: DType) -> tuple[Region, SSAValue]:
    """A region without arguments that yields a value of a type, by one or two ops."""
    block = Block()
    with m.inside(block):
        x = m.like(shape, dtype)
        for _ in range(m.integer(1, 2)):
            x = _step(m, x)
        m.b.build(graph.Yield, [x], result_types=[])
    return Region(block), x


def _step(m: Maker, x: SSAValue) -> SSAValue:
    """Another value of x's type."""
    dtype = element_type(x)
    if dtype.is_float and m.chance(0.4):
        return m.op(m.choose((graph.Relu, graph.Tanh, graph.Sigmoid, graph.Neg)), x)
    cls = m.choose((graph.Add, graph.Sub, graph.Max, graph.Min))
    return m.op(cls, x, m.like(shape_of(x), dtype, exact=False))


def _computed(d: DType) -> bool:
    return d.kind in ("int", "uint", "float") and d.bits >= 16


def conditional(m: Maker, cls: type[GraphOp]) -> object:
    m.need(m.depth == 0)
    x = m.pick(_computed)
    shape, dtype = list(shape_of(x)), element_type(x)
    m.need(None not in shape)
    condition = m.fresh([], i1) if m.chance(0.7) else m.op(graph.ReduceMax, _flags(m), axes=[0])
    branches = [_branch(m, shape, dtype)[0] for _ in range(2)]
    op = graph.If.make(condition, result_types=[tensor(shape, dtype)], regions=branches)
    m.b._insert(op)
    return m.run(op)


def _flags(m: Maker) -> SSAValue:
    return m.like([m.choose(SIZES[:4])], i1)


def loop(m: Maker, cls: type[GraphOp]) -> object:
    """Up to three iterations that carry one value, and stack another."""
    m.need(m.depth == 0)
    x = m.pick(_computed, 0, 3)
    type = x.type
    m.need(is_static(shape_of(x)))
    count, goes_on = np.array(m.integer(0, 3)), np.array(True)
    if m.chance(0.5):
        trips, going = m.fresh([], i64, count), m.fresh([], i1, goes_on)
    else:
        trips, going = m.b.constant(count), m.b.constant(goes_on)
        m.arrays.update({trips: count, going: goes_on})
    block = Block(arg_types=[tensor([], i64), type])
    m.arrays[block.args[0]] = np.array(0)
    m.arrays[block.args[1]] = m.array(x)
    with m.inside(block):
        m.pool.append(block.args[1])
        carried = _step(m, block.args[1])
        m.need(carried.type == type)
        m.b.build(graph.Yield, [m.b.constant(True, i1), carried, block.args[1]], result_types=[])
    stacked = tensor([None, *shape_of(x)], element_type(x))
    op = graph.Loop.make(trips, going, [x], result_types=[type, stacked], regions=[Region(block)])
    m.b._insert(op)
    m.b.name_dims(op.outputs[1])
    return m.run(op)
