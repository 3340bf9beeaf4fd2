"""Measures schedules of kernels on the CPU that is there.

A schedule decides how constants are packed and which code is built, and what a kernel takes depends
on what the kernels before it left in the caches. So whole models are compiled, one for each rank of
schedules, and run in turns with the one that has the cost model's choice, kernel by kernel.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.api import CompiledModel, compile
from aicc.backends.cpp import blas
from aicc.backends.plain_products import is_plain_product
from aicc.bench import LaunchTime, watched
from aicc.ir import tile
from aicc.ir.dtypes import f32
from aicc.ir.tile.identity import kernel_key
from aicc.passes.schedule_cpu import ScheduleCpu
from aicc.pipeline import full_pipeline, parse_pipeline
from aicc.targets import backend
from aicc.tuning import Entry, Progress, Record
from aicc.verify import sample_inputs

ROUNDS, WARM = 9, 2
"""Calls that count, of each of two models in turns, and those before them."""

GAIN = 0.97
"""The part of its time at which a schedule replaces the cost model's choice: less is noise."""

Schedule = dict[str, int]
Seconds = dict[str, float]
"""Of each kernel in one call of a model."""


@dataclass(frozen=True)
class Choice:
    """A kernel before it is scheduled: what records know it by, and its schedules, best first.

    `is_plain` says that a library has a call for all that the kernel does.
    """

    key: tuple[str, str]
    schedules: list[Schedule]
    is_plain: bool = False


def tune_on_cpu(
    model: Any,
    inputs: Any = None,
    record: Record | None = None,
    best: int = 8,
    progress: Progress | None = None,
    **options: Any,
) -> list[tuple[str, Entry]]:
    """Measure for each kernel of a model the `best` schedules that the cost model ranks first.

    The record takes in the fastest; where it has all kernels, nothing is measured. `inputs` are
    those of `aicc.compile`, `options` too; models are run on random numbers. Gives the entries by
    kernels' names.
    """
    record = record if record is not None else Record()
    choices: dict[str, Choice] = {}
    passes = parse_pipeline(full_pipeline(backend("cpp").lowering))
    number, scheduling = next((i, p) for i, p in enumerate(passes) if isinstance(p, ScheduleCpu))

    def look(name: str, done: int, total: int, module: ModuleOp) -> None:
        if done == number:
            choices.update(choices_of(module, scheduling, best))

    def made(entries: Mapping[str, Entry]) -> CompiledModel:
        forced = Record(entries={choices[name].key: e for name, e in entries.items()})
        observer = None if choices else look
        return compile(model, inputs, target="cpp", tuning=forced, observer=observer, **options)

    first = made({})
    left = {n: c for n, c in choices.items() if c.key not in record.entries}
    rounds = list(variants(left))
    found: dict[str, Found] = {name: Found(name, choice) for name, choice in left.items()}
    for i, entries in enumerate(rounds):
        if progress is not None:
            progress(f"{len(entries)} kernels", i, len(rounds))
        before, after = in_turns(first, made(entries))
        for name in entries.keys() & before.keys():
            found[name].add(entries[name], before[name], after[name])
    for f in found.values():
        record.entries.setdefault(f.choice.key, f.entry())
    if record.path is not None and found:
        record.save()
    return [(name, record.entries[c.key]) for name, c in choices.items()]


class Found:
    """What was measured of a kernel, beside the schedule that the cost model ranks first."""

    def __init__(self, name: str, choice: Choice):
        self.name, self.choice = name, choice
        self.schedule, self.part, self.tried = choice.schedules[0], GAIN, 1
        self.seconds: list[float] = []
        self.called = 0.0

    def add(self, entry: Entry, before: float, after: float) -> None:
        self.seconds.append(before)
        part = after / max(before, 1e-9)
        if entry.library:
            self.called = part
            return
        self.tried += 1
        if part < self.part:
            self.schedule, self.part = entry.schedule, part

    def entry(self) -> Entry:
        """In seconds, as if all had been measured at once."""
        own = statistics.median(self.seconds) if self.seconds else 0.0
        kept = own * self.part if self.part < GAIN else own
        library = {blas.CALL: own * self.called} if self.called else {}
        return Entry(self.name, self.schedule, kept, self.tried, library)


def choices_of(module: ModuleOp, scheduling: ScheduleCpu, best: int) -> dict[str, Choice]:
    """By name the kernels of a module that have a choice."""
    found = {}
    for kernel, schedules in scheduling.choices(module):
        plain = is_plain_product(kernel) and is_f32(kernel)
        if len(schedules) > 1 or plain:
            key = kernel_key(kernel), scheduling.chip
            found[kernel.sym_name] = Choice(key, schedules[:best], plain)
    return found


def is_f32(kernel: tile.Kernel) -> bool:
    types = [arg.type for arg in kernel.body.block.args]
    return all(isinstance(t, tile.BufferType) and t.dtype == f32 for t in types)


def variants(choices: Mapping[str, Choice]) -> Sequence[dict[str, Entry]]:
    """What models are compiled with: all second schedules, all third, …, and a library's calls."""
    most = max((len(c.schedules) for c in choices.values()), default=0)
    found = [
        {
            name: Entry(name, c.schedules[i], 0.0, 1)
            for name, c in choices.items()
            if i < len(c.schedules)
        }
        for i in range(1, most)
    ]
    called = {
        name: Entry(name, c.schedules[0], 1.0, 1, {blas.CALL: 0.0})
        for name, c in choices.items()
        if c.is_plain and blas.library_path() is not None
    }
    return [*found, *([called] if called else [])]


def in_turns(*models: CompiledModel) -> list[Seconds]:
    """Median seconds of each kernel in a call of each model, on the same numbers."""
    arrays = sample_inputs(models[0].module)
    runs = [timed_kernels(m) for m in models]
    calls: list[list[Seconds]] = [[] for _ in models]
    for turn in range(WARM + ROUNDS):
        for run, found in zip(runs, calls, strict=True):
            seconds = run(arrays)
            if turn >= WARM:
                found.append(seconds)
    return [{n: statistics.median(c[n] for c in found) for n in found[0]} for found in calls]


def timed_kernels(compiled: CompiledModel) -> Callable[[Sequence[np.ndarray]], Seconds]:
    """A call of a model that gives how long each kernel took in it."""
    log: list[LaunchTime] = []
    host = watched(compiled, log)

    def call(arrays: Sequence[np.ndarray]) -> Seconds:
        log.clear()
        host(*arrays)
        found: Seconds = defaultdict(float)
        for name, _, seconds, _ in log:
            found[name] += seconds
        return found

    return call
