"""LSTM, GRU and plain recurrent layers as loops: one step in the IR, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from aicc.frontends.recurrence import Step, run_steps
from aicc.frontends.torch.context import CallContext
from aicc.frontends.torch.table import aten
from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.types import rank_of, shape_of


@dataclass
class Weights:
    """One layer's weights in one direction: for inputs, for the state, biases, a projection."""

    inputs: SSAValue
    state: SSAValue
    input_bias: SSAValue | None
    state_bias: SSAValue | None
    projection: SSAValue | None


Cell = Callable[[GraphBuilder, Weights], tuple[SSAValue | None, Step]]
"""What is added to each step's input, whatever the state, and the step."""


def _add(b: GraphBuilder, x: SSAValue, y: SSAValue | None) -> SSAValue:
    return x if y is None else b.emit(graph.Add, x, y)


def _split(b: GraphBuilder, x: SSAValue, n: int) -> list[SSAValue]:
    axis = rank_of(x) - 1
    size = shape_of(x)[axis]
    assert isinstance(size, int)
    size //= n
    return [b.slice(x, axis, i * size, (i + 1) * size) for i in range(n)]


def _both(b: GraphBuilder, w: Weights) -> SSAValue | None:
    return None if w.input_bias is None else _add(b, w.input_bias, w.state_bias)


def _lstm(b: GraphBuilder, w: Weights) -> tuple[SSAValue | None, Step]:
    state = b.transpose(w.state, [1, 0])
    projection = None if w.projection is None else b.transpose(w.projection, [1, 0])

    def step(b: GraphBuilder, now: SSAValue, old: list[SSAValue]) -> list[SSAValue]:
        gates = b.emit(graph.Add, now, b.emit(graph.MatMul, old[0], state))
        i, f, g, o = _split(b, gates, 4)
        i, f, o = (b.emit(graph.Sigmoid, x) for x in (i, f, o))
        kept = b.emit(graph.Mul, f, old[1])
        cell = b.emit(graph.Add, kept, b.emit(graph.Mul, i, b.emit(graph.Tanh, g)))
        hidden = b.emit(graph.Mul, o, b.emit(graph.Tanh, cell))
        if projection is not None:
            hidden = b.emit(graph.MatMul, hidden, projection)
        return [hidden, cell]

    return _both(b, w), step


def _gru(b: GraphBuilder, w: Weights) -> tuple[SSAValue | None, Step]:
    state = b.transpose(w.state, [1, 0])

    def step(b: GraphBuilder, now: SSAValue, old: list[SSAValue]) -> list[SSAValue]:
        by_state = _add(b, b.emit(graph.MatMul, old[0], state), w.state_bias)
        (r, z, n), (hr, hz, hn) = _split(b, now, 3), _split(b, by_state, 3)
        r = b.emit(graph.Sigmoid, b.emit(graph.Add, r, hr))
        z = b.emit(graph.Sigmoid, b.emit(graph.Add, z, hz))
        n = b.emit(graph.Tanh, b.emit(graph.Add, n, b.emit(graph.Mul, r, hn)))
        gap = b.emit(graph.Sub, old[0], n)
        return [b.emit(graph.Add, n, b.emit(graph.Mul, z, gap))]

    return w.input_bias, step


def _plain(activation: type[graph.Tanh] | type[graph.Relu]) -> Cell:
    def cell(b: GraphBuilder, w: Weights) -> tuple[SSAValue | None, Step]:
        state = b.transpose(w.state, [1, 0])

        def step(b: GraphBuilder, now: SSAValue, old: list[SSAValue]) -> list[SSAValue]:
            total = b.emit(graph.Add, now, b.emit(graph.MatMul, old[0], state))
            return [b.emit(activation, total)]

        return _both(b, w), step

    return cell


def _layers(
    c: CallContext,
    cell: Cell,
    x: SSAValue,
    states: Sequence[SSAValue],
    params: Sequence[SSAValue],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
):
    """The sequence of the last layer, and the final states [layers · directions, N, H]."""
    if rank_of(x) != 3 or (train and dropout):
        return NotImplemented
    b, directions = c.b, 2 if bidirectional else 1
    each = len(params) // (layers * directions)
    finals: list[list[SSAValue]] = [[] for _ in states]
    if batch_first:
        x = b.transpose(x, [1, 0, 2])
    for layer in range(layers):
        found = []
        for d in range(directions):
            n = layer * directions + d
            weights = _weights(params[n * each : (n + 1) * each], has_biases)
            bias, step = cell(b, weights)
            inputs = b.emit(graph.MatMul, x, b.transpose(weights.inputs, [1, 0]))
            first = [b.squeeze(b.slice(s, 0, n, n + 1), [0]) for s in states]
            sequence, last = run_steps(b, _add(b, inputs, bias), first, step, reverse=d == 1)
            found.append(sequence)
            for kept, state in zip(finals, last, strict=True):
                kept.append(b.unsqueeze(state, [0]))
        x = b.emit(graph.Concat, found, axis=2) if len(found) > 1 else found[0]
    if batch_first:
        x = b.transpose(x, [1, 0, 2])
    joined = [b.emit(graph.Concat, f, axis=0) if len(f) > 1 else f[0] for f in finals]
    return [x, *joined]


def _weights(params: Sequence[SSAValue], has_biases: bool) -> Weights:
    inputs, state, *rest = params
    biases = (rest[0], rest[1]) if has_biases else (None, None)
    projection = rest[2:] if has_biases else rest
    return Weights(inputs, state, *biases, projection[0] if projection else None)


@aten("lstm.input")
def lstm(c: CallContext, x: SSAValue, states: Sequence[SSAValue], params: Sequence, *rest):
    return _layers(c, _lstm, x, states, params, *rest)


@aten("gru.input")
def gru(c: CallContext, x: SSAValue, state: SSAValue, params: Sequence, *rest):
    return _layers(c, _gru, x, [state], params, *rest)


@aten("rnn_tanh.input")
def rnn_tanh(c: CallContext, x: SSAValue, state: SSAValue, params: Sequence, *rest):
    return _layers(c, _plain(graph.Tanh), x, [state], params, *rest)


@aten("rnn_relu.input")
def rnn_relu(c: CallContext, x: SSAValue, state: SSAValue, params: Sequence, *rest):
    return _layers(c, _plain(graph.Relu), x, [state], params, *rest)
