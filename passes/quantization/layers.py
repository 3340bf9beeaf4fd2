"""What of a module is quantized: products of a computed tensor with a constant weight."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import FusedLoc, LocationAttr, ModuleOp, NameLoc
from xdsl.ir import SSAValue

from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import dtype_of
from aicc.ir.graph import Add, Conv, Dequantize, MatMul, Mul
from aicc.ir.graph.folders import constant_of
from aicc.ir.module import main_of
from aicc.ir.types import element_type, rank_of, shape_of
from aicc.passes.quantization.schemes import Parameters
from aicc.passes.weights import derived_constant


@dataclass(frozen=True)
class Layer:
    """A matmul or convolution whose right operand is a constant, quantized or not.

    `name` is that of the source model's node or module, with a number where several share it.
    """

    op: MatMul | Conv
    name: str

    @property
    def input(self) -> SSAValue:
        """What the layer reads, with its own quantization."""
        return self.op.operands[0]

    @property
    def source(self) -> SSAValue:
        """What the layer reads, before it is quantized for it."""
        value = self.input
        if isinstance(value.owner, Dequantize):
            value = value.owner.input.owner.operands[0]  # type: ignore[union-attr]
        return value

    @property
    def weight(self) -> SSAValue:
        return self.op.operands[1]

    @property
    def is_convolution(self) -> bool:
        return isinstance(self.op, Conv)

    @property
    def channel_axis(self) -> int:
        """The weight's axis along which the layer's outputs lie."""
        return 0 if self.is_convolution else rank_of(self.weight) - 1

    @property
    def summed_axis(self) -> int:
        """The weight's axis along which inputs are summed."""
        return 1 if self.is_convolution else rank_of(self.weight) - 2

    @property
    def input_axis(self) -> int:
        """The input's axis that is summed over."""
        return 1 if self.is_convolution else rank_of(self.input) - 1

    @property
    def is_quantized(self) -> bool:
        """Whether the weight is."""
        return isinstance(self.weight.owner, Dequantize)

    @property
    def is_input_quantized(self) -> bool:
        return isinstance(self.input.owner, Dequantize)

    def array(self) -> np.ndarray:
        """The weight as real numbers."""
        array = constant_of(self.weight)
        assert array is not None, "the weight is quantized"
        return array

    def set_weight(self, value: SSAValue) -> None:
        self.op.operands[1] = value

    def set_input(self, value: SSAValue) -> None:
        self.op.operands[0] = value

    def builder(self) -> GraphBuilder:
        """Inserts before the layer."""
        return GraphBuilder.before(self.op)


def layers_of(module: ModuleOp, skip: Sequence[str] = ()) -> list[Layer]:
    """The layers of ``@main`` outside regions, in order, but those of the names in `skip`.

    Raises ValueError for a name that no layer has.
    """
    found = [op for op in main_of(module).body.block.ops if isinstance(op, (MatMul, Conv))]
    found = [op for op in found if has_weight(op)]
    names = [name_of(op.location) or op.kind for op in found]
    shared = {name for name, count in Counter(names).items() if count > 1}
    numbers: Counter[str] = Counter()
    layers = []
    for op, name in zip(found, names, strict=True):
        if name in shared:
            numbers[name] += 1
            name = f"{name}#{numbers[name]}"
        layers.append(Layer(op, name))
    known = {layer.name for layer in layers}
    for name in skip:
        if name not in known:
            raise ValueError(f"no layer '{name}' (there are: {', '.join(sorted(known))})")
    return [layer for layer in layers if layer.name not in skip]


def has_weight(op: MatMul | Conv) -> bool:
    """Whether the right operand is a constant of floats, or one that was quantized."""
    weight = op.operands[1]
    if not element_type(op.operands[0]).is_float or constant_of(op.operands[0]) is not None:
        return False
    if isinstance(weight.owner, Dequantize):
        return constant_of(weight.owner.input) is not None
    return constant_of(weight) is not None


