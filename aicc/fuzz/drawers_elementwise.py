"""Drawers of elementwise ops."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from aicc.fuzz.maker import Maker, Misfit
from aicc.fuzz.values import DTYPES, draw_values
from aicc.ir import graph
from aicc.ir.dtypes import DType, i1
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, shape_of


def arithmetic(d: DType) -> bool:
    """Types that kernels compute with: not the ones that are for storage."""
    return d.kind in ("int", "uint", "float") and d.bits >= 8 and not d.name.startswith("f8")


def rule_of(cls: type[GraphOp]):
    rule = getattr(cls, "rule", None)
    return lambda d: (rule is None or rule(d)) and (arithmetic(d) or d == i1)


def unary(m: Maker, cls: type[GraphOp]) -> object:
    if cls in (graph.IsNaN, graph.IsInf):
        params = {}
        if cls is graph.IsInf:
            params = {"detect_positive": m.chance(0.7), "detect_negative": m.chance(0.7)}
        return m.op(cls, m.pick(lambda d: d.is_float and arithmetic(d)), **params)
    x = m.pick(rule_of(cls))
    if cls is graph.Gelu:
        return m.op(cls, x, approximate=m.choose(("none", "tanh")))
    return m.op(cls, x)


def operands(m: Maker, x: SSAValue) -> tuple[SSAValue, SSAValue]:
    """A value and one of its dtype that broadcasts with it, in either order."""
    y = m.like(shape_of(x), element_type(x), exact=m.chance(0.5))
    return (x, y) if m.chance(0.7) else (y, x)


def binary(m: Maker, cls: type[GraphOp]) -> object:
    return m.op(cls, *operands(m, m.pick(rule_of(cls))))


def compare(m: Maker, cls: type[GraphOp]) -> object:
    ordered = cls not in (graph.Eq, graph.Ne)
    return m.op(cls, *operands(m, m.pick(lambda d: arithmetic(d) or (d == i1 and not ordered))))


def divide(m: Maker, cls: type[GraphOp]) -> object:
    """Integers are divided by numbers other than 0, and MIN never by −1."""
    x = m.pick(arithmetic)
    dtype = element_type(x)
    if dtype.is_float:
        return m.op(cls, *operands(m, x))

    def divisors() -> np.ndarray:
        _, high = dtype.integer_range
        return np.asarray(m.rng.integers(1, min(high, 9) + 1, concrete)).astype(dtype.np)

    shape = shape_of(x) if m.chance(0.5) else ()
    concrete = m.array(x).shape if shape else ()
    return m.op(cls, x, m.like(shape, dtype, values=divisors))


def shift(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: d.is_integer and arithmetic(d))
    dtype = element_type(x)

    def amounts() -> np.ndarray:
        return np.asarray(m.rng.integers(0, dtype.bits + 2, m.array(x).shape)).astype(dtype.np)

    return m.op(cls, x, m.like(shape_of(x), dtype, values=amounts))


def power(m: Maker, cls: type[GraphOp]) -> object:
    """Any base to a small constant, or a positive base to anything small."""
    x = m.pick(arithmetic)
    dtype = element_type(x)
    if m.chance(0.6):
        exponent = m.choose((0, 1, 2, 3) if dtype.is_integer else (0, 1, 2, 3, -1, 0.5, -0.5, 1.5))
        if exponent in (0.5, -0.5):  # a root: it differs at −0 and −∞
            value = m.array(x).astype(np.float64)
            m.need(bool((value != 0).all() and not np.isneginf(value).any()))
        return m.op(cls, x, m.constant(exponent, dtype))
    m.need(dtype.is_float)
    m.need(bool(np.all(m.array(x) > 0)))
    exponents = np.clip(draw_values(m.rng, m.array(x).shape, dtype).astype(np.float32), -3, 3)
    return m.op(cls, x, m.fresh(shape_of(x), dtype, exponents.astype(dtype.np)))


def select(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick()
    condition = m.like(shape_of(x), i1, exact=m.chance(0.5))
    return m.op(cls, condition, *operands(m, x))


def cast(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: d.kind != "complex")
    source, to = element_type(x), m.choose([d for d in DTYPES if d.kind != "complex"])
    params = {}
    if to.name.startswith("f8"):
        params["saturate"] = m.chance(0.8)
    if source.is_float and to.is_integer:
        value, (low, high) = m.array(x).astype(np.float64), to.integer_range
        fits = np.isfinite(value) & (np.trunc(value) >= low) & (np.trunc(value) < high)
        if not fits.all():
            raise Misfit  # what a conversion gives out of range is the processor's choice
    return m.op(cls, x, to=to, **params)


def bitcast(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: d.bits >= 8 and d != i1 and d.kind != "complex")
    bits = element_type(x).bits
    same = [d for d in DTYPES if d.bits == bits and d != i1 and arithmetic(d)]
    to = m.choose(same)
    if to.is_float and not element_type(x).is_float:
        made = np.ascontiguousarray(m.array(x)).view(to.np)
        m.need(bool(np.isfinite(made.astype(np.float64)).all()))
    return m.op(cls, x, to=to)
