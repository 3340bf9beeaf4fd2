"""How long a kernel takes with a schedule: a model of one chip, from the kernel's own ops.

Each program's loads, dots and arithmetic are counted from the tiles that it works on, loops times
their trips. A core runs as many programs at once as registers and shared memory admit; a program
alone waits for its loads at each trip, unless stages hide them; and all together move the kernel's
bytes through device memory once. The model ranks schedules, it doesn't predict seconds: waves,
occupancy, cache traffic and the memory roof are in it, bank conflicts and instruction issue aren't.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from xdsl.dialects import scf
from xdsl.ir import Block, SSAValue

from aicc.ir import tile
from aicc.ir.chips import Chip
from aicc.ir.dtypes import dtype_of
from aicc.ir.symbols import Dim, ceildiv, total
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import tile_element, tile_shape
from aicc.ir.types import TYPICAL_DIM, typical

LATENCY = 700.0
"""Clocks from a load to its data, from device memory."""

TRIP = 24.0
"""Clocks that a trip of a loop costs beside its work: addresses, waiting, the jump."""

SMALL_TILE = 0.6
"""The part of the matrix units' rate that tiles too small for the widest instruction reach."""

FIXED_REGISTERS, SAFE_REGISTERS = 40, 200
"""What a thread has for itself, and what it may take before it may have to spill."""

FINDING = 10
"""Registers for an element whose place takes divisions: its coordinates, masks and address."""

LAUNCH = 2e-6
"""Seconds that a kernel takes to start."""

COSTLY = ("exp", "exp2", "expm1", "log", "log2", "log1p", "tanh", "erf", "sin", "cos", "powf")
"""Functions of `math` that take about `COSTLY_STEPS` operations."""

COSTLY_STEPS = 8

ELEMENTWISE = (tile.Reduce, tile.ArgReduce, tile.RemF, tile.Cmp, tile.Select)
"""Ops of the tile dialect that compute, beside those of `arith` and `math`."""


@dataclass(frozen=True)
class Work:
    """What one program does, as expressions over schedule parameters and sizes.

    `loaded` and `stored` bytes, `dots` operations by element type, `steps` operations on elements,
    `trips` of its longest loop; `staged` bytes of dot operands that a stage holds, `carried`
    elements that it takes through loops, `inside` and `outside` the most that it works on at once
    in loops and after them, `addresses` 32-bit
    numbers that say where its loops load from.
    """

    loaded: Dim
    stored: Dim
    dots: Mapping[str, Dim]
    steps: Dim
    trips: Dim
    staged: Dim
    carried: Dim
    inside: Dim
    outside: Dim
    addresses: Dim


def work_of(kernel: tile.Kernel) -> Work:
    """Count a kernel's ops."""
    loaded: Dim = 0
    stored: Dim = 0
    steps: Dim = 0
    staged: Dim = 0
    carried: Dim = 0
    addresses: Dim = 0
    trips: list[Dim] = [1]
    inside: list[Dim] = [0]
    outside: list[Dim] = [0]
    dots: dict[str, Dim] = {}
    for op, times in _walk(kernel.body.block, 1):
        if isinstance(op, tile.Load):
            loaded = loaded + _bytes(op.result) * times
            if isinstance(op.parent_op(), scf.ForOp):
                addresses = addresses + _addresses(op)
        elif isinstance(op, tile.Store):
            stored = stored + _bytes(op.value) * times
        elif isinstance(op, tile.Dot):
            (m, k), n = tile_shape(op.a.type), tile_shape(op.b.type)[1]
            dtype = dtype_of(tile_element(op.a.type)).name
            if dtype == "f32" and op.precision == "tf32":
                dtype = "tf32"
            dots[dtype] = dots.get(dtype, 0) + 2 * m * n * k * times
            staged = staged + _bytes(op.a) + _bytes(op.b)
        elif isinstance(op, scf.ForOp):
            trips.append(_trips(op) * times)
            carried = carried + total(_registers(v) for v in op.results)
        elif isinstance(op, ELEMENTWISE) or op.name.startswith(("arith.", "math.")):
            size = product_of(tile_shape(op.results[0].type))
            if isinstance(op, tile.Reduce):
                size = product_of(tile_shape(op.input.type))
            weight = COSTLY_STEPS if op.name.removeprefix("math.") in COSTLY else 1
            steps = steps + size * weight * times
            where = inside if isinstance(op.parent_op(), scf.ForOp) else outside
            where.append(_registers(op.results[0]))
    return Work(
        loaded,
        stored,
        dots,
        steps,
        _largest(trips),
        staged,
        carried,
        _largest(inside),
        _largest(outside),
        addresses,
    )


def _walk(block: Block, times: Dim) -> Iterator[tuple]:
    for op in block.ops:
        yield op, times
        if isinstance(op, scf.ForOp):
            yield from _walk(op.body.block, times * _trips(op))


def _trips(loop: scf.ForOp) -> Dim:
    """How often a loop runs: at most, where its end is computed."""
    ends = [_size(v) for v in (loop.ub, *getattr(loop.ub.owner, "operands", ()))]
    end = next((e for e in ends if e is not None), 1)
    step = _size(loop.step)
    return ceildiv(end, 1 if step is None else step)


def _size(value: SSAValue) -> Dim | None:
    return value.owner.value[0] if isinstance(value.owner, tile.Size) else None


