"""About how many clocks of a core products of tiles take, by floats of AVX-512."""

from __future__ import annotations

from dataclasses import dataclass

ROW_STEP, COLUMN_STEP = 6, 16
"""Rows and columns of a product that are summed in registers at once."""

PANEL = 64
"""Columns of a constant operand that lie side by side in memory."""

NEAR_SUMS = 32 * 256
"""Sums that stay in the first cache."""

NEAR_BYTES = 1 << 20
"""Bytes of an operand that stay in a core's own cache from block to block."""

FETCHED = 16
"""Bytes a clock that come from beyond a core's own cache."""

PACKED = 16
"""Elements of a left operand that are put side by side in a clock, where the right one is too."""

TURNED = 4
"""Elements of a right operand whose columns lie apart that are put into panels in a clock."""

STAGED = 6
"""Of those of a left operand, how many in a clock."""

REDUCED = 8
"""Of those that rows are summed over, how many in a clock."""

FASTER = {1: 10.0, 2: 6.0, 4: 1.0}
"""How much faster elements of so many bytes are multiplied than floats, by matrix registers."""


def program_time(m: int, n: int, block_k: int, k: int, dots: int) -> float:
    """One program of a product whose right operand is put into panels first."""
    rows, columns = up(m, ROW_STEP) if m >= ROW_STEP else m, up(n, COLUMN_STEP)
    wide = min(columns / COLUMN_STEP, 4) / 4
    busy = rows * columns * k / 32 / (0.6 + 0.4 * wide)
    busy = max(busy, columns * k / 6)  # the right operand comes from memory
    packing = (columns * k / 8 if m > 2 * ROW_STEP else 0) + m * k / 64
    near = rows * columns <= NEAR_SUMS
    kept = -(-k // block_k) * rows * columns / (8 if near else 4)
    return dots * (busy + packing + kept) + m * n / (8 if near else 4) + 2000


@dataclass(frozen=True)
class PanelProduct:
    """`batch` products ``[m, k] x [k, n]`` whose right operands lie in panels already.

    Elements are of `size` bytes. A `staged` left operand is put together for each program; of one
    that is `reduced`, each program takes the sums of rows as well.
    """

    m: int
    n: int
    k: int
    dots: int
    batch: int
    threads: int
    staged: bool
    size: int = 4
    reduced: bool = False

    @property
    def by_rows(self) -> bool:
        """Whether each thread takes rows of its own: what it reads and writes is in its own cache.

        Then all threads read all of the right operand.
        """
        return (
            self.batch >= self.threads or self.m * (self.k + self.n) > self.k * self.n * self.dots
        )

    def time(self, block_m: int, block_n: int, block_k: int) -> float:
        """Clocks of the slowest thread."""
        whole_m, rest_m = divmod(self.m, block_m)
        whole_n, rest_n = divmod(self.n, block_n)
        tiles_m, tiles_n = whole_m + bool(rest_m), whole_n + bool(rest_n)
        programs = self.batch * tiles_m * tiles_n
        total = sum(
            count * self.program(rows, columns, block_k)
            for rows, columns, count in (
                (block_m, block_n, whole_m * whole_n),
                (rest_m, block_n, whole_n),
                (block_m, rest_n, whole_m),
                (rest_m, rest_n, 1),
            )
            if rows and columns and count
        )
        slowest = -(-programs // self.threads) / programs * self.batch * total
        share = -(-tiles_m * tiles_n // max(1, self.threads // self.batch))
        if self.by_rows:
            columns, rows = min(share / tiles_n, 1), -(-share // tiles_n) / tiles_m
        else:
            columns, rows = -(-share // tiles_m) / tiles_n, min(share / tiles_m, 1)
        weights = self.size * self.k * self.n * self.dots
        between = weights if self.by_rows else weights * min(block_n / self.n, 1)
        again = max(rows * tiles_m, 1) if between > NEAR_BYTES else 1
        fetched = weights * columns * again + self.size * self.m * self.k * rows
        return slowest + fetched / FETCHED

    def program(self, m: int, n: int, block_k: int) -> float:
        """Clocks of one program."""
        sums = 0.0
        for vectors, count in ((4, n // PANEL), (-(-(n % PANEL) // COLUMN_STEP), 1)):
            if vectors:
                sums += count * steps(m, vectors)
        near = m * n <= NEAR_SUMS
        kept = (-(-self.k // block_k) - 1) * m * n / (4 if near else 2)
        ends = m * n / (3 if near else 2.5)
        left = m * self.k * (self.staged / STAGED + self.reduced / REDUCED)
        return self.dots * (sums * self.k / FASTER[self.size] + kept) + ends + left + 150


def steps(m: int, vectors: int) -> float:
    """Clocks that all of m rows take, by so many vectors of columns, of one row of the panel."""
    whole, rest = divmod(m, ROW_STEP)
    least = 4.0  # a sum waits for the last one
    total = whole * max(least, ROW_STEP * vectors / 2, (ROW_STEP + vectors) / 2)
    if rest:
        total += max(least, rest * vectors / 2)
    return total


def places_time(m: int, n: int, block_k: int, k: int, dots: int) -> float:
    """As `program_time`, where the right operand is read by lists of places."""
    vectors = -(-m // COLUMN_STEP)
    columns = min(up(n, 6), up(n, 5))
    busy = columns * k * (vectors // 4 * 2 + (0, 0.7, 1.1, 1.6)[vectors % 4])
    streamed = up(m, 64) * k / 8  # the panels come from memory
    kept = m * n * (1 + (k > block_k) * 2 * (k // block_k))
    near = m * n <= NEAR_SUMS
    return dots * (busy + streamed + kept) + 2 * k + m * n / (8 if near else 4) + 2000


def patches_time(m: int, n: int, k: int) -> float:
    """One of many products of a program, with what is fetched for it."""
    vectors = -(-n // COLUMN_STEP)
    slower = (1.6, 1.2, 1.05, 1.0)[min(vectors, 4) - 1]
    busy = up(m, ROW_STEP) * vectors * COLUMN_STEP * k / 32 * slower
    packed = n % COLUMN_STEP != 0
    return busy + m * k / 12 + n * k / (4 if packed else 12) + m * n


def up(value: int, step: int) -> int:
    return -(-value // step) * step
