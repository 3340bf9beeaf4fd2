"""Whether two results are the same up to rounding, without a tolerance that somebody guessed.

Floating point lets a compiler add in another order, and one result may then differ much where
numbers cancel, or wholly where a rounded number decides (floor, comparisons, sorts). So where an
element differs by more than a few units in the last place, the module is run again, many times,
with every rounded result moved by a random unit in its last place (Monte Carlo arithmetic: Parker,
Pierce and Eggert 2000). What those runs spread over is what rounding can do to that element. A
result outside of it is a miscompile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.ir import graph
from aicc.ir.dtypes import dtype_of
from aicc.ir.graph.roles import Role, role_of
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, shape_of

SUMS: frozenset[type[GraphOp]] = frozenset(
    {
        graph.ReduceSum,
        graph.ReduceMean,
        graph.ReduceProd,
        graph.CumSum,
        graph.CumProd,
        graph.MatMul,
        graph.Conv,
        graph.ConvTranspose,
        graph.ConvWeightGrad,
        graph.DeformConv,
        graph.Det,
        graph.WinogradInputTransform,
        graph.WinogradConv,
        graph.AvgPool,
        graph.AvgPoolGrad,
        graph.MaxPoolGrad,
        graph.Softmax,
        graph.LogSoftmax,
        graph.LayerNorm,
        graph.RMSNorm,
        graph.BatchNorm,
        graph.GroupNorm,
        graph.Attention,
        graph.AttentionWithLse,
        graph.AttentionBackwardQuery,
        graph.AttentionBackwardKeyValue,
        graph.Resize,
        graph.GridSample,
        graph.RoiAlign,
        graph.DFT,
        graph.ScatterElements,
        graph.ScatterND,
    }
)
"""Ops of many roundings: their operands are moved too, as another order would."""

EXACT: frozenset[type[GraphOp]] = frozenset(
    {
        graph.Abs,
        graph.Neg,
        graph.Sign,
        graph.Ceil,
        graph.Floor,
        graph.Round,
        graph.Trunc,
        graph.Relu,
        graph.Cast,
        graph.Bitcast,
        graph.Min,
        graph.Max,
        graph.Select,
        graph.Iota,
        graph.Reshape,
        graph.Expand,
        graph.Transpose,
        graph.Concat,
        graph.Slice,
        graph.Pad,
        graph.Gather,
        graph.GatherElements,
        graph.GatherND,
        graph.Unique,
        graph.TopK,
        graph.Sort,
        graph.ReduceMax,
        graph.ReduceMin,
        graph.CumMax,
        graph.CumMin,
        graph.MaxPool,
    }
)
"""Ops that round nothing."""

INNER: dict[type[GraphOp], Callable[[np.ndarray], np.ndarray]] = {
    graph.Gelu: np.abs,  # 1 + erf(x) is close to 0 left of 0
    graph.LogSoftmax: lambda x: np.maximum(np.abs(x), x.dtype.type(1)),  # log Σ, and Σ ≥ 1
}
"""Ops that cancel inside: how large the numbers are whose rounding counts, from their operand."""


def _largest_side(op: Any) -> float:
    return float(max((d for d in shape_of(op.input)[2:] if isinstance(d, int)), default=1))


PLACES: dict[type[GraphOp], tuple[int, Callable[[Any], float]]] = {
    graph.GridSample: (1, lambda op: 1.0),
    graph.DeformConv: (2, _largest_side),
    graph.RoiAlign: (1, lambda op: 1.0),
}
"""Ops that add to an operand what may be larger than it: which operand, and how large that is."""

SIGN_OF_ZERO: frozenset[type[GraphOp]] = frozenset(
    {
        graph.Mod,
        graph.Rem,
        graph.Max,
        graph.Min,
        graph.Relu,
        graph.Sign,
        graph.ReduceMax,
        graph.ReduceMin,
    }
)
"""Ops whose zeros may have either sign."""

RUNS = 12
"""Runs that most differences are judged by; those that they don't explain get `MORE_RUNS`."""
MORE_RUNS = 150

