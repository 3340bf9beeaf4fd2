"""Tiles in the unified buffer: how they lie there, and who takes which part of it when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aicc.backends.ascendc.spellings import SIZES
from aicc.backends.c_text import bracketed, plus

UB_BYTES = 184 * 1024 - 256
"""What a kernel may plan with of the unified buffer's 192 KiB: the rest is the system's."""

BLOCK = 32
"""Bytes: what addresses and lengths in the unified buffer are multiples of."""

REPEAT = 256
"""Bytes that one step of the vector unit takes; comparisons need whole ones."""


class Overflow(Exception):
    """A kernel's tiles don't fit into the unified buffer."""


class Misplaced(ValueError):
    """Places that a kernel's tiles can't have."""


def row_dim(shape: Sequence[int]) -> int:
    """The dim whose elements lie one after the other: the last that isn't one."""
    return max((i for i, d in enumerate(shape) if d != 1), default=0)


def up(value: int, step: int) -> int:
    return -(-value // step) * step


@dataclass(eq=False)
class Local:
    """A tile in the unified buffer: rows of the last dim, each filled up to whole blocks.

    All tiles of a kernel are filled up to as many elements (`grain`), so that an op on two of them
    takes all of their rows in one instruction. Trailing dims of one are as if they weren't there:
    a number for each row lies one after the other. `queue` names the queue that holds the tile.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    grain: int
    queue: str | None = None
    start: int = 0
    end: int = 0
    offset: int = 0
    homes: list[Local] = field(default_factory=list)

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape up to the last dim that isn't one."""
        return self.shape[: row_dim(self.shape) + 1]

    @property
    def pitch(self) -> int:
        """Elements from a row to the next."""
        return up(self.dims[-1] if self.dims else 1, self.grain)

    @property
    def rows(self) -> int:
        return math.prod(self.dims[:-1])

    @property
    def block(self) -> int:
        """Elements of a block."""
        return BLOCK // SIZES[self.type]

    @property
    def repeat(self) -> int:
        """Elements that one step of the vector unit takes."""
        return REPEAT // SIZES[self.type]

    @property
    def count(self) -> int:
        """Elements of whole repeats, also of a mask as half."""
        return up(
            self.rows * self.pitch, max(self.grain * REPEAT // BLOCK, REPEAT // SIZES["half"])
        )

    @property
    def bytes(self) -> int:
        return self.count * SIZES[self.type]

    def position(self, at: Sequence[str]) -> str:
        """The element at an index for each dim, as an expression."""
        terms: list[str] = []
        dims, step = self.dims, self.pitch
        at = at[: len(dims)]
        if dims and at[-1] != "0" and dims[-1] != 1:
            terms.append(at[-1])
        for d, i in zip(reversed(dims[:-1]), reversed(at[:-1]), strict=True):
            if d != 1 and i != "0":
                terms.append(f"{bracketed(i)} * {step}")
            step *= d
        return " + ".join(reversed(terms)) or "0"

    def part(self, at: Sequence[str], column: str = "0") -> str:
        """The tensor from an element on, as an expression."""
        place = plus(self.position(at), column)
        return self.name if place == "0" else f"{self.name}[{place}]"

    def described(self) -> str:
        dims = ", ".join(map(str, self.shape))
        return f"{self.type}[{dims}]"


def placed_as(locals: Sequence[Local], places: Mapping[str, int]) -> int:
    """Put tiles where they are said to begin. Raises Misplaced where two of one time overlap."""
    if {t.name for t in locals} != places.keys():
        missing = {t.name for t in locals} ^ places.keys()
        raise Misplaced(f"places don't name the kernel's tiles: {', '.join(sorted(missing))}")
    for local in locals:
        local.offset = places[local.name]
        if local.offset < 0 or local.offset % BLOCK:
            raise Misplaced(
                f"{local.name} begins at byte {local.offset}, which is no block's first"
            )
    for i, x in enumerate(locals):
        for y in locals[:i]:
            together = x.start < y.end and y.start < x.end
            if together and x.offset < y.offset + y.bytes and y.offset < x.offset + x.bytes:
                raise Misplaced(f"{x.name} and {y.name} live at the same time and overlap")
    return max((up(t.offset + t.bytes, BLOCK) for t in locals), default=0)


def place(locals: Sequence[Local]) -> int:
    """Give tiles that live at the same time parts of their own; the bytes that all of them take."""
    live: list[Local] = []
    total = 0
    for local in sorted(locals, key=lambda t: t.start):
        live = [t for t in live if t.end > local.start]
        offset = 0
        for other in sorted(live, key=lambda t: t.offset):
            if other.offset - offset >= local.bytes:
                break
            offset = max(offset, other.offset + up(other.bytes, BLOCK))
        local.offset = offset
        live.append(local)
        total = max(total, offset + up(local.bytes, BLOCK))
    return total
