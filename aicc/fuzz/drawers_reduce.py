"""Drawers of reductions, scans and sorts."""

from __future__ import annotations

import numpy as np

from aicc.fuzz.drawers_elementwise import arithmetic, rule_of
from aicc.fuzz.maker import Maker
from aicc.ir import graph
from aicc.ir.dtypes import i1
from aicc.ir.op import GraphOp


def reduce(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(rule_of(cls), 1)
    axes = m.axes(x)
    shape = m.array(x).shape
    if cls not in (graph.ReduceSum, graph.ReduceProd):
        m.need(all(shape[a] > 0 for a in axes))
    if m.chance(0.05):
        axes = []
    return m.op(cls, x, axes=axes, keepdims=m.chance(0.5))


def arg_reduce(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: arithmetic(d) or d == i1, 1)
    axis = m.axis(x)
    m.need(m.array(x).shape[axis] > 0)
    if cls in (graph.CumMax, graph.CumMin):
        return m.op(cls, x, axis=axis)
    return m.op(cls, x, axis=axis, keepdims=m.chance(0.5), select_last_index=m.chance(0.3))


def scan(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(rule_of(cls), 1)
    return m.op(cls, x, axis=m.axis(x), exclusive=m.chance(0.3), reverse=m.chance(0.3))


def sort(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(arithmetic, 1)
    return m.op(cls, x, axis=m.axis(x), descending=m.chance(0.5))


def top_k(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(arithmetic, 1)
    m.need(not np.isnan(m.array(x).astype(np.float64)).any())
    axis = m.axis(x)
    k = m.integer(0, min(m.array(x).shape[axis], 4))
    return m.op(cls, x, axis=axis, k=[k], largest=m.chance(0.5), sorted=True)


def unique(m: Maker, cls: type[GraphOp]) -> object:
    x = m.pick(lambda d: arithmetic(d) and not d.is_low_precision_float, 1)
    m.need(not np.isnan(m.array(x).astype(np.float64)).any() and m.array(x).size > 0)
    axis = None if m.chance(0.5) else m.axis(x)
    return m.op(cls, x, axis=axis, sorted=m.chance(0.7))
