"""Evens out the channels between two convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.ir.graph import Add, Conv, MatMul, MaxPool, Relu
from aicc.ir.graph.folders import constant_of
from aicc.ir.types import element_type, shape_of
from aicc.passes.dce import eliminate_dead_code
from aicc.passes.quantization.layers import Layer, layers_of
from aicc.passes.weights import derived_constant

ROUNDS = 20
CLOSE = 1e-3


@dataclass(frozen=True)
class EqualizeWeights(ModulePass):
    """Scale channels between layers so that both layers' weights have the same range for each.

    ``W2 · relu(W1 · x) = (W2 / s) · relu((s · W1) · x)`` for positive s, one a channel, with only
    ReLU, a maximum pooling and a bias between the layers (Nagel et al., "Data-Free Quantization
    Through Weight Equalization and Bias Correction", section 4.1). Chains are gone through until
    nothing changes by more than a thousandth.
    """

    name = "equalize-weights"
    skip: tuple[str, ...] = ()

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        layers = [v for v in layers_of(op, self.skip) if not v.is_quantized]
        pairs = [(a, b) for a in layers if (b := follower(a, layers)) is not None]
        for _ in range(ROUNDS):
            changes = [equalize(first, second) for first, second in pairs]
            if not changes or max(changes) < CLOSE:
                break
        eliminate_dead_code(op)


def follower(layer: Layer, layers: list[Layer]) -> Layer | None:
    """The one layer that reads what this one gives, through nothing that minds a scale."""
    if not can_scale_outputs(layer):
        return None
    value = layer.op.result
    while True:
        uses = list(value.uses)
        if len(uses) != 1:
            return None
        user = uses[0].operation
        if isinstance(user, (Conv, MatMul)):
            break
        if not (isinstance(user, (Relu, MaxPool)) or is_bias(user, layer)):
            return None
        value = user.results[0]
    second = next((v for v in layers if v.op is user and v.input is value), None)
    return second if second is not None and channels_match(layer, second) else None


def is_bias(user: object, layer: Layer) -> bool:
    """Whether a matmul's result only has a constant row added here."""
    if not isinstance(user, Add) or layer.is_convolution or user.lhs is not layer.op.result:
        return False
    return constant_of(user.rhs) is not None and shape_of(user.rhs) == shape_of(user.lhs)[-1:]


def can_scale_outputs(layer: Layer) -> bool:
    op = layer.op
    return not isinstance(op, Conv) or op.bias is None or constant_of(op.bias) is not None


def channels_match(first: Layer, second: Layer) -> bool:
    """Whether each input channel of the second is an output channel of the first."""
    if first.is_convolution != second.is_convolution or first.array().dtype != np.float32:
        return False
    groups = getattr(second.op, "groups", 1)
    depthwise = groups == second.array().shape[0] and second.array().shape[1] == 1
    return groups == 1 or depthwise


def input_channels(layer: Layer) -> int:
    """The weight's axis that lies along the layer's input channels."""
    grouped = getattr(layer.op, "groups", 1) > 1
    return layer.channel_axis if grouped else layer.summed_axis


def equalize(first: Layer, second: Layer) -> float:
    """Scale one pair; how far the factors are from 1."""
    ranges = []
    for layer, axis in ((first, first.channel_axis), (second, input_channels(second))):
        weight = layer.array()
        others = tuple(i for i in range(weight.ndim) if i != axis)
        ranges.append(np.abs(weight).max(others).astype(np.float64))
    one, two = ranges
    live = (one > 0) & (two > 0)
    factor = np.ones(one.shape)
    factor[live] = np.sqrt(two[live] / one[live])
    scale(first, first.channel_axis, factor)
    scale_bias(first, factor)
    scale(second, input_channels(second), 1 / factor)
    return float(np.abs(factor - 1).max())


def scale(layer: Layer, axis: int, factor: np.ndarray) -> None:
    weight = layer.array()
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    made = derived_constant(layer.weight, (weight * factor.reshape(shape)).astype(weight.dtype))
    layer.builder()._insert(made)
    layer.set_weight(made.result)


def scale_bias(layer: Layer, factor: np.ndarray) -> None:
    """The bias that follows a layer, scaled as its weights are."""
    op = layer.op
    owner, index = op, 2
    if isinstance(op, MatMul):
        (use,) = op.result.uses
        owner, index = use.operation, 1
        if not is_bias(owner, layer):
            return
    elif op.bias is None:
        return
    known = constant_of(owner.operands[index])
    assert known is not None
    b = layer.builder()
    owner.operands[index] = b.constant((known * factor).astype(element_type(op.result).np))
