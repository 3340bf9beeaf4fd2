"""Where buffers lie in one arena: those that live at the same time must not overlap."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from aicc.ir.symbols import Dim, SymExpr, maximum

THOROUGH = 1000
"""Up to so many blocks, several orders are tried; beyond, one pass over them in time."""

LARGEST = 12
"""How many terms and calls an offset over sizes may have before it is given up."""


@dataclass
class Block:
    """So many bytes from one step to another, both included."""

    first: int
    last: int
    bytes: Dim


def place(blocks: Sequence[Block], sizes: Sequence[int]) -> list[int]:
    """Offsets for blocks of the given sizes, which stand for their `bytes`.

    Of three orders (in time; largest first; most bytes times steps first) the one whose arena is
    smallest is taken; each block goes to the gap that it leaves least of (Pisarchyk and Lee 2020).
    """
    found = [_in_time(blocks, sizes)]
    if len(blocks) <= THOROUGH:
        steps = [b.last - b.first + 1 for b in blocks]
        for key in (
            lambda i: (-sizes[i], -steps[i], i),
            lambda i: (-sizes[i] * steps[i], i),
            lambda i: (-steps[i], -sizes[i], i),
        ):
            found.append(_by_order(blocks, sizes, sorted(range(len(blocks)), key=key)))
    return min(found, key=lambda offsets: _height(offsets, sizes))


def _height(offsets: Sequence[int], sizes: Sequence[int]) -> int:
    return max((o + s for o, s in zip(offsets, sizes, strict=True)), default=0)


def _in_time(blocks: Sequence[Block], sizes: Sequence[int]) -> list[int]:
    """Blocks by their first step, each in the best gap between those that still live."""
    offsets = [0] * len(blocks)
    taken: list[tuple[int, int]] = []  # (offset, end) of what lives, sorted
    ends: list[tuple[int, int]] = []  # (last step, block)
    for i in sorted(range(len(blocks)), key=lambda i: (blocks[i].first, -sizes[i], i)):
        while ends and ends[0][0] < blocks[i].first:
            _, gone = ends.pop(0)
            at = bisect_left(taken, (offsets[gone], offsets[gone] + sizes[gone]))
            del taken[at]
        offsets[i] = _gap(taken, sizes[i])
        insort(taken, (offsets[i], offsets[i] + sizes[i]))
        insort(ends, (blocks[i].last, i))
    return offsets


def _by_order(blocks: Sequence[Block], sizes: Sequence[int], order: Sequence[int]) -> list[int]:
    offsets = [0] * len(blocks)
    placed: list[int] = []
    for i in order:
        a = blocks[i]
        beside = [j for j in placed if blocks[j].first <= a.last and a.first <= blocks[j].last]
        offsets[i] = _gap(sorted((offsets[j], offsets[j] + sizes[j]) for j in beside), sizes[i])
        placed.append(i)
    return offsets


def _gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The start of the smallest gap that the size fits in, or the end of all that is taken."""
    best: tuple[int, int] | None = None
    end = 0
    for start, stop in taken:
        if start - end >= size and (best is None or start - end < best[0]):
            best = (start - end, end)
        end = max(end, stop)
    return end if best is None else best[1]


def stacked(blocks: Sequence[Block], offsets: Sequence[int]) -> list[Dim | None]:
    """Offsets over symbolic sizes: who lies below whom is as in `offsets`, whatever the sizes.

    A block begins where the highest of those below it ends. None where that takes too long an
    expression.
    """
    below = _lower_neighbours(blocks, offsets)
    found: list[Dim | None] = [None] * len(blocks)
    for i in sorted(range(len(blocks)), key=lambda i: (offsets[i], blocks[i].first)):
        ends: list[Dim] = []
        for j in below[i]:
            start = found[j]
            if start is None:
                break  # what lies below has gone elsewhere, and what is below that isn't known
            ends.append(start + blocks[j].bytes)
        else:
            start = maximum(0, *ends) if ends else 0
            found[i] = start if _is_short(start) else None
    return found


def _lower_neighbours(blocks: Sequence[Block], offsets: Sequence[int]) -> list[list[int]]:
    """For each block, those below it that live at the same time; no more than are needed."""
    below: list[set[int]] = [set() for _ in blocks]
    active: list[int] = []
    for i in sorted(range(len(blocks)), key=lambda i: blocks[i].first):
        active = [j for j in active if blocks[j].last >= blocks[i].first]
        for j in active:
            low, high = (i, j) if offsets[i] < offsets[j] else (j, i)
            below[high].add(low)
        active.append(i)
    return [sorted(own - set().union(*(below[j] for j in own))) for own in below]


def _is_short(d: Dim) -> bool:
    return not isinstance(d, SymExpr) or str(d).count("(") + str(d).count("+") <= LARGEST
