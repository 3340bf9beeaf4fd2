"""Random torch modules: what is imported is compared with eager mode, then fuzzed as graphs are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from aicc.backends.interop import from_torch
from aicc.compare import differences
from aicc.frontends.torch import TorchImportError, import_torch
from aicc.fuzz.maker import Case

Step = Callable[[torch.Tensor], torch.Tensor]
Draw = Callable[[np.random.Generator, torch.Tensor], Step | None]
"""Given a tensor that is like the one to come, an op on it; None where none fits."""


def _dim(rng: np.random.Generator, x: torch.Tensor) -> int:
    return int(rng.integers(-x.ndim, x.ndim)) if x.ndim else 0


def _plain(*functions: Step) -> Draw:
    return lambda rng, x: functions[int(rng.integers(len(functions)))]


def _along(function: Callable[..., torch.Tensor], **more: Any) -> Draw:
    def draw(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
        if x.ndim == 0:
            return None
        dim = _dim(rng, x)
        return lambda v: function(v, dim=dim, **more)

    return draw


def _reduce(function: Callable[..., torch.Tensor]) -> Draw:
    def draw(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
        if x.ndim == 0:
            return None
        dim, keep = _dim(rng, x), bool(rng.random() < 0.5)
        return lambda v: function(v, dim=dim, keepdim=keep)

    return draw


def _slice(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim == 0:
        return None
    dim = _dim(rng, x)
    size = x.shape[dim]
    start = int(rng.integers(0, size))
    stop, step = int(rng.integers(start, size)) + 1, int(rng.integers(1, 3))
    index = [slice(None)] * x.ndim
    index[dim] = slice(start, stop, step)
    return lambda v: v[tuple(index)]


def _permute(rng: np.random.Generator, x: torch.Tensor) -> Step:
    order = rng.permutation(x.ndim).tolist()
    return lambda v: v.permute(order)


def _reshape(rng: np.random.Generator, x: torch.Tensor) -> Step:
    kind = int(rng.integers(4))
    if kind == 0:
        return lambda v: v.reshape(-1)
    if kind == 1 or x.ndim < 2:
        at = int(rng.integers(0, x.ndim + 1))
        return lambda v: v.unsqueeze(at)
    return lambda v: v.flatten(0, 1) if kind == 2 else v.flatten(-2)


def _roll(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim == 0:
        return None
    dim, by = _dim(rng, x), int(rng.integers(-3, 4))
    return lambda v: torch.roll(v, by, dim)


def _pad(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim == 0:
        return None
    sizes = [int(n) for n in rng.integers(-1 if x.shape[-1] > 2 else 0, 3, 2)]
    return lambda v: F.pad(v, sizes, value=0.5)


def _linear(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim == 0:
        return None
    layer = torch.nn.Linear(x.shape[-1], int(rng.integers(1, 9)), bias=bool(rng.random() < 0.7))
    return layer.eval()


def _conv(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim not in (3, 4) or min(x.shape[2:]) < 1:
        return None
    kernel, stride, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3)), 1
    if rng.random() < 0.3:
        groups = x.shape[1]
    kind = torch.nn.Conv1d if x.ndim == 3 else torch.nn.Conv2d
    out = groups * int(rng.integers(1, 4))
    return kind(x.shape[1], out, kernel, stride, padding=kernel // 2, groups=groups).eval()


def _pool(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim != 4 or min(x.shape[2:]) < 2:
        return None
    if rng.random() < 0.5:
        return lambda v: F.max_pool2d(v, 2, stride=1)
    if rng.random() < 0.5:
        return lambda v: F.adaptive_avg_pool2d(v, 1)
    return lambda v: F.avg_pool2d(v, 2, ceil_mode=True)


def _norm(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim < 2:
        return None
    if rng.random() < 0.5 or x.shape[1] < 1:
        return torch.nn.LayerNorm(x.shape[-1]).eval()
    return torch.nn.GroupNorm(1, x.shape[1]).eval() if x.ndim > 2 else None


def _attention(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim != 4:
        return None
    causal = bool(rng.random() < 0.5)
    return lambda v: F.scaled_dot_product_attention(v, v, v, is_causal=causal)


def _where(rng: np.random.Generator, x: torch.Tensor) -> Step:
    bound = float(rng.normal())
    return lambda v: torch.where(v > bound, v, -v)


def _top(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim == 0:
        return None
    dim = _dim(rng, x)
    k = int(rng.integers(1, x.shape[dim] + 1))
    return lambda v: torch.topk(v, k, dim=dim).values


def _index(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim == 0:
        return None
    dim = _dim(rng, x)
    picks = torch.from_numpy(rng.integers(0, x.shape[dim], 3))
    return lambda v: torch.index_select(v, dim, picks)


def _resize(rng: np.random.Generator, x: torch.Tensor) -> Step | None:
    if x.ndim != 4:
        return None
    mode = ("nearest", "bilinear")[int(rng.integers(2))]
    return lambda v: F.interpolate(v, scale_factor=2.0, mode=mode)


STEPS: tuple[Draw, ...] = (
    _plain(torch.relu, torch.tanh, torch.sigmoid, F.gelu, F.silu, F.softplus, F.elu, F.mish),
    _plain(F.leaky_relu, F.hardtanh, F.hardswish, F.logsigmoid, F.softsign, F.relu6, F.selu),
    _plain(torch.sin, torch.cos, torch.abs, torch.neg, torch.erf, torch.square, torch.atan),
    _plain(torch.floor, torch.ceil, torch.round, torch.sign, torch.frac, torch.trunc),
    _plain(lambda v: v.abs().sqrt(), lambda v: (v.abs() + 0.1).rsqrt(), lambda v: v.abs().log1p()),
    _plain(lambda v: v.clamp(-1, 1), lambda v: v * 2 + 1, lambda v: 1 / (v.abs() + 1)),
    _plain(lambda v: v**3, lambda v: v.half().float(), lambda v: v.bfloat16().float()),
    _plain(lambda v: v + v.mean(), lambda v: v - v.amax(), lambda v: v * torch.ones_like(v)),
    _plain(lambda v: v.to(torch.float64).sum(-1).float() if v.ndim else v),
    _along(torch.softmax),
    _along(torch.log_softmax),
    _along(torch.cumsum),
    _along(F.normalize),
    _along(lambda v, dim: torch.flip(v, [dim])),
    _along(lambda v, dim: torch.sort(v, dim=dim).values),
    _along(lambda v, dim: torch.cat([v, v.tanh()], dim)),
    _along(lambda v, dim: torch.stack([v, v + 1], dim)),
    _along(lambda v, dim: torch.logsumexp(v, dim)),
    _along(lambda v, dim: torch.argmax(v, dim).float()),
    _along(lambda v, dim: v.chunk(2, dim)[0]),
    _along(lambda v, dim: torch.gather(v, dim, torch.argsort(v, dim=dim, stable=True))),
    _reduce(torch.mean),
    _reduce(torch.sum),
    _reduce(torch.amax),
    _reduce(lambda v, dim, keepdim: torch.var(v, dim, correction=0, keepdim=keepdim)),
    _reduce(lambda v, dim, keepdim: torch.linalg.vector_norm(v, dim=dim, keepdim=keepdim)),
    _slice,
    _permute,
    _reshape,
    _roll,
    _pad,
    _linear,
    _conv,
    _pool,
    _norm,
    _attention,
    _where,
    _top,
    _index,
    _resize,
    _plain(lambda v: v @ v.transpose(-1, -2) if v.ndim >= 2 else v),
    _plain(lambda v: v.T if v.ndim == 2 else v),
    _plain(lambda v: torch.tril(v) if v.ndim >= 2 else v, lambda v: v.expand(2, *v.shape)),
)  # fmt: skip


class Drawn(torch.nn.Module):
    """Steps one after another; some results are added to those of the same shape before."""

    def __init__(self, steps: list[Step], joins: list[int | None]):
        super().__init__()
        self.steps = steps
        self.layers = torch.nn.ModuleList([s for s in steps if isinstance(s, torch.nn.Module)])
        self.joins = joins

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = [x]
        for step, join in zip(self.steps, self.joins, strict=True):
            made = step(values[-1])
            values.append(made if join is None else made + values[join])
        return values[-1], values[len(values) // 2]


def draw_module(seed: int) -> tuple[Drawn, torch.Tensor]:
    """A module and an input that it runs on."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    shape = [int(n) for n in rng.integers(1, 9, rng.integers(1, 5))]
    x = torch.from_numpy(rng.normal(0, 1, shape).astype(np.float32))
    steps: list[Step] = []
    joins: list[int | None] = []
    values = [x]
    with torch.no_grad():
        for _ in range(int(rng.integers(1, 9))):
            step = STEPS[int(rng.integers(len(STEPS)))](rng, values[-1])
            if step is None:
                continue
            made = step(values[-1])
            if made.numel() == 0 or made.numel() > 4096 or made.ndim > 5:
                continue
            same = [i for i, v in enumerate(values) if v.shape == made.shape]
            join = same[int(rng.integers(len(same)))] if same and rng.random() < 0.3 else None
            steps.append(step)
            joins.append(join)
            values.append(made if join is None else made + values[join])
    return Drawn(steps, joins).eval(), x


class Refused(Exception):
    """torch.export or the importer has no way for a module."""


def draw_torch_case(seed: int, reference: Any) -> tuple[Case, list[str]]:
    """A module's import with its input, and how its results differ from eager. Raises Refused."""
    model, x = draw_module(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = import_torch(model, (x,))
        except TorchImportError as e:
            raise Refused(str(e).splitlines()[0]) from e
        with torch.no_grad():
            eager = [np.array(from_torch(t)) for t in model(x)]
    inputs = [x.numpy()]
    outputs = reference.run(module, inputs)
    return Case(module, inputs, outputs), differences(reference, module, inputs, outputs, eager)