Kernel = Callable[..., Any]


class Observing(Protocol):
    """An evaluator that lets each op be watched, or changed."""

    def observed(
        self, module: ModuleOp, wrap: Callable[[GraphOp, Kernel], Kernel]
    ) -> Callable[..., list[np.ndarray]]: ...


def perturbed(
    evaluator: Observing, module: ModuleOp, rng: np.random.Generator, state: Overflow
) -> Callable[..., list[np.ndarray]]:
    """The module, with what ops round moved by up to two units in the last place."""

    def wrap(op: GraphOp, kernel: Kernel) -> Kernel:
        kernel = _unrounded(op, kernel, rng)
        if type(op) in SIGN_OF_ZERO:
            return lambda *args, **kwargs: _unsigned_zeros(kernel(*args, **kwargs), rng)
        if type(op) in EXACT:
            return kernel
        shaken = type(op) in SUMS
        elementwise = role_of(op) is Role.POINTWISE

        def clamped(found: np.ndarray, given: Sequence[Any]) -> np.ndarray:
            return _moved(state.clamped(found, given, rng, elementwise), rng)

        def run(*args: Any, **kwargs: Any) -> Any:
            given = args
            inner = INNER.get(type(op))
            if shaken or inner is not None:
                state.large |= any(_is_large(a) for a in args)
            if shaken:
                args = tuple(a if a is None else _moved(a, rng) for a in args)
                if type(op) in PLACES:
                    at, least = PLACES[type(op)]
                    size = np.maximum(np.abs(args[at]), args[at].dtype.type(least(op)))
                    args = (*args[:at], args[at] + (_moved(size, rng) - size), *args[at + 1 :])
            found = kernel(*args, **kwargs)
            if shaken and not isinstance(found, tuple):
                found = _cancelled(np.asarray(found), kernel(*given, **kwargs), rng)
                found = _unsigned_zeros(found, rng)
            if inner is not None:
                size = inner(np.asarray(given[0]))
                found = found + (_moved(size, rng) - size)
            if isinstance(found, tuple):
                return tuple(clamped(f, given) for f in found)
            return clamped(np.asarray(found), given)

        return run

    return evaluator.observed(module, wrap)


def _unrounded(op: GraphOp, kernel: Kernel, rng: np.random.Generator) -> Kernel:
    """An elementwise op on floats of 16 bits that, every other time, were never rounded to them.

    A kernel keeps them in float32 from one op to the next.
    """
    if role_of(op) is not Role.POINTWISE or not op.operands or isinstance(op, _NOT_WIDE):
        return kernel
    dtype = element_type(op.operands[0])
    if not dtype.is_low_precision_float:
        return kernel

    def run(*args: Any, **kwargs: Any) -> Any:
        if rng.random() < 0.5:
            return kernel(*args, **kwargs)
        noise = (1 + rng.uniform(-0.5, 0.5, a.shape) * _eps(a.dtype) for a in args)
        wide = [np.asarray(a.astype(np.float32) * n) for a, n in zip(args, noise, strict=True)]
        found = kernel(*(w.astype(np.float32) for w in wide), **kwargs)
        return found if found.dtype == np.bool_ else found.astype(dtype.np)

    return run


_NOT_WIDE = (graph.Cast, graph.Select, graph.Pow, graph.Iota)
"""Elementwise ops whose operands differ in dtype, or have none."""


def _unsigned_zeros(x: Any, rng: np.random.Generator) -> Any:
    """Zeros with a random sign."""
    if not isinstance(x, np.ndarray) or not _is_float(x):
        return x
    return np.where((x == 0) & (rng.random(x.shape) < 0.5), -x, x)


