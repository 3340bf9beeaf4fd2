"""RNN, LSTM and GRU as loops over time steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.errors import ImportError_
from aicc.frontends.onnx.table import onnx_op
from aicc.frontends.recurrence import Step, run_steps
from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.types import element_type, rank_of, shape_of

Activation = Callable[[GraphBuilder, SSAValue], SSAValue]


def _activation(name: str, alpha: float | None, beta: float | None) -> Activation:
    """The activations of ONNX's recurrent operators (names are case-insensitive)."""
    simple = {"sigmoid": graph.Sigmoid, "tanh": graph.Tanh, "relu": graph.Relu}
    key = name.lower()
    if key in simple:
        return lambda b, x: b.emit(simple[key], x)

    def scaled(b: GraphBuilder, x: SSAValue, factor: float) -> SSAValue:
        return b.emit(graph.Mul, x, b.scalar_like(factor, x))

    if key == "affine":
        return lambda b, x: b.emit(
            graph.Add, scaled(b, x, alpha or 1.0), b.scalar_like(beta or 0.0, x)
        )
    if key == "leakyrelu":
        return lambda b, x: b.emit(
            graph.Select,
            b.emit(graph.Lt, x, b.scalar_like(0, x)),
            scaled(b, x, 0.01 if alpha is None else alpha),
            x,
        )
    if key == "scaledtanh":
        return lambda b, x: scaled(
            b, b.emit(graph.Tanh, scaled(b, x, 1.0 if beta is None else beta)), alpha or 1.0
        )
    if key == "hardsigmoid":
        return lambda b, x: b.emit(
            graph.Min,
            b.emit(
                graph.Max,
                b.emit(
                    graph.Add,
                    scaled(b, x, 0.2 if alpha is None else alpha),
                    b.scalar_like(0.5 if beta is None else beta, x),
                ),
                b.scalar_like(0, x),
            ),
            b.scalar_like(1, x),
        )
    if key == "softsign":
        return lambda b, x: b.emit(
            graph.Div, x, b.emit(graph.Add, b.emit(graph.Abs, x), b.scalar_like(1, x))
        )
    if key == "softplus":
        return lambda b, x: b.emit(graph.Log1p, b.emit(graph.Exp, x))
    if key == "elu":
        return lambda b, x: b.emit(
            graph.Select,
            b.emit(graph.Lt, x, b.scalar_like(0, x)),
            scaled(b, b.emit(graph.Expm1, x), 1.0 if alpha is None else alpha),
            x,
        )
    raise ImportError_(f"unknown activation '{name}'")


