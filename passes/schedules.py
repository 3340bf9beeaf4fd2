"""Which schedules a kernel may have: powers of two that its tiles, masks and a chip admit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from xdsl.dialects.builtin import f32

from aicc.ir import tile
from aicc.ir.chips import Chip
from aicc.ir.symbols import Dim, SymExpr, evaluate
from aicc.ir.tile.types import bind, tile_element, tile_shape
from aicc.ir.types import typical
from aicc.passes.roofline import Model

SPACES: dict[str, tuple[int, ...]] = {
    "BLOCK_M": (16, 32, 64, 128),
    "BLOCK_N": (16, 32, 64, 128, 256),
    "BLOCK_K": (32, 64, 128),
    "BLOCK_T": (16, 32, 64, 128),
    "num_stages": (2, 3, 4),
}
"""Values of the parameters of kernels around a dot."""

ROW_SPACES: dict[str, tuple[int, ...]] = {
    "BLOCK_M": (1, 2, 4, 8, 16, 32),
    "BLOCK": (256, 512, 1024, 2048, 4096),
    "BLOCK_R": (512, 1024, 2048, 4096),
}
"""Values of the parameters of other kernels."""

WARPS = (1, 2, 4, 8)

MOST_ELEMENTS = 1 << 16
"""The largest tile: Triton takes larger ones, but no chip holds them."""

MOST_STEPS = 512
"""Multiplications of one dot in one thread, where no matrix unit does them: each is a line of code
that the compiler writes, reads and schedules."""

LEAST_DOT = 16

SHARED_TILE = 64 * 64
"""The least accumulator that is worth more than four warps."""


def candidates(kernel: tile.Kernel) -> Iterator[dict[str, int]]:
    """Schedules that the kernel is right with: the one that it has first."""
    yield kernel.schedule
    has_dot = any(isinstance(op, tile.Dot) for op in kernel.body.walk())
    spaces = SPACES if has_dot else ROW_SPACES
    warps = (4, 8) if has_dot else WARPS
    own = kernel.schedule
    choices: dict[str, Sequence[int]] = {
        k: warps if k == "num_warps" else spaces.get(k, (v,)) for k, v in own.items()
    }
    rules = Rules(kernel)
    for values in itertools.product(*choices.values()):
        schedule = dict(zip(choices, values, strict=True))
        idle = has_dot and schedule.get("num_warps", 4) > 4 and dot_tile(schedule) < SHARED_TILE
        if schedule != own and not idle and rules.allow(schedule):
            yield schedule


def dot_tile(schedule: Mapping[str, int]) -> int:
    """Elements of a dot's accumulator, as far as the schedule says it."""
    return schedule.get("BLOCK_M", 64) * schedule.get("BLOCK_N", 64)


def extent(kernel: tile.Kernel, parameter: str) -> int:
    """The size that is walked through in blocks of a parameter; typical where it isn't known."""
    for op in kernel.body.walk():
        if isinstance(op, tile.Axis) and str(op.block[0]) == parameter:
            return typical(op.bound[0])
    return 1


class Rules:
    """What a schedule must keep to: no access without a mask runs past an end, tiles stay small.

    A block that is longer than what it covers is no use, unless it is the least that a dot takes.
    """

    def __init__(self, kernel: tile.Kernel):
        self.exact: set[tuple[Dim, Dim]] = set()
        self.covered: set[tuple[Dim, Dim]] = set()
        self.tiles: set[tuple[Dim, ...]] = set()
        self.scalar_dots: set[tuple[Dim, ...]] = set()
        masked = {a for op in kernel.body.walk() if isinstance(op, tile.InBounds)
                  for a in [op.axis.owner]}  # fmt: skip
        for op in kernel.body.walk():
            if isinstance(op, tile.Axis):
                pair = (op.block[0], op.bound[0])
                (self.covered if op in masked else self.exact).add(pair)
            self.tiles |= {tile_shape(r.type) for r in op.results}
            if isinstance(op, tile.Dot) and tile_element(op.a.type) == f32:
                self.scalar_dots.add((*tile_shape(op.a.type), *tile_shape(op.b.type)[1:]))

    def stays_inside(self, schedule: Mapping[str, int]) -> bool:
        """Whether no access without a mask runs past an end."""
        for block, bound in self.exact:
            block, bound = bind(block, schedule), bind(bound, schedule)
            if block != 1 and not (
                isinstance(block, int) and isinstance(bound, int) and bound % block == 0
            ):
                return False
        return True

    def allow(self, schedule: Mapping[str, int]) -> bool:
        if not self.stays_inside(schedule):
            return False
        for block, bound in self.covered:
            block, bound = bind(block, schedule), bind(bound, schedule)
            if not isinstance(block, int) or not isinstance(bound, int):
                continue
            if block >= 2 * max(bound, LEAST_DOT):
                return False
        steps = schedule.get("num_warps", 4) * 32 * MOST_STEPS
        if any(self.size(dot, schedule) > steps for dot in self.scalar_dots):
            return False
        return all(self.size(shape, schedule) <= MOST_ELEMENTS for shape in self.tiles)

    @staticmethod
    def size(shape: tuple[Dim, ...], schedule: Mapping[str, int]) -> int:
        total = 1
        for d in shape:
            if isinstance(d, SymExpr):
                d = evaluate(d, schedule) if d.symbols() <= schedule.keys() else 1
            total *= d
        return total


def ranked(
    kernel: tile.Kernel, chips: Sequence[Chip], sizes: Mapping[str, int] | None = None
) -> list[tuple[float, dict[str, int]]]:
    """Legal schedules with their seconds by the model of the first chip, fastest first.

    Only those that all chips can run. Among those that are equal within a hundredth the ones come
    first that differ least from the kernel's own.
    """
    models = [Model(kernel, chip, sizes) for chip in chips]
    found = []
    for schedule in candidates(kernel):
        first, *others = (m.seconds(schedule) for m in models)
        if all(s < float("inf") for s in (first, *others)):
            found.append((first, schedule))

    def order(pair: tuple[float, dict[str, int]]) -> tuple[float, int, float]:
        seconds, schedule = pair
        changed = sum(schedule[k] != v for k, v in kernel.schedule.items())
        return round(math.log(seconds) / math.log(1.01)), changed, seconds

    return sorted(found, key=order)