def name_of(location: LocationAttr) -> str:
    """The name that a location begins with, or nothing."""
    while isinstance(location, FusedLoc):
        location = location.locations.data[0]  # type: ignore[assignment]
    return location.desc.data if isinstance(location, NameLoc) else ""


def dequantized(
    layer: Layer, weight: np.ndarray, parameters: Parameters, codes: np.ndarray | None = None
) -> SSAValue:
    """A weight as constant codes and what makes real numbers of them again, before its layer."""
    b = layer.builder()
    scheme = parameters.scheme
    codes = parameters.quantize(weight) if codes is None else codes
    source = layer.weight
    made = derived_constant(source, codes)
    made.result.name_hint = source.name_hint
    b._insert(made)
    scale, zero = constants(b, parameters)
    return b.emit(
        Dequantize,
        made.result,
        scale,
        zero,
        axis=scheme.axis or 0,
        block_size=scheme.group,
        dtype=element_type(layer.input),
    )


def constants(b: GraphBuilder, parameters: Parameters) -> tuple[SSAValue, SSAValue | None]:
    """Scale and zero point as constants; one number for all is a scalar."""
    scale = parameters.scale
    if parameters.scheme.scale_dtype != "f32":
        scale = scale.astype(dtype_of(parameters.scheme.scale_dtype).np)
    zero = parameters.zero
    return b.constant(scale), None if zero is None else b.constant(zero)


def by_input(layers: Sequence[Layer]) -> dict[SSAValue, list[Layer]]:
    """Layers by what they read."""
    groups: dict[SSAValue, list[Layer]] = defaultdict(list)
    for layer in layers:
        groups[layer.source].append(layer)
    return groups


def rescale_input(layers: Sequence[Layer], factor: np.ndarray) -> None:
    """Divide the input channels of layers that read one tensor by `factor`, and multiply weights.

    ``x @ W = (x / s) @ (s · W)``, with s of the input's channels, a factor each.
    """
    first = layers[0]
    b = first.builder()
    shape = [-1 if i == first.input_axis else 1 for i in range(rank_of(first.input))]
    inverse = (1 / factor).astype(first.array().dtype)
    scaled = b.emit(Mul, first.input, b.constant(inverse.reshape(shape)))
    for layer in layers:
        weight = layer.array()
        along = [-1 if i == layer.summed_axis else 1 for i in range(weight.ndim)]
        made = derived_constant(layer.weight, (weight * factor.reshape(along)).astype(weight.dtype))
        layer.builder()._insert(made)
        layer.set_weight(made.result)
        layer.set_input(scaled)


def scale_input(layer: Layer, factor: np.float32) -> None:
    """Multiply what the layer reads by a number, as it is read: its weight was divided by that."""
    b = layer.builder()
    number = b.constant(factor.astype(element_type(layer.input).np))
    layer.set_input(b.emit(Mul, layer.input, number))


def add_to_bias(layer: Layer, correction: np.ndarray) -> None:
    """Add a number for each output channel to what the layer gives."""
    op = layer.op
    if isinstance(op, Conv):
        b = layer.builder()
        known = constant_of(op.bias)
        if op.bias is not None and known is None:
            return
        total = correction if known is None else known + correction
        bias = b.constant(total.astype(element_type(op.result).np))
        op.operands = [op.input, op.weight, bias]
        return
    uses = list(op.result.uses)
    user = uses[0].operation if len(uses) == 1 else None
    if isinstance(user, Add):
        other = user.operands[1 - uses[0].index]
        known = constant_of(other)
        if known is not None and shape_of(other) == shape_of(op.result)[-1:]:
            b = GraphBuilder.before(user)
            user.operands[1 - uses[0].index] = b.constant((known + correction).astype(known.dtype))
            return
    b = _after(op)
    value = b.constant(correction.astype(element_type(op.result).np))
    added = b.emit(Add, op.result, value)
    op.result.replace_uses_with_if(added, lambda use: use.operation is not added.owner)


def _after(op: MatMul) -> GraphBuilder:
    following = op.next_op
    assert following is not None
    b = GraphBuilder.before(following)
    b.location = op.location
    return b
