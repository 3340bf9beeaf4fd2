"""Measures kernels on the GPU that is there: schedules in turns, the L2 cache emptied."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

from aicc.backends.plain_products import is_plain_product
from aicc.backends.triton.tensors import device_chip
from aicc.backends.triton.text import kernel_name, torch_name
from aicc.ir import tile
from aicc.ir.symbols import evaluate
from aicc.ir.types import TYPICAL_DIM, symbols_of

WARM, ROUNDS = 3, 20

CACHE = 256 << 20
"""Bytes written to empty the L2 cache: more than any has."""


def measure(
    module: ModuleType, kernel: tile.Kernel, schedules: Sequence[Mapping[str, int]]
) -> list[float]:
    """Median seconds of a kernel of the printed `module` for each schedule, inf where it fails.

    Raises RuntimeError without a GPU.
    """
    buffers, sizes = arguments(kernel)
    function = getattr(module, kernel_name(kernel))

    def launcher(schedule: Mapping[str, int]) -> Callable[[], Any]:
        programs = 1
        for d in kernel.grid:
            programs *= evaluate(d, {**sizes, **schedule})
        args = [*buffers, *(sizes[s] for s in kernel.sizes)]
        return lambda: function[(programs,)](*args, **schedule)

    return in_turns([launcher(s) for s in schedules])


def measure_library(kernel: tile.Kernel) -> dict[str, float]:
    """Median seconds of the library calls that do what the kernel does, by name."""
    if not is_plain_product(kernel):
        return {}
    (a, b, out), _ = arguments(kernel)
    return {"torch.mm": in_turns([lambda: torch.mm(a, b, out=out)])[0]}


def arguments(kernel: tile.Kernel) -> tuple[list[torch.Tensor], dict[str, int]]:
    """Random buffers on the GPU and the sizes that they have."""
    if device_chip() is None:
        raise RuntimeError("there is no GPU to measure on: the model's choice of schedules stands")
    sizes = dict.fromkeys(kernel.sizes, TYPICAL_DIM)
    buffers = []
    for arg in kernel.body.block.args:
        assert isinstance(arg.type, tile.BufferType)
        known = {s: sizes.setdefault(s, TYPICAL_DIM) for s in symbols_of(arg.type.shape)}
        shape = [evaluate(d, known) for d in arg.type.shape if d is not None]
        dtype = getattr(torch, torch_name(arg.type.dtype).removeprefix("torch."))
        made = torch.zeros(shape, dtype=dtype, device="cuda")
        buffers.append(made.normal_() if dtype.is_floating_point and dtype.itemsize > 1 else made)
    return buffers, sizes


def in_turns(runs: Sequence[Callable[[], Any]]) -> list[float]:
    """Median seconds of each, by CUDA events; what raises counts as infinite."""
    flush = torch.empty(CACHE, dtype=torch.uint8, device="cuda")
    seconds: list[list[float]] = [[] for _ in runs]
    alive = list(range(len(runs)))
    for turn in range(WARM + ROUNDS):
        for i in list(alive):
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            try:
                flush.zero_()
                first.record()
                runs[i]()
                last.record()
                torch.cuda.synchronize()
            except Exception:  # too many resources, or a compiler's bug: not a schedule to have
                alive.remove(i)
                seconds[i] = [float("inf")]
                continue
            if turn >= WARM:
                seconds[i].append(first.elapsed_time(last) / 1000)
    return [statistics.median(s) for s in seconds]
