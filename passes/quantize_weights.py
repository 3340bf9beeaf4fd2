"""Quantizes the constant weights of products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir.dtypes import dtype_of
from aicc.ir.interfaces import remark
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.quantization.calibration import observed
from aicc.passes.quantization.gptq import DAMPING, gptq
from aicc.passes.quantization.layers import (
    Layer,
    add_to_bias,
    by_input,
    dequantized,
    layers_of,
    scale_input,
)
from aicc.passes.quantization.schemes import (
    ALL_BITS,
    LEAST_SCALE,
    Scheme,
    check_scale_bits,
    fitted,
)

DTYPES = ("i8", "ui8", "i4", "ui4", "f8E4M3FN", "f8E5M2", "f4E2M1FN")

KINDS = ("matmul", "conv")


@dataclass(frozen=True)
class QuantizeWeights(ModulePass):
    """Replace the weights of matmuls and convolutions by constant codes and a dequantize.

    Each output channel has a scale, or with `per_channel` off the whole tensor, or with a `group`
    each run of so many weights that are summed for one channel (matmuls only: a convolution's keep
    a scale a channel). Symmetric i4 has signed scales (`Scheme`). With `scales` of f8E4M3FN there
    is a factor for the whole tensor besides, by which what the layer reads is multiplied. Scales
    keep `scale_bits` significant bits (see `fixpipe-scales`). `search`
    takes the scale of least squared error instead of that of the whole range; with `weigh` each
    error counts as much as the mean square of what the weight is multiplied by on the samples.
    `gptq` chooses codes one input channel after another, each making up for what those before it
    lost on the samples. `correct_bias` takes the mean error that is left on them off the bias.
    `kinds` are those of the layers, `skip` names some that stay as they are; what is quantized
    already does.
    """

    name = "quantize-weights"
    dtype: str = "i8"
    symmetric: bool = True
    per_channel: bool = True
    group: int = 0
    scales: str = "f32"
    scale_bits: int = ALL_BITS
    search: bool = False
    weigh: bool = False
    gptq: bool = False
    damping: float = DAMPING
    correct_bias: bool = False
    kinds: tuple[str, ...] = KINDS
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise ValueError(
                f"no kinds of layers: {', '.join(self.kinds)} (there are: matmul, conv)"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"weights can't be {self.dtype} (there are: {', '.join(DTYPES)})")
        check_scale_bits(self.scale_bits)
        if self.group and (self.group < 16 or self.group & (self.group - 1)):
            raise ValueError(f"groups of {self.group}: write 0, or a power of 2 from 16 on")

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        layers = [v for v in layers_of(op, self.skip) if not v.is_quantized and self.takes(v)]
        sums = self.statistics(op, layers, ctx) if self.uses_samples else {}
        for layer in layers:
            self.quantize(layer, sums.get(layer.name), ctx)
        eliminate_dead_code(op)

    def takes(self, layer: Layer) -> bool:
        return ("conv" if layer.is_convolution else "matmul") in self.kinds

    @property
    def uses_samples(self) -> bool:
        return self.gptq or self.correct_bias or (self.search and self.weigh)

    def scheme(self, layer: Layer) -> Scheme:
        group = self.group if not layer.is_convolution else 0
        axis = layer.summed_axis if group else layer.channel_axis if self.per_channel else None
        signed = self.symmetric and self.dtype == "i4"
        return Scheme(
            dtype_of(self.dtype),
            self.symmetric,
            axis,
            group,
            self.scales,
            signed,
            self.scale_bits,
        )

    def quantize(self, layer: Layer, seen: Statistics | None, ctx: Context) -> None:
        weight = layer.array()
        if not np.isfinite(weight).all():
            raise ValueError(f"the weight of '{layer.name}' is NaN or infinite somewhere")
        whole = self.tensor_scale(weight)
        weight = weight if whole == 1 else weight / whole
        importance = None
        if self.weigh and seen is not None and not layer.is_convolution:
            importance = seen.power[:, None]
        parameters = fitted(weight, self.scheme(layer), self.search, importance)
        codes = parameters.quantize(weight)
        if self.gptq and seen is not None and seen.products is not None:
            parameters, codes = gptq(weight, parameters, seen.products, self.damping)
        elif self.gptq:
            remark(ctx, f"{layer.name}: rounded to nearest, gptq is for matmuls of two dims")
        error = parameters.dequantize(codes) - weight
        layer.set_weight(dequantized(layer, weight, parameters, codes))
        if whole != 1:
            scale_input(layer, whole)
            error *= whole
        if self.correct_bias and seen is not None:
            add_to_bias(layer, -mean_error(layer, error, seen.mean))

    def tensor_scale(self, weight: np.ndarray) -> np.float32:
        """A factor for the whole tensor, where scales of 8-bit floats would lose what is small.

        With it, that of the largest number is the largest float (as in NVIDIA's NVFP4).
        """
        if self.scales != "f8E4M3FN":
            return np.float32(1)
        reach = dtype_of(self.scales).largest * self.top
        return np.float32(max(np.abs(weight).max(initial=0) / reach, LEAST_SCALE))

    @property
    def top(self) -> float:
        """The largest code."""
        return Scheme(dtype_of(self.dtype), self.symmetric).limits[1]

    def statistics(
        self, module: ModuleOp, layers: list[Layer], ctx: Context
    ) -> dict[str, Statistics]:
        """What the samples say of each layer's input, by the layer's name."""
        groups = by_input(layers)
        found = {value: Statistics() for value in groups}
        for arrays in observed(module, list(groups), ctx):
            for (value, readers), array in zip(groups.items(), arrays, strict=True):
                wanted = self.gptq and any(has_two_dims(layer) for layer in readers)
                found[value].add(array, readers[0].input_axis, wanted)
        return {v.name: found[value] for value, readers in groups.items() for v in readers}


@dataclass
class Statistics:
    """Of a layer's input: how many rows were seen, sums of rows, squares and outer products."""

    count: int = 0
    total: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0
    products: np.ndarray | None = None

    def add(self, x: np.ndarray, axis: int, products: bool) -> None:
        rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]).astype(np.float64)
        self.count += len(rows)
        self.total = self.total + rows.sum(0)
        self.squares = self.squares + np.square(rows).sum(0)
        if products:
            self.products = rows.T @ rows + (0 if self.products is None else self.products)

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self.total) / max(self.count, 1)

    @property
    def power(self) -> np.ndarray:
        """The mean of squares."""
        return np.asarray(self.squares) / max(self.count, 1)


def has_two_dims(layer: Layer) -> bool:
    return not layer.is_convolution and layer.array().ndim == 2


def mean_error(layer: Layer, error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """What each output channel is too large by, for inputs of that mean.

    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", section
    4.2; a convolution's borders count as the rest.
    """
    if not layer.is_convolution:
        return mean @ error if error.ndim == 2 else np.zeros(error.shape[-1])
    groups = layer.op.groups  # type: ignore[union-attr]
    per_group = error.shape[0] // groups
    inputs = mean.reshape(groups, 1, -1).repeat(per_group, 1).reshape(error.shape[:2])
    return (error.sum(tuple(range(2, error.ndim))) * inputs).sum(1)