class _Cell:
    """The parts that the three operators share: directions, layout, lengths, initial states."""

    def __init__(self, c: NodeContext, gates: int, activations: Sequence[str]):
        self.c = c
        if any(c.rank(i) != 3 for i in range(3)):
            raise ImportError_("X, W and R must have three dims")
        self.direction = c.attr("direction", "forward")
        self.directions = 2 if self.direction == "bidirectional" else 1
        hidden = c.attr("hidden_size", None) or shape_of(c[2])[-1]
        if not isinstance(hidden, int):
            raise ImportError_("the hidden size must be known")
        self.hidden: int = hidden
        self.batch_first = bool(c.attr("layout", 0))
        names = c.attr("activations", list(activations) * self.directions)
        alphas = list(c.attr("activation_alpha", []))
        betas = list(c.attr("activation_beta", []))
        made = []
        for name in names:
            uses_alpha = name.lower() in _WITH_ALPHA
            uses_beta = name.lower() in _WITH_BETA
            made.append(
                _activation(
                    name,
                    alphas.pop(0) if uses_alpha and alphas else None,
                    betas.pop(0) if uses_beta and betas else None,
                )
            )
        each = len(activations)
        self.activations = [made[i * each : (i + 1) * each] for i in range(self.directions)]
        self.gates = gates
        self.x = c[0]
        if self.batch_first:
            self.x = c.b.transpose(self.x, [1, 0, 2])
        self.clip = c.attr("clip", None)

    def part(self, i: int, d: int) -> SSAValue | None:
        """Direction d of input i."""
        if not self.c.has(i):
            return None
        return self.c.b.squeeze(self.c.b.slice(self.c[i], 0, d, d + 1), [0])

    def bias(self, d: int) -> tuple[SSAValue | None, SSAValue | None]:
        """The biases of the input and of the recurrence."""
        both = self.part(3, d)
        if both is None:
            return None, None
        n = self.gates * self.hidden
        b = self.c.b
        return b.slice(both, 0, 0, n), b.slice(both, 0, n, 2 * n)

    def initial(self, i: int, d: int) -> SSAValue:
        b = self.c.b
        if self.c.has(i):
            value = self.c[i]
            if self.batch_first:
                value = b.transpose(value, [1, 0, 2])
            return b.squeeze(b.slice(value, 0, d, d + 1), [0])
        batch = shape_of(self.x)[1]
        return b.full([batch, self.hidden], 0, element_type(self.x))

    def clipped(self, b: GraphBuilder, x: SSAValue) -> SSAValue:
        if self.clip is None:
            return x
        low = b.emit(graph.Max, x, b.scalar_like(-self.clip, x))
        return b.emit(graph.Min, low, b.scalar_like(self.clip, x))

    def split(self, b: GraphBuilder, x: SSAValue, n: int) -> list[SSAValue]:
        h = self.hidden
        return [b.slice(x, rank_of(x) - 1, i * h, (i + 1) * h) for i in range(n)]

    def run(self, d: int, projected: SSAValue, states: list[SSAValue], step: Step):
        """One direction: the hidden state at each step, and the final states."""
        reverse = self.direction == "reverse" or d == 1
        lengths = self.c[4] if self.c.has(4) else None
        return run_steps(self.c.b, projected, states, step, reverse, lengths)

    def outputs(self, sequences: list[SSAValue], finals: list[list[SSAValue]]) -> list[SSAValue]:
        """Y[T, D, N, H] and the final states [D, N, H], or batch first."""
        b = self.c.b

        def join(parts: list[SSAValue], axis: int) -> SSAValue:
            wide = [b.unsqueeze(p, [axis]) for p in parts]
            return b.emit(graph.Concat, wide, axis=axis) if len(wide) > 1 else wide[0]

        y = join(sequences, 1)
        states = [join([f[k] for f in finals], 0) for k in range(len(finals[0]))]
        if self.batch_first:
            y = b.transpose(y, [2, 0, 1, 3])
            states = [b.transpose(s, [1, 0, 2]) for s in states]
        return [y, *states]

    def project(self, d: int) -> tuple[SSAValue, SSAValue, SSAValue | None]:
        """x Wᵀ + bias for all steps at once; Rᵀ; the recurrence's bias."""
        b = self.c.b
        w, r = self.part(1, d), self.part(2, d)
        assert w is not None and r is not None
        bias, recurrent_bias = self.bias(d)
        x = b.emit(graph.MatMul, self.x, b.transpose(w, [1, 0]))
        if bias is not None:
            x = b.emit(graph.Add, x, bias)
        return x, b.transpose(r, [1, 0]), recurrent_bias


_WITH_ALPHA = frozenset({"affine", "leakyrelu", "scaledtanh", "hardsigmoid", "elu"})
_WITH_BETA = frozenset({"affine", "scaledtanh", "hardsigmoid"})


@onnx_op("RNN")
def rnn(c: NodeContext):
    cell = _Cell(c, 1, ["Tanh"])
    sequences, finals = [], []
    for d in range(cell.directions):
        x, r, rb = cell.project(d)
        (f,) = cell.activations[d]

        def step(b: GraphBuilder, now: SSAValue, old: list[SSAValue], r=r, rb=rb, f=f):
            total = b.emit(graph.Add, now, b.emit(graph.MatMul, old[0], r))
            total = total if rb is None else b.emit(graph.Add, total, rb)
            return [f(b, cell.clipped(b, total))]

        y, final = cell.run(d, x, [cell.initial(5, d)], step)
        sequences.append(y)
        finals.append(final)
    return cell.outputs(sequences, finals)


