"""Normalisations and softmax: composites that deserve their own kernel."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.irdl import opt_operand_def

from aicc.ir.dtypes import DType, f32
from aicc.ir.graph.common import (
    PURE,
    SEGMENTS,
    TENSOR,
    GraphOp,
    UnaryOp,
    is_float,
    operand_def,
    require,
    require_axis,
    require_dtype,
    require_rank,
    require_same_dtype,
    result_def,
    result_numel,
)
from aicc.ir.op import graph_op
from aicc.ir.params import param
from aicc.ir.symbols import Dim
from aicc.ir.types import compatible_dim, rank_of, shape_of, tensor
from aicc.ir.values import SymbolicValues


def statistics_dtype(dtype: DType) -> DType:
    """Mean and variance of f16 and bf16 tensors are kept in f32."""
    return f32 if dtype.is_low_precision_float else dtype


class _AxisOp(UnaryOp):
    axis: int = param(int)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_axis(self, self.axis, rank_of(self.input))
        return super().infer(values)

    def flops(self) -> Dim:
        return 5 * result_numel(self)


@graph_op
class Softmax(_AxisOp):
    """e^(x − max) / Σ e^(x − max) along an axis. ONNX Softmax, aten._softmax."""

    name = "graph.softmax"


@graph_op
class LogSoftmax(_AxisOp):
    """x − max − log Σ e^(x − max) along an axis. ONNX LogSoftmax, aten._log_softmax."""

    name = "graph.log_softmax"


def _check_affine(op: GraphOp, axis: int) -> None:
    shape = shape_of(op.operands[0])
    for name in ("scale", "bias"):
        value = getattr(op, name, None)
        if value is None:
            continue
        own = shape_of(value)
        fits = len(own) <= len(shape) and all(
            a == 1 or compatible_dim(a, b) for a, b in zip(own[::-1], shape[::-1], strict=False)
        )
        require(op, fits, f"{name} {value.type} doesn't broadcast to {op.operands[0].type}")


@graph_op
class LayerNorm(GraphOp):
    """(x − mean) · rstd · scale + bias over the dims from `axis` on. ONNX LayerNormalization.

    Also gives mean and rstd = 1/sqrt(variance + epsilon), reduced dims kept as 1, in f32 for 16-bit
    floats. aten.native_layer_norm (Ba et al. 2016).
    """

    name = "graph.layer_norm"
    traits = PURE
    irdl_options = (SEGMENTS,)
    input = operand_def(TENSOR)
    scale = opt_operand_def(TENSOR)
    bias = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    mean = result_def(TENSOR)
    rstd = result_def(TENSOR)
    axis: int = param(int)
    epsilon: float = param(float, default=1e-5)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        require_same_dtype(self, self.input, self.scale, self.bias)
        shape = shape_of(self.input)
        require_axis(self, self.axis, len(shape))
        _check_affine(self, self.axis)
        reduced = (*shape[: self.axis], *([1] * (len(shape) - self.axis)))
        stats = tensor(reduced, statistics_dtype(dtype))
        return [tensor(shape, dtype), stats, stats]

    def flops(self) -> Dim:
        return 8 * result_numel(self)


@graph_op
class RMSNorm(GraphOp):
    """x / sqrt(mean(x²) + epsilon) · scale over the dims from `axis` on.

    ONNX RMSNormalization, aten.rms_norm (Zhang and Sennrich 2019).
    """

    name = "graph.rms_norm"
    traits = PURE
    input = operand_def(TENSOR)
    scale = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    axis: int = param(int)
    epsilon: float = param(float, default=1e-5)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        require_same_dtype(self, self.input, self.scale)
        require_axis(self, self.axis, rank_of(self.input))
        _check_affine(self, self.axis)
        return [tensor(shape_of(self.input), dtype)]

    def flops(self) -> Dim:
        return 5 * result_numel(self)


@graph_op
class BatchNorm(GraphOp):
    """(x − mean) / sqrt(variance + epsilon) · scale + bias per channel (dim 1), inference form.

    ONNX BatchNormalization, aten._native_batch_norm_legit_no_training.
    """

    name = "graph.batch_norm"
    traits = PURE
    input = operand_def(TENSOR)
    scale = operand_def(TENSOR)
    bias = operand_def(TENSOR)
    mean = operand_def(TENSOR)
    variance = operand_def(TENSOR)
    result = result_def(TENSOR)
    epsilon: float = param(float, default=1e-5)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        shape = shape_of(self.input)
        require(self, len(shape) >= 2, "the input must have rank 2 or more")
        for name in ("scale", "bias", "mean", "variance"):
            v = getattr(self, name)
            require_dtype(self, v, is_float, name)
            require_rank(self, v, 1, name)
            require(self, compatible_dim(shape_of(v)[0], shape[1]), f"{name} must have C elements")
        return [tensor(shape, dtype)]

    def flops(self) -> Dim:
        return 2 * result_numel(self)


@graph_op
class GroupNorm(GraphOp):
    """Normalise x[N, C, *S] over each of `groups` groups of channels, then scale[C], bias[C].

    Also gives mean and rstd [N, groups], in f32 for 16-bit floats. ONNX GroupNormalization and
    InstanceNormalization (groups = C), aten.native_group_norm (Wu and He 2018).
    """

    name = "graph.group_norm"
    traits = PURE
    irdl_options = (SEGMENTS,)
    input = operand_def(TENSOR)
    scale = opt_operand_def(TENSOR)
    bias = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    mean = result_def(TENSOR)
    rstd = result_def(TENSOR)
    groups: int = param(int)
    epsilon: float = param(float, default=1e-5)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        require_same_dtype(self, self.input, self.scale, self.bias)
        shape = shape_of(self.input)
        require(self, len(shape) >= 2, "the input must have rank 2 or more")
        c, g = shape[1], self.groups
        require(self, g >= 1 and (not isinstance(c, int) or c % g == 0), f"{g} groups of {c}")
        stats = tensor((shape[0], g), statistics_dtype(dtype))
        return [tensor(shape, dtype), stats, stats]

    def flops(self) -> Dim:
        return 8 * result_numel(self)
