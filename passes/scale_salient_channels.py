"""Makes the weights that matter most larger before they are rounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir.dtypes import dtype_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.quantization.calibration import observed
from aicc.passes.quantization.layers import Layer, by_input, layers_of, rescale_input
from aicc.passes.quantization.schemes import Scheme, fitted

EXPONENTS = np.linspace(0, 1, 21)

ROWS = 512
"""How many rows of samples the search for an exponent looks at."""


@dataclass(frozen=True)
class ScaleSalientChannels(ModulePass):
    """Multiply a matmul's weights by a factor an input channel, and divide what it reads by it.

    The factor is a power of the channel's mean magnitude on the samples, the exponent that whose
    rounded weights change the result least (Lin et al., "AWQ: Activation-aware Weight Quantization
    for On-Device LLM Compression and Acceleration", section 3.2). `dtype`, `group` and `symmetric`
    are those that the weights will be quantized with.
    """

    name = "scale-salient-channels"
    dtype: str = "i4"
    symmetric: bool = True
    group: int = 32
    skip: tuple[str, ...] = ()

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        layers = [v for v in layers_of(op, self.skip) if not (v.is_convolution or v.is_quantized)]
        groups = {v: g for v, g in by_input(layers).items() if all(r.array().ndim == 2 for r in g)}
        seen: dict = {value: [] for value in groups}
        for arrays in observed(op, list(groups), ctx):
            for value, array in zip(groups, arrays, strict=True):
                seen[value].append(array.reshape(-1, array.shape[-1]))
        for value, readers in groups.items():
            rows = np.concatenate(seen[value])
            factor = self.best(
                readers, np.abs(rows).mean(0), np.square(rows).mean(0), spread_over(rows, ROWS)
            )
            if (factor != 1).any():
                rescale_input(readers, factor)
        eliminate_dead_code(op)

    def best(
        self, readers: list[Layer], size: np.ndarray, power: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """The factors of least squared error over all the layers' results."""
        axis = 0 if self.group else 1
        signed = self.symmetric and self.dtype == "i4"
        scheme = Scheme(dtype_of(self.dtype), self.symmetric, axis, self.group, signed=signed)
        size = np.maximum(size.astype(np.float64), 1e-8)
        weights = [layer.array() for layer in readers]

        def loss(exponent: float) -> float:
            factor = factors(size, exponent)
            total = 0.0
            for w in weights:
                scaled = (w * factor[:, None]).astype(np.float32)
                weight = (power / np.square(factor))[:, None]
                found = fitted(scaled, scheme, search=True, importance=weight)
                rounded = found.rounded(scaled) / factor[:, None]
                total += float(np.square(rows @ (rounded - w).astype(np.float32)).sum())
            return total

        return factors(size, min(EXPONENTS, key=loss))


def factors(size: np.ndarray, exponent: float) -> np.ndarray:
    """Powers of magnitudes, around 1."""
    factor = size**exponent
    return factor / np.sqrt(factor.max() * factor.min())


def spread_over(rows: np.ndarray, count: int) -> np.ndarray:
    """So many of the rows, evenly from first to last."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
