"""Schedules for CPUs: blocks that keep a core's caches and all threads busy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import scf
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir import tile
from aicc.ir.dtypes import dtype_of
from aicc.ir.interfaces import CompileContext
from aicc.ir.tile.identity import kernel_key
from aicc.ir.tile.types import tile_element, tile_shape
from aicc.ir.types import typical
from aicc.passes.cpu_costs import (
    COLUMN_STEP,
    PACKED,
    PANEL,
    ROW_STEP,
    STAGED,
    TURNED,
    PanelProduct,
    patches_time,
    places_time,
    program_time,
    up,
)
from aicc.passes.pack_weights import evenly_spaced, has_places, operands
from aicc.passes.panels import constant_operands
from aicc.passes.schedules import Rules, extent

ORIGIN = "modelled for a CPU"

ELEMENTS = 4096
"""Elements of a pointwise kernel that one program computes."""

COLUMNS = 256
"""Columns that one program reduces, where the rows lie apart in memory."""

MOST_SUMS = 128 * 512
"""Sums of a product that one program keeps."""

MOST_PATCHES = 36 * 64 * 64
"""Sums that a program of many products keeps."""

LONG = 1024
"""From so many queries on, few blocks of causal attention hold keys that a query may not see."""

MOST_PLACES = 8192
"""Rows of a product's right operand that one list says the places of."""

PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
"""Of how many blocks of rows a product may be, where its right operand lies in panels."""

FEW_ROWS = 4
"""Of so few rows, a right operand that is put together first is summed as it is, by no array."""

MOST_COMPUTED = 128 * 512
"""Elements of a product's operand that are put together at a time."""


Ranked = list[dict[str, int]]
"""Schedules, best first."""

Timed = list[tuple[float, dict[str, int]]]
"""Schedules with what a model says that they take."""


