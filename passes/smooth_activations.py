"""Moves outliers of activations into weights, where they are easier to quantize."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.passes.dce import eliminate_dead_code
from aicc.passes.quantization.calibration import observed
from aicc.passes.quantization.layers import by_input, layers_of, rescale_input


@dataclass(frozen=True)
class SmoothActivations(ModulePass):
    """Divide each input channel of matmuls by a factor, and multiply its weights by it.

    The factor is ``max|x|^alpha / max|w|^(1 − alpha)`` (Xiao et al., "SmoothQuant: Accurate and
    Efficient Post-Training Quantization for Large Language Models", equation 4): with 0.5 both have
    the same largest magnitude afterwards.
    """

    name = "smooth-activations"
    alpha: float = 0.5
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}: write a number from 0 to 1")

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        layers = [v for v in layers_of(op, self.skip) if not (v.is_convolution or v.is_quantized)]
        groups = {v: g for v, g in by_input(layers).items() if all_two_dims(g)}
        largest = {value: np.zeros(()) for value in groups}
        for arrays in observed(op, list(groups), ctx):
            for value, array in zip(groups, arrays, strict=True):
                rows = np.abs(array).reshape(-1, array.shape[-1])
                largest[value] = np.maximum(largest[value], rows.max(0, initial=0))
        for value, readers in groups.items():
            weight = np.max([np.abs(v.array()).max(1) for v in readers], axis=0)
            x = np.asarray(largest[value], np.float64)
            factor = np.ones(x.shape)
            live = (x > 0) & (weight > 0)
            factor[live] = x[live] ** self.alpha / weight[live] ** (1 - self.alpha)
            rescale_input(readers, np.clip(factor, 1e-5, 1e5))
        eliminate_dead_code(op)


def all_two_dims(readers: list) -> bool:
    return all(layer.array().ndim == 2 for layer in readers)