def _cancelled(x: np.ndarray, exact: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Now and then 0, where what is left of a sum is no more than rounding: it may be just that."""
    if not _is_float(x):
        return x
    with np.errstate(all="ignore"):
        noise = np.abs(_wide(x) - _wide(exact)) > 0.02 * np.abs(_wide(exact))
    return np.where(noise & (rng.random(x.shape) < 0.25), np.zeros((), x.dtype), x)


@dataclass
class Overflow:
    """Whether numbers came so close to the largest that an order of additions decides."""

    large: bool = False

    def clamped(
        self, x: np.ndarray, operands: Sequence[Any], rng: np.random.Generator, elementwise: bool
    ) -> Any:
        """With a chance of a half, the largest number where 16 bits and fewer overflowed.

        A kernel that keeps numbers in float32 between two ops goes on with a finite one.
        """
        if not isinstance(x, np.ndarray) or not _is_float(x) or x.dtype.itemsize > 2:
            return x
        wide = x.astype(np.float32)
        overflowed = np.isinf(wide)
        for a in operands:
            if isinstance(a, np.ndarray):
                finite = np.isfinite(_wide(a))
                overflowed &= finite if elementwise else finite.all()
        if not overflowed.any():
            return x
        self.large = True
        if rng.random() < 0.5:
            return x
        largest = float(ml_dtypes.finfo(x.dtype).max)
        return np.where(overflowed, np.copysign(largest, wide), wide).astype(x.dtype)


def _is_large(x: Any) -> bool:
    """Whether products of the finite numbers in it, or sums of those, may overflow."""
    if not isinstance(x, np.ndarray) or not _is_float(x) or x.dtype.kind == "c" or x.size == 0:
        return False
    wide = np.abs(_wide(x))
    finite = wide[np.isfinite(wide)]
    return (
        bool(finite.size) and float(finite.max()) > float(ml_dtypes.finfo(x.dtype).max) ** 0.5 / 64
    )


def _is_float(x: np.ndarray) -> bool:
    return x.dtype.kind in "fc" or (x.dtype.kind == "V" and dtype_of(x.dtype).is_float)


def _eps(dtype: np.dtype) -> float:
    if dtype.kind == "c":
        return float(np.finfo(dtype).eps)
    return float(ml_dtypes.finfo(dtype).eps)


def _moved(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each float times 1 + u·eps for u in −2..2."""
    if not isinstance(x, np.ndarray) or not _is_float(x):
        return x
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    factor = 1 + rng.uniform(-2, 2, x.shape) * _eps(x.dtype)
    with np.errstate(all="ignore"):
        exact = x.astype(wide) * factor
        if x.dtype.itemsize <= 2:  # kernels may keep what is too small for the type
            tiny = float(ml_dtypes.finfo(x.dtype).smallest_subnormal)
            exact = exact + rng.uniform(-1, 1, x.shape) * tiny
        moved = exact.astype(x.dtype)
    lost = ~np.isfinite(moved.astype(wide)) & np.isfinite(x.astype(wide))
    return np.where(lost, x, moved)


def differences(
    evaluator: Observing,
    module: ModuleOp,
    inputs: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    seed: int = 0,
) -> list[str]:
    """What in `found` rounding doesn't explain, one line for each output; empty if all is well.

    `wanted` is what `module` gives for `inputs` by `evaluator`.
    """
    if len(wanted) != len(found):
        return [f"{len(found)} outputs instead of {len(wanted)}"]
    suspects = [i for i, (w, f) in enumerate(zip(wanted, found, strict=True)) if not _equal(w, f)]
    said: list[str] = []
    for i in suspects:
        if wanted[i].dtype != found[i].dtype:
            said.append(f"output {i} is {found[i].dtype} instead of {wanted[i].dtype}")
    if said or not suspects:
        return said
    rng = np.random.default_rng(seed)
    runs: list[list[np.ndarray]] = []
    state = Overflow()
    for count in (RUNS, MORE_RUNS):
        run = perturbed(evaluator, module, rng, state)
        for _ in range(count):
            try:
                runs.append(run(*inputs))
            except (RuntimeError, ValueError):  # an index that rounding took out of range
                return []
        said = [
            line
            for i in suspects
            if (line := _outside(i, wanted[i], found[i], [r[i] for r in runs], state.large))
            is not None
        ]
        if not said:
            return []
        if any(
            _outside(i, wanted[i], found[i], [r[i] for r in runs], state.large, 50)
            for i in suspects
        ):
            break  # far outside: more runs would tell nothing new
    return said


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to a few units in the last place of each element."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if not _is_float(a):
        return bool(np.array_equal(a, b))
    x, y = _wide(a), _wide(b)
    with np.errstate(all="ignore"):
        close = (
            (x == y)
            | (np.isnan(x) & np.isnan(y))
            | (np.abs(x - y) <= 4 * _eps(a.dtype) * np.abs(x))
        )
    return bool(close.all())


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) if _is_float(x) else x