def _bytes(value: SSAValue) -> Dim:
    bits = dtype_of(tile_element(value.type)).bits
    return product_of(tile_shape(value.type)) * max(bits // 8, 1)


def _registers(value: SSAValue) -> Dim:
    return product_of(tile_shape(value.type))


def _addresses(load: tile.Load) -> Dim:
    """Registers for addresses: two a vector of 16 bytes, or what finding each element takes."""
    plain = (tile.Axis, tile.ProgramId, tile.Size, tile.Broadcast)
    size = dtype_of(tile_element(load.result.type)).bits // 8 or 1
    odd = any(isinstance(s, int) and s > 1 and s * size % 16 for s in load.strides)
    found = any(not isinstance(s.owner, plain) for s in load.subscripts)
    alone = found or odd or 1 not in load.strides
    elements = _registers(load.result)
    return FINDING * elements if alone else 2 * ceildiv(elements * size, 16)


def _largest(dims: list[Dim]) -> Dim:
    return max(dims, key=typical)


class Model:
    """The time of one kernel by its schedule, on a chip; sizes that aren't known count as typical.

    `sizes` gives those that are.
    """

    def __init__(self, kernel: tile.Kernel, chip: Chip, sizes: Mapping[str, int] | None = None):
        self.chip = chip
        self.fixed = {s: TYPICAL_DIM for s in kernel.sizes} | dict(sizes or {})
        work = work_of(kernel)
        self.names = sorted({*kernel.schedule, *self.fixed})
        self.loaded, self.stored = map(self.function, (work.loaded, work.stored))
        self.dots = {k: self.function(d) for k, d in work.dots.items()}
        self.steps, self.trips = self.function(work.steps), self.function(work.trips)
        self.staged, self.carried = self.function(work.staged), self.function(work.carried)
        self.inside, self.outside = map(self.function, (work.inside, work.outside))
        self.addresses = self.function(work.addresses)
        self.programs = self.function(product_of(kernel.grid))
        self.moved = self.function(total(kernel.moved))(*self.values(kernel.schedule))

    def function(self, d: Dim) -> Callable[..., int]:
        """An expression as a Python function of the names' values: it is called often."""
        if isinstance(d, int):
            return lambda *values: d
        known = {s: f"v{i}" for i, s in enumerate(self.names)}
        text = d.python(lambda s: known.get(s, str(TYPICAL_DIM)))
        return eval(f"lambda {', '.join(known.values())}: {text}", {"max": max, "min": min})

    def values(self, schedule: Mapping[str, int]) -> list[int]:
        return [schedule[n] if n in schedule else self.fixed[n] for n in self.names]

    def shared(self, schedule: Mapping[str, int]) -> int:
        """Bytes of shared memory that a program takes: dot operands of every stage."""
        stages = schedule.get("num_stages", 1)
        kept = stages if self.is_wide(schedule) else stages - 1  # wide dots read shared memory
        return self.staged(*self.values(schedule)) * max(kept, 1)

    def is_wide(self, schedule: Mapping[str, int]) -> bool:
        """Whether dots take the widest instructions: those of tiles of 64 rows or more."""
        return self.chip.wide_dots and schedule.get("BLOCK_M", 64) >= 64

    def registers(self, schedule: Mapping[str, int]) -> float:
        """Registers that a thread takes."""
        at = self.values(schedule)
        threads = schedule.get("num_warps", 4) * self.chip.warp_size
        looping = self.carried(*at) + 1.5 * self.inside(*at) + self.addresses(*at)
        return FIXED_REGISTERS + max(looping, 1.25 * self.outside(*at)) / threads

    def seconds(self, schedule: Mapping[str, int]) -> float:
        """The kernel's time; infinite where the chip can't run it."""
        chip, at = self.chip, self.values(schedule)
        warps, stages = schedule.get("num_warps", 4), schedule.get("num_stages", 1)
        shared, registers = self.shared(schedule), self.registers(schedule)
        if shared > chip.block_shared:
            return math.inf
        spilled = max(registers - SAFE_REGISTERS, 0)
        threads = warps * chip.warp_size
        by_registers = chip.registers // int(min(registers, 255) * threads)
        resident = min(chip.shared // max(shared, 1), by_registers, chip.warps // warps, 32)
        if resident < 1:
            return math.inf
        trips = max(self.trips(*at), 1)
        dots = sum(d(*at) / chip.dot_rate(k) for k, d in self.dots.items())
        busy = max(
            (self.loaded(*at) + self.stored(*at)) / (chip.cache / chip.cores),
            dots / self.efficiency(schedule) + self.steps(*at) / (chip.scalar / 2),
        )
        busy = (busy + trips * TRIP) * (1 + spilled / 16)
        alone = LATENCY + trips * max(busy / trips, LATENCY / max(stages, 1))
        programs = max(self.programs(*at), 1)
        waves, rest = divmod(programs, chip.cores * resident)
        clocks = waves * max(resident * busy, alone)
        if rest:
            clocks += max(-(-rest // chip.cores) * busy, alone)
        return LAUNCH + max(clocks / chip.clock, self.moved / chip.memory)

    def efficiency(self, schedule: Mapping[str, int]) -> float:
        """How much of a core's matrix units a program's warps keep busy.

        There are four units. From sm_90 on, their full rate takes tiles of 64 rows or more, which
        four warps multiply together.
        """
        rate = min(schedule.get("num_warps", 4) / 4, 1.0)
        return rate * (SMALL_TILE if self.chip.wide_dots and not self.is_wide(schedule) else 1.0)