@onnx_op("LSTM")
def lstm(c: NodeContext):
    cell = _Cell(c, 4, ["Sigmoid", "Tanh", "Tanh"])
    coupled = bool(c.attr("input_forget", 0))
    sequences, finals = [], []
    for d in range(cell.directions):
        x, r, rb = cell.project(d)
        f, g, h = cell.activations[d]
        peephole = cell.part(7, d)

        def step(
            b: GraphBuilder, now: SSAValue, old: list[SSAValue], r=r, rb=rb, f=f, g=g, h=h,
            peephole=peephole,
        ):  # fmt: skip
            total = b.emit(graph.Add, now, b.emit(graph.MatMul, old[0], r))
            total = total if rb is None else b.emit(graph.Add, total, rb)
            i, o, forget, candidate = cell.split(b, total, 4)
            p = cell.split(b, peephole, 3) if peephole is not None else None

            def peek(gate: SSAValue, k: int, state: SSAValue) -> SSAValue:
                if p is None:
                    return gate
                return b.emit(graph.Add, gate, b.emit(graph.Mul, p[k], state))

            i = f(b, cell.clipped(b, peek(i, 0, old[1])))
            if coupled:
                forget = b.emit(graph.Sub, b.scalar_like(1, i), i)
            else:
                forget = f(b, cell.clipped(b, peek(forget, 2, old[1])))
            candidate = g(b, cell.clipped(b, candidate))
            state = b.emit(
                graph.Add,
                b.emit(graph.Mul, forget, old[1]),
                b.emit(graph.Mul, i, candidate),
            )
            o = f(b, cell.clipped(b, peek(o, 1, state)))
            return [b.emit(graph.Mul, o, h(b, state)), state]

        y, final = cell.run(d, x, [cell.initial(5, d), cell.initial(6, d)], step)
        sequences.append(y)
        finals.append(final)
    return cell.outputs(sequences, finals)


@onnx_op("GRU")
def gru(c: NodeContext):
    cell = _Cell(c, 3, ["Sigmoid", "Tanh"])
    after = bool(c.attr("linear_before_reset", 0))
    sequences, finals = [], []
    for d in range(cell.directions):
        x, r, rb = cell.project(d)
        f, g = cell.activations[d]

        def step(
            b: GraphBuilder, now: SSAValue, old: list[SSAValue], r=r, rb=rb, f=f, g=g
        ):  # fmt: skip
            n = cell.hidden
            xz, xr, xh = cell.split(b, now, 3)
            rz, rr, rh = (b.slice(r, 1, i * n, (i + 1) * n) for i in range(3))
            biases = cell.split(b, rb, 3) if rb is not None else [None] * 3

            def gate(a: SSAValue, weight: SSAValue, bias: SSAValue | None) -> SSAValue:
                total = b.emit(graph.Add, a, b.emit(graph.MatMul, old[0], weight))
                return total if bias is None else b.emit(graph.Add, total, bias)

            z = f(b, cell.clipped(b, gate(xz, rz, biases[0])))
            reset = f(b, cell.clipped(b, gate(xr, rr, biases[1])))
            if after:
                inner = b.emit(graph.MatMul, old[0], rh)
                if biases[2] is not None:
                    inner = b.emit(graph.Add, inner, biases[2])
                inner = b.emit(graph.Mul, reset, inner)
            else:
                inner = b.emit(graph.MatMul, b.emit(graph.Mul, reset, old[0]), rh)
                if biases[2] is not None:
                    inner = b.emit(graph.Add, inner, biases[2])
            candidate = g(b, cell.clipped(b, b.emit(graph.Add, xh, inner)))
            keep = b.emit(graph.Sub, b.scalar_like(1, z), z)
            return [
                b.emit(graph.Add, b.emit(graph.Mul, keep, candidate), b.emit(graph.Mul, z, old[0]))
            ]

        y, final = cell.run(d, x, [cell.initial(5, d)], step)
        sequences.append(y)
        finals.append(final)
    return cell.outputs(sequences, finals)