def _outside(
    index: int,
    wanted: np.ndarray,
    found: np.ndarray,
    runs: Sequence[np.ndarray],
    large: bool,
    slack: float = 1,
) -> str | None:
    """How a result lies outside of what rounding gives; None if it doesn't."""
    if any(r.shape != wanted.shape for r in runs):
        return None  # rounding decides even the shape
    if wanted.shape != found.shape:
        return f"output {index} has shape {list(found.shape)} instead of {list(wanted.shape)}"
    stack = np.stack([wanted, *runs])
    if stack.dtype.kind == "c":
        parts = [
            _outside(index, p(wanted), p(found), [p(r) for r in runs], large, slack)
            for p in (np.real, np.imag)
        ]
        return parts[0] or parts[1]
    if not _is_float(stack):
        unstable = (stack != stack[0]).any(0) | large
        bad = (wanted != found) & ~unstable
        return _described(index, wanted, found, bad)
    wide, have = _wide(stack), _wide(found)
    eps, largest = _eps(wanted.dtype), float(ml_dtypes.finfo(wanted.dtype).max)
    with np.errstate(all="ignore"):
        finite = np.isfinite(wide)
        low = np.where(finite, wide, np.inf).min(0)
        high = np.where(finite, wide, -np.inf).max(0)
        room = slack * (2 * (high - low) + 8 * eps * np.maximum(np.abs(low), np.abs(high)))
        tiny = 4 * float(ml_dtypes.finfo(wanted.dtype).smallest_normal)
        fine = (have >= low - room - tiny) & (have <= high + room + tiny)
        fine |= np.isnan(have) & np.isnan(wide).any(0)
        fine |= (have == np.inf) & ((wide == np.inf).any(0) | (high + room > largest / 2))
        fine |= (have == -np.inf) & ((wide == -np.inf).any(0) | (low - room < -largest / 2))
        fine |= _at_a_pole(wide) & (np.abs(have) >= np.maximum(np.abs(low), np.abs(high)))
        if large:  # an overflow on the way, or none: anything may come of it
            fine |= ~finite.all(0) | ~np.isfinite(have)
    return _described(index, wanted, found, ~fine)


def _at_a_pole(runs: np.ndarray) -> np.ndarray:
    """Where runs lie on both sides of 0 with tails that no rounding of a regular point has.

    Around a pole (of tan at π/2, of 1/x at 0) results spread as a Cauchy distribution's, and how
    near to the pole a number comes is chance: of the numbers farther out than any run, all may be.
    """
    size = np.abs(runs)
    heavy = size.max(0) > 16 * np.median(size, axis=0)
    return heavy & (runs.min(0) < 0) & (runs.max(0) > 0) & (len(runs) > RUNS + 1)


def _described(index: int, wanted: np.ndarray, found: np.ndarray, bad: np.ndarray) -> str | None:
    if not bad.any():
        return None
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    return (
        f"output {index}: {int(bad.sum())} of {bad.size} elements are wrong, first at "
        f"{list(where)}: {found[where]} instead of {wanted[where]}"
    )
