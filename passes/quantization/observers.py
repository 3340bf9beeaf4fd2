"""Which range of a tensor's values is worth covering, from what was seen of them.

A wide range rounds everything coarsely; a narrow one cuts off the ends. Each method is one function
of a histogram and a scheme, and one row in `METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from aicc.passes.quantization.schemes import Scheme

BINS = 2048

Range = tuple[float, float]


@dataclass
class Histogram:
    """How often values were seen, in `BINS` equal bins from −width to width.

    Where a value lies beyond, the width is doubled and bins are joined in pairs: no value is kept.
    """

    low: float = np.inf
    high: float = -np.inf
    width: float = 0.0
    seen: int = 0
    broken: int = 0
    """Values that are NaN or infinite."""
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: np.ndarray) -> None:
        """Count an array's elements."""
        flat = values.reshape(-1).astype(np.float64)
        finite = flat[np.isfinite(flat)]
        self.seen += flat.size
        self.broken += flat.size - finite.size
        if not finite.size:
            return
        self.low, self.high = min(self.low, finite.min()), max(self.high, finite.max())
        reach = max(-self.low, self.high)
        if self.width == 0 and reach > 0:
            zeros = self.counts.sum()
            self.width = float(reach)
            self.counts[BINS // 2] = zeros
        while reach > self.width:
            self.width *= 2
            joined = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.concatenate(
                [np.zeros(BINS // 4, np.int64), joined, np.zeros(BINS // 4, np.int64)]
            )
        if self.width == 0:
            self.counts[BINS // 2] += finite.size
            return
        places = ((finite / self.width + 1) * (BINS / 2)).astype(np.int64)
        self.counts += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)

    @property
    def is_constant(self) -> bool:
        """Whether all values seen are one."""
        return self.low == self.high

    @property
    def middles(self) -> np.ndarray:
        return (np.arange(BINS) + 0.5) * (2 * self.width / BINS) - self.width

    @property
    def edges(self) -> np.ndarray:
        return np.arange(BINS + 1) * (2 * self.width / BINS) - self.width


def minmax(seen: Histogram, scheme: Scheme) -> Range:
    """All that was seen."""
    return seen.low, seen.high


def percentile(seen: Histogram, scheme: Scheme, part: float = 99.99) -> Range:
    """All but the outermost: so many hundredths of the values, as many cut off at either end."""
    total = np.cumsum(seen.counts)
    cut = total[-1] * (1 - part / 100) / 2
    first = int(np.searchsorted(total, cut, side="right"))
    last = int(np.searchsorted(total, total[-1] - cut, side="left"))
    return max(seen.edges[first], seen.low), min(seen.edges[last + 1], seen.high)


def within(seen: Histogram, part: float) -> Range:
    """The part of the range on both sides of zero."""
    return min(seen.low, 0.0) * part, max(seen.high, 0.0) * part


PARTS = np.linspace(0.2, 1.0, 81)


def mse(seen: Histogram, scheme: Scheme) -> Range:
    """What loses least: the sum of squared errors, of rounding and of cutting off."""
    middles, counts = seen.middles, seen.counts
    kept = counts > 0
    middles, counts = middles[kept], counts[kept]

    def loss(part: float) -> float:
        found = scheme.parameters(*map(np.asarray, within(seen, part)))
        rounded = found.rounded(middles)
        step = float(found.scale.max())
        inside = np.abs(rounded - middles) <= step / 2
        width = 2 * seen.width / BINS
        # Within a bin values lie evenly: a step narrower than the bin loses step²/12 at least.
        least = min(step, width) ** 2 / 12
        gap = np.square(rounded - middles)
        return float((counts * np.where(inside, np.maximum(gap, least), gap)).sum())

    return within(seen, min(PARTS[::-1], key=loss))


def entropy(seen: Histogram, scheme: Scheme) -> Range:
    """Where the codes' distribution tells least apart from the values': least KL divergence.

    The method of Migacz, "8-bit Inference with TensorRT" (2017): values beyond the range count at
    its end in what is approximated, but not in the approximation. The bin of zero, where a ReLU
    puts half of all, counts as its neighbour does: zero has a code of its own.
    """
    levels = int(scheme.limits[1] - scheme.limits[0]) + 1
    middles, counts = seen.middles, seen.counts.astype(np.float64)
    counts[BINS // 2] = counts[BINS // 2 + 1]

    def divergence(part: float) -> float:
        low, high = within(seen, part)
        inside = (middles >= low) & (middles <= high)
        if inside.sum() < 2:
            return np.inf
        places = np.flatnonzero(inside)
        kept = counts[places]
        wanted = kept.copy()
        wanted[0] += counts[: places[0]].sum()
        wanted[-1] += counts[places[-1] + 1 :].sum()
        group = np.minimum(np.arange(kept.size) * levels // kept.size, levels - 1)
        total = np.bincount(group, kept, levels)
        filled = np.bincount(group, kept > 0, levels)
        share = np.divide(total, filled, out=np.zeros_like(total), where=filled > 0)
        found = np.where(kept > 0, share[group], 0.0)
        if not found.sum() or not wanted.sum():
            return np.inf
        p, q = wanted / wanted.sum(), found / found.sum()
        some = p > 0
        return float((p[some] * np.log(p[some] / np.maximum(q[some], 1e-9))).sum())

    return within(seen, min(PARTS[::-1], key=divergence))


METHODS: dict[str, Callable[[Histogram, Scheme], Range]] = {
    "minmax": minmax,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}
"""Methods by name: one row each."""
