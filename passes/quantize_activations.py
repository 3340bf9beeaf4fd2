"""Quantizes what layers read, with scales that calibration samples decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from aicc.ir.dtypes import dtype_of
from aicc.ir.graph import Dequantize, Quantize
from aicc.ir.interfaces import remark
from aicc.ir.types import element_type
from aicc.passes.quantization.calibration import histograms
from aicc.passes.quantization.layers import Layer, by_input, constants, layers_of
from aicc.passes.quantization.observers import METHODS, Histogram, percentile
from aicc.passes.quantization.schemes import ALL_BITS, Parameters, Scheme, check_scale_bits

SATURATING = 0.01
"""The part of all samples' values beyond the range from which on a remark says so."""


@dataclass(frozen=True)
class QuantizeActivations(ModulePass):
    """Put a quantize and a dequantize before each layer whose weight is quantized.

    One scale serves the whole tensor, and all layers that read it share it. `observer` says how the
    range is chosen: minmax, percentile (all but ``100 − percentile`` hundredths of the values),
    mse or entropy. Scales keep `scale_bits` significant bits (see `fixpipe-scales`).
    """

    name = "quantize-activations"
    dtype: str = "i8"
    symmetric: bool = False
    observer: str = "minmax"
    percentile: float = 99.99
    scale_bits: int = ALL_BITS
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.observer not in METHODS:
            raise ValueError(f"no observer '{self.observer}' (there are: {', '.join(METHODS)})")
        if not 50 < self.percentile <= 100:
            raise ValueError(f"percentile is {self.percentile}: write a number from 50 to 100")
        check_scale_bits(self.scale_bits)
        if self.dtype not in ("i8", "ui8", "f8E4M3FN", "f8E5M2"):
            raise ValueError(f"activations can't be {self.dtype}")

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        layers = [
            v for v in layers_of(op, self.skip) if v.is_quantized and not v.is_input_quantized
        ]
        groups = by_input(layers)
        seen = histograms(op, {v: readers[0].name for v, readers in groups.items()}, ctx)
        for value, readers in groups.items():
            self.quantize(value, readers, seen[value], ctx)

    def quantize(
        self, value: SSAValue, readers: list[Layer], seen: Histogram, ctx: Context
    ) -> None:
        name = readers[0].name
        if seen.is_constant:
            raise ValueError(
                f"the input of '{name}' is {seen.low:g} everywhere on the calibration samples: "
                "give samples that differ"
            )
        symmetric = self.symmetric or self.dtype.startswith("f8")
        scheme = Scheme(dtype_of(self.dtype), symmetric, scale_bits=self.scale_bits)
        parameters = scheme.parameters(*map(np.asarray, self.range(seen, scheme)))
        self.check_saturation(name, seen, parameters, ctx)
        b = readers[0].builder()
        scale, zero = constants(b, parameters)
        codes = b.emit(Quantize, value, scale, zero, dtype=scheme.dtype)
        codes.name_hint = f"{value.name_hint}_q" if value.name_hint else None
        for layer in readers:
            real = layer.builder().emit(Dequantize, codes, scale, zero, dtype=element_type(value))
            layer.set_input(real)

    def range(self, seen: Histogram, scheme: Scheme) -> tuple[float, float]:
        if self.observer == "percentile":
            return percentile(seen, scheme, self.percentile)
        return METHODS[self.observer](seen, scheme)

    def check_saturation(
        self, name: str, seen: Histogram, parameters: Parameters, ctx: Context
    ) -> None:
        """Tell of scales that cut off many values."""
        first, last = parameters.scheme.limits
        zero = 0 if parameters.zero is None else float(parameters.zero)
        low, high = ((v - zero) * float(parameters.scale) for v in (first - 0.5, last + 0.5))
        beyond = (seen.middles < low) | (seen.middles > high)
        part = float(seen.counts[beyond].sum()) / max(seen.seen, 1)
        if part > SATURATING:
            remark(
                ctx,
                f"{name}: {part:.1%} of its input's values lie beyond [{low:.3g}, {high:.3g}] and "
                f"saturate (seen: {seen.low:.3g} to {seen.high:.3g})",
            )