@dataclass(frozen=True)
class ScheduleCpu(ModulePass):
    """Bind the schedule parameters of every kernel for a CPU with so many threads.

    Columns of up to `longest` rows are summed one row after the other. What the context's record
    has for the `processor` is taken where a kernel is right with it.
    """

    name = "schedule-cpu"
    threads: int = 1
    longest: int = 1024
    processor: str = ""

    @property
    def chip(self) -> str:
        """What schedules are measured for."""
        return f"{self.processor or 'cpu'}, {self.threads} threads"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        tuned = ctx.tuned if isinstance(ctx, CompileContext) else {}
        for kernel, choices in self.choices(op):
            known = tuned.get((kernel_key(kernel), self.chip)) if tuned else None
            measured = known is not None and known.schedule in choices
            schedule = dict(known.schedule) if known is not None and measured else choices[0]
            kernel.set_param("schedule", schedule)
            kernel.set_param("origin", f"measured on {self.chip}" if measured else ORIGIN)
            if known is not None and measured:
                kernel.set_param("library", known.library)

    def choices(self, module: ModuleOp) -> Iterator[tuple[tile.Kernel, list[dict[str, int]]]]:
        """The kernels that have schedules, each with those that it could have, best first."""
        packed: dict[tile.Kernel, set[str]] = {}
        for kernel, operand, _ in constant_operands(module, operands):
            packed.setdefault(kernel, set()).add(operand.side)
        for kernel in [k for k in module.ops if isinstance(k, tile.Kernel)]:
            if not kernel.schedule or 0 in kernel.grid:
                continue
            rules = Rules(kernel)
            found = self.ranked(kernel, rules, packed.get(kernel, set()))
            whole = [{**kernel.schedule, **s} for s in found]
            if kept := [s for s in whole if rules.stays_inside(s)]:
                yield kernel, kept

    def ranked(self, kernel: tile.Kernel, rules: Rules, packed: Set[str]) -> Ranked:
        names = kernel.schedule.keys()
        if {"BLOCK_M", "BLOCK_N", "BLOCK_K"} <= names:
            return self.product(kernel, rules, packed)
        if {"BLOCK_M", "BLOCK_T"} <= names:
            return self.attention(kernel, rules)
        if {"BLOCK_M", "BLOCK_N"} <= names:
            return self.winograd(kernel, rules)
        if "BLOCK_M" in names:
            return [self.columns(kernel, rules) if reduces_columns(kernel) else {"BLOCK_M": 1}]
        return [{"BLOCK": ELEMENTS}] if "BLOCK" in names else [{}]

    def columns(self, kernel: tile.Kernel, rules: Rules) -> dict[str, int]:
        """Columns side by side; of those that aren't too long, one row is added after the other."""
        m = extent(kernel, "BLOCK_M")
        chosen = {"BLOCK_M": allowed(kernel, rules, "BLOCK_M", m, (COLUMNS, 128, 64, 32))[0]}
        for op in kernel.body.walk():
            if isinstance(op, tile.Axis) and str(op.block[0]) == "BLOCK_R":
                rows = op.bound[0]
                if isinstance(rows, int) and rows <= self.longest:
                    chosen["BLOCK_R"] = 1
        return chosen

    def product(self, kernel: tile.Kernel, rules: Rules, packed: Set[str]) -> Ranked:
        """Blocks by how much the slowest thread has to do.

        `packed` says which sides are: a right operand that isn't is put into panels for each
        program, and the left one beside it.
        """
        m, n, k = (extent(kernel, f"BLOCK_{a}") for a in "MNK")
        dots = sum(isinstance(op, tile.Dot) for op in kernel.body.walk())
        places = reads_places(kernel, "rows" in packed)
        panels = "columns" in packed and not places and m > FEW_ROWS
        if panels and (found := self.panels(kernel, rules)) != [{}]:
            return found
        computed = not places and m > FEW_ROWS and computes(kernel, "b")
        staged = computes(kernel, "a")
        packs = not (places or computed or "columns" in packed)
        turned = packs and reads_columns(kernel)
        rows = (512, 256, 192, 128, 64) if places else (512, 256, 192, 128, 96, 64, 48, 24)
        columns = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 32)
        even = {up(-(-n // parts), COLUMN_STEP) for parts in (self.threads, 2 * self.threads)}
        columns = sorted({*columns, *(c for c in even if 32 <= c <= 1024)}, reverse=True)
        depths = (1024, 768, 512, 384, 256, 128, 64)
        if places:
            depths = (MOST_PLACES, *depths) if staged else (MOST_PLACES,)
        batch = math.prod(typical(d) for d in kernel.grid[:-1])
        timed: Timed = []
        for block_m, block_n, block_k in itertools.product(
            allowed(kernel, rules, "BLOCK_M", m, rows),
            allowed(kernel, rules, "BLOCK_N", n, columns, 1 if places else 16),
            allowed(kernel, rules, "BLOCK_K", k, depths, 1 if places else 16),
        ):
            if block_m * block_n * dots > MOST_SUMS or block_k * block_n * computed > MOST_COMPUTED:
                continue
            if block_m * block_k * staged > MOST_COMPUTED:
                continue
            programs = batch * -(-m // block_m) * -(-n // block_n)
            time_of = places_time if places else program_time
            one = time_of(min(block_m, m), min(block_n, n), block_k, k, dots)
            one += staged * min(block_m, m) * k / STAGED
            one += packs * dots * min(block_m, m) * k / PACKED
            one += turned * dots * min(block_n, n) * k / TURNED
            time = -(-programs // self.threads) * one
            timed.append((time, {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k}))
        return fastest_first(timed)

    def panels(self, kernel: tile.Kernel, rules: Rules) -> Ranked:
        """As `product`, where a constant right operand lies in panels: blocks are whole ones."""
        m, n, k = (extent(kernel, f"BLOCK_{a}") for a in "MNK")
        batch = math.prod(typical(d) for d in kernel.grid[:-1])
        dots = sum(isinstance(op, tile.Dot) for op in kernel.body.walk())
        staged = computes(kernel, "a")
        size = operand_bytes(kernel)
        product = PanelProduct(m, n, k, dots, batch, self.threads, staged, size, sums_rows(kernel))
        rows = sorted({up(-(-m // parts), ROW_STEP) for parts in PARTS} | {m}, reverse=True)
        rows = [r for r in rows if r <= 512] or [512]
        columns = sorted({up(-(-n // parts), PANEL) for parts in PARTS}, reverse=True)
        columns = [c for c in columns if c <= 1024]
        timed: Timed = []
        for block_m, block_n, block_k in itertools.product(
            allowed(kernel, rules, "BLOCK_M", m, rows),
            allowed(kernel, rules, "BLOCK_N", n, columns, 16),
            allowed(kernel, rules, "BLOCK_K", k, (1024, 768, 512, 384, 256, 128, 64), 16),
        ):
            if block_m * block_n * dots > MOST_SUMS or block_m * block_k * staged > MOST_COMPUTED:
                continue
            if block_n % PANEL and block_n < n:
                continue
            schedule = {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k}
            schedule["GROUP_M"] = 1 if product.by_rows else -(-m // block_m)
            timed.append((product.time(block_m, block_n, block_k), schedule))
        return fastest_first(timed)

    def attention(self, kernel: tile.Kernel, rules: Rules) -> Ranked:
        """Large blocks, as each packs what it reads; smaller where those hold more hidden keys.

        Scores are a tile: a block has two keys at least, as one query by one key is a number.
        """
        m, t = extent(kernel, "BLOCK_M"), max(extent(kernel, "BLOCK_T"), 2)
        rows, keys = (128, 256) if not hides_keys(kernel) else (128, 128)
        if hides_keys(kernel) and m < LONG:
            rows = keys = 64
        found = []
        for block_m, block_t in itertools.product(
            blocks(m, [b for b in (128, 64, 60, 48, 32, 16) if b <= rows]),
            blocks(t, [b for b in (256, 192, 128, 64, 32, 16) if b <= keys]),
        ):
            schedule = {"BLOCK_M": block_m, "BLOCK_T": block_t}
            if rules.stays_inside({**kernel.schedule, **schedule}):
                found.append(schedule)
        return found or [{}]

    def winograd(self, kernel: tile.Kernel, rules: Rules) -> Ranked:
        """As `product`, where a program has many products, each over all that is summed."""
        m, n = (extent(kernel, f"BLOCK_{a}") for a in "MN")
        dots = [op for op in kernel.body.walk() if isinstance(op, tile.Dot)]
        depth = typical(tile_shape(dots[0].a.type)[1])
        timed: Timed = []
        for block_m, block_n in itertools.product(
            allowed(kernel, rules, "BLOCK_M", m, (128, 96, 64, 48, 32, 24)),
            allowed(kernel, rules, "BLOCK_N", n, (96, 64, 48, 32, 16), 16),
        ):
            if len(dots) * block_m * block_n > MOST_PATCHES:
                continue
            programs = -(-m // block_m) * -(-n // block_n)
            one = patches_time(min(block_m, m), min(block_n, n), depth) * len(dots)
            time = -(-programs // self.threads) * one
            timed.append((time, {"BLOCK_M": block_m, "BLOCK_N": block_n}))
        return fastest_first(timed)


def fastest_first(timed: Timed) -> Ranked:
    """The schedules by time, each once."""
    found: Ranked = []
    for _, s in sorted(timed, key=lambda pair: pair[0]):
        if s not in found[-4:]:  # the same take the same time
            found.append(s)
    return found or [{}]


def blocks(size: int, choices: Sequence[int], least: int = 1) -> Iterator[int]:
    """Blocks for a dim: one for all of it where that is small, then of the choices."""
    if size <= choices[0]:
        yield max(size, least)
    yield from (c for c in choices if c < size)


def allowed(
    kernel: tile.Kernel, rules: Rules, name: str, size: int, choices: Sequence[int], step: int = 1
) -> list[int]:
    """Blocks that the kernel is right with; divisors of the size where none of the choices is."""

    def right(block: int) -> bool:
        return rules.stays_inside({**kernel.schedule, name: block})

    found = [b for b in blocks(size, choices, step) if right(b)]
    if len(found) < 3:
        parts = (size // d for d in range(1, size // choices[-1] + 1) if size % d == 0)
        found += [b for b in parts if b <= choices[0] and b % step == 0 and right(b)]
    return found[:8] or [kernel.schedule[name]]


def reads_places(kernel: tile.Kernel, packed: bool) -> bool:
    """Whether a product's right operand is read by lists of where its rows and columns lie.

    So it is where those are not evenly spaced, or the left operand is packed.
    """
    dots = [op for op in kernel.body.walk() if isinstance(op, tile.Dot)]
    return any(has_places(d) and (packed or not evenly_spaced(d.b)) for d in dots)


def computes(kernel: tile.Kernel, side: str) -> bool:
    """Whether a product's operand is put together first, from where an image or a code lies."""
    dots = [op for op in kernel.body.walk() if isinstance(op, tile.Dot)]
    loads = [getattr(op, side).owner for op in dots]
    return not all(
        isinstance(load, tile.Load) and all(isinstance(s.owner, SIMPLE) for s in load.subscripts)
        for load in loads
    )


def reads_columns(kernel: tile.Kernel) -> bool:
    """Whether the right operand of a product lies column by column in memory."""
    loads = [op.b.owner for op in kernel.body.walk() if isinstance(op, tile.Dot)]
    return any(
        isinstance(s.owner, tile.Axis) and s.owner.dim == 1 and stride != 1
        for load in loads
        if isinstance(load, tile.Load)
        for s, stride in zip(load.subscripts, load.strides, strict=True)
    )


def operand_bytes(kernel: tile.Kernel) -> int:
    """Bytes of an element of a product's operands."""
    elements = [tile_element(op.a.type) for op in kernel.body.walk() if isinstance(op, tile.Dot)]
    return max(dtype_of(e).bits for e in elements) // 8


def sums_rows(kernel: tile.Kernel) -> bool:
    """Whether rows are reduced beside a product, over what that is summed over."""
    return any(
        isinstance(inner, tile.Reduce)
        for op in kernel.body.walk()
        if isinstance(op, scf.ForOp) and any(isinstance(o, tile.Dot) for o in op.body.block.ops)
        for inner in op.body.block.ops
    )


SIMPLE = (tile.Axis, tile.ProgramId, tile.Size)


def hides_keys(kernel: tile.Kernel) -> bool:
    """Whether attention walks over some keys or queries only: the others don't meet."""
    loops = [op for op in kernel.body.walk() if isinstance(op, scf.ForOp)]
    return not all(isinstance(v.owner, tile.Size) for op in loops for v in (op.lb, op.ub))


def reduces_columns(kernel: tile.Kernel) -> bool:
    """Whether rows that are reduced together lie side by side in memory."""
    return any(
        stride == 1 and isinstance(s.owner, tile.Axis) and str(s.owner.block[0]) == "BLOCK_M"
        for op in kernel.body.walk()
        if isinstance(op, tile.Load)
        for s, stride in zip(op.subscripts, op.strides, strict=True)
    )
