"""In how many parts rows are reduced side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass

COLUMNS = 32
"""Results that one program computes where they lie side by side in memory."""

MORE = 4
"""How many times as many parts as wanted are still good."""

KEPT = 32
"""A partial result stands for at least so many elements: few are written and read again."""


@dataclass(frozen=True)
class RowParts:
    """Parts for `programs` programs or more, each of `least` elements or more.

    Columns are summed one row after the other on some targets: `longest` is how many at most.
    """

    programs: int = 256
    least: int = 8192
    longest: int = 0

    def of(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int] | None:
        """Which of the axes that are reduced to split and in how many parts; None to split none."""
        kept = [d for i, d in enumerate(shape) if i not in axes]
        length = math.prod(shape[a] for a in axes)
        columns = bool(kept) and len(shape) - 1 not in axes
        beside = min(kept[-1], COLUMNS) if columns else 1
        programs = math.prod(kept) // beside
        wanted = min(-(-self.programs // programs), length * beside // self.least)
        if columns and self.longest:
            wanted = max(wanted, length // self.longest)
        wanted = min(wanted, length // KEPT)
        if wanted < 2:
            return None
        for axis in sorted(axes):
            size = shape[axis]
            if wanted <= size <= MORE * wanted and size < length:
                return axis, size
            divisors = [d for d in range(2, MORE * wanted + 1) if size % d == 0 and d < length]
            if not divisors:
                continue
            best = min(divisors, key=lambda d: abs(math.log(d / wanted)))
            if best * MORE >= wanted:
                return axis, best
        return None
