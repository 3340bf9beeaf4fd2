"""Optimizers of the domain ai.onnx.preview.training."""

from __future__ import annotations

from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.table import onnx_op
from aicc.ir import graph
from aicc.ir.types import element_type

DOMAIN = "ai.onnx.preview.training"


def _groups(c: NodeContext, kinds: int) -> list[tuple[SSAValue, ...]]:
    """Inputs after rate and step count: all tensors of the first kind, then of the second, …"""
    n = (len(c) - 2) // kinds
    return [tuple(c[2 + k * n + i] for k in range(kinds)) for i in range(n)]


def _mul(c: NodeContext, a: SSAValue, b: SSAValue | float) -> SSAValue:
    return c.emit(graph.Mul, a, b if isinstance(b, SSAValue) else c.scalar(b, a))


def _add(c: NodeContext, a: SSAValue, b: SSAValue) -> SSAValue:
    return c.emit(graph.Add, a, b)


def _scalars(c: NodeContext, like: SSAValue) -> tuple[SSAValue, SSAValue]:
    """The learning rate and the step count as scalars of a tensor's dtype."""
    rate, step = (c.b.cast(c.b.reshape(c[i], []), element_type(like)) for i in (0, 1))
    return rate, step


@onnx_op("Adagrad", domain=DOMAIN)
def adagrad(c: NodeContext):
    xs, hs = [], []
    for x, g, h in _groups(c, 3):
        rate, step = _scalars(c, x)
        decay = _add(c, _mul(c, step, c.attr("decay_factor", 0.0)), c.scalar(1, x))
        rate = c.emit(graph.Div, rate, decay)
        g = _add(c, g, _mul(c, x, c.attr("norm_coefficient", 0.0)))
        h = _add(c, h, _mul(c, g, g))
        root = _add(c, c.emit(graph.Sqrt, h), c.scalar(c.attr("epsilon", 1e-6), x))
        xs.append(c.emit(graph.Sub, x, c.emit(graph.Div, _mul(c, g, rate), root)))
        hs.append(h)
    return xs + hs


@onnx_op("Adam", domain=DOMAIN)
def adam(c: NodeContext):
    alpha, beta = c.attr("alpha", 0.9), c.attr("beta", 0.999)
    xs, vs, hs = [], [], []
    for x, g, v, h in _groups(c, 4):
        rate, step = _scalars(c, x)
        g = _add(c, g, _mul(c, x, c.attr("norm_coefficient", 0.0)))
        v = _add(c, _mul(c, v, alpha), _mul(c, g, 1 - alpha))
        h = _add(c, _mul(c, h, beta), _mul(c, _mul(c, g, g), 1 - beta))
        root = _add(c, c.emit(graph.Sqrt, h), c.scalar(c.attr("epsilon", 1e-6), x))
        one = c.scalar(1, x)
        fix_b = c.emit(
            graph.Sqrt, c.emit(graph.Sub, one, c.emit(graph.Pow, c.scalar(beta, x), step))
        )
        fix_a = c.emit(graph.Sub, one, c.emit(graph.Pow, c.scalar(alpha, x), step))
        corrected = c.emit(graph.Div, _mul(c, rate, fix_b), fix_a)
        started = c.emit(graph.Gt, step, c.scalar(0, x))
        rate = c.emit(graph.Select, started, corrected, rate)
        new = c.emit(graph.Sub, x, c.emit(graph.Div, _mul(c, v, rate), root))
        post = c.attr("norm_coefficient_post", 0.0)
        xs.append(_mul(c, new, 1 - post) if post else new)
        vs.append(v)
        hs.append(h)
    return xs + vs + hs


@onnx_op("Momentum", domain=DOMAIN)
def momentum(c: NodeContext):
    alpha, beta = c.attr("alpha"), c.attr("beta")
    xs, vs = [], []
    for x, g, v in _groups(c, 3):
        rate, step = _scalars(c, x)
        g = _add(c, g, _mul(c, x, c.attr("norm_coefficient")))
        started = c.emit(graph.Gt, step, c.scalar(0, x))
        share = c.emit(graph.Select, started, c.scalar(beta, x), c.scalar(1, x))
        v = _add(c, _mul(c, v, alpha), _mul(c, g, share))
        move = v if c.attr("mode") == "standard" else _add(c, g, _mul(c, v, alpha))
        xs.append(c.emit(graph.Sub, x, _mul(c, move, rate)))
        vs.append(v)
    return xs + vs
