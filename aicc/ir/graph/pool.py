"""Pooling over x[N, C, *S], or x[N, *S, C] with `layout` nhwc, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.irdl import opt_operand_def

from aicc.ir.dtypes import i64
from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    is_float,
    is_numeric,
    operand_def,
    require,
    require_dtype,
    require_lengths,
    result_def,
    structural,
)
from aicc.ir.graph.contract import LAYOUTS, channels_first, check_window, window_size
from aicc.ir.op import graph_op
from aicc.ir.params import DIMS, INTS, param
from aicc.ir.symbols import Dim, ceildiv
from aicc.ir.types import Shape, element_type, numel, rank_of, shape_of, tensor
from aicc.ir.values import SymbolicValues


class _PoolOp(GraphOp):
    kernel_shape: tuple[int, ...] = param(INTS)
    strides: tuple[int, ...] = param(INTS)
    pads: tuple[int, ...] = param(INTS)
    dilations: tuple[int, ...] = param(INTS)
    ceil_mode: bool = param(bool, default=False)

    def pooled(self, x: Shape) -> Shape:
        """The result's shape. With ceil_mode no window starts in the high padding."""
        last = getattr(self, "layout", "nchw") == "nhwc"
        if last:
            x = channels_first(x)
        n = len(x) - 2
        require(self, n >= 1, "the input must have rank 3 or more")
        require_lengths(self, n, kernel_shape=self.kernel_shape)
        check_window(self, n)
        out: list[Dim | None] = [x[0], x[1]]
        for i in range(n):
            size, k, s = x[2 + i], self.kernel_shape[i], self.strides[i]
            low, d = self.pads[i], self.dilations[i]
            pad = low + self.pads[n + i]
            if self.ceil_mode and size is not None:
                count = ceildiv(size + (pad - (k - 1) * d - 1), s) + 1
                if isinstance(count, int) and isinstance(size, int):
                    count -= (count - 1) * s >= size + low
                else:
                    count = None
            else:
                count = window_size(size, k, s, pad, d)
            fits = not isinstance(count, int) or count >= 0
            require(self, fits, f"the window {k} is larger than the padded input {size}")
            out.append(count)
        if last:
            out.append(out.pop(1))
        return tuple(out)

    def flops(self) -> Dim:
        total = numel(shape_of(self.results[0]))
        taps = numel(self.kernel_shape)
        return 0 if total is None or taps is None else total * taps


class _LaidOutPool(_PoolOp):
    layout: str = param(str, default="nchw", choices=LAYOUTS)


@graph_op
class MaxPool(_LaidOutPool):
    """The maximum of each window, and its flat index in the channel's plane (i64).

    Padding never wins; NaN does. ONNX MaxPool, aten.max_pool2d_with_indices.
    """

    name = "graph.max_pool"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    indices = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_numeric)
        shape = self.pooled(shape_of(self.input))
        return [tensor(shape, dtype), tensor(shape, i64)]


@graph_op
class AvgPool(_LaidOutPool):
    """The mean of each window, with or without padding in the count. ONNX AveragePool."""

    name = "graph.avg_pool"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    count_include_pad: bool = param(bool, default=False)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        return [tensor(self.pooled(shape_of(self.input)), dtype)]


class _PoolGrad(_PoolOp):
    def unpooled(self, values: SymbolicValues, grad_shape: Shape) -> Shape:
        spatial = structural(self, "input_spatial", values, len(grad_shape) - 2)
        return (*grad_shape[:2], *(spatial or (None,) * (len(grad_shape) - 2)))


@graph_op
class AvgPoolGrad(_PoolGrad):
    """The gradient of `avg_pool` by its input, whose spatial sizes are `input_spatial`."""

    name = "graph.avg_pool_grad"
    traits = PURE
    output_grad = operand_def(TENSOR)
    dyn_input_spatial = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    input_spatial: tuple = param(DIMS, default=None)
    count_include_pad: bool = param(bool, default=False)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.output_grad, is_float)
        return [tensor(self.unpooled(values, shape_of(self.output_grad)), dtype)]


@graph_op
class MaxPoolGrad(GraphOp):
    """Each gradient added at its index in the channel's plane of sizes `input_spatial`.

    The gradient of `max_pool` by its input; also ONNX MaxUnpool (whose indices don't repeat).
    Indices of a pooling come with its windows, for those who would rather ask than scatter.
    """

    name = "graph.max_pool_grad"
    traits = PURE
    output_grad = operand_def(TENSOR)
    indices = operand_def(TENSOR)
    dyn_input_spatial = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    input_spatial: tuple = param(DIMS, default=None)
    kernel_shape: tuple[int, ...] = param(INTS, default=())
    strides: tuple[int, ...] = param(INTS, default=())
    pads: tuple[int, ...] = param(INTS, default=())
    dilations: tuple[int, ...] = param(INTS, default=())

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.output_grad, is_numeric)
        require(self, element_type(self.indices) == i64, "the indices must be i64")
        n = rank_of(self.output_grad) - 2
        require(self, n >= 1, "the gradient must have rank 3 or more")
        if self.kernel_shape:
            require_lengths(self, n, kernel_shape=self.kernel_shape)
            check_window(self, n)
        spatial = structural(self, "input_spatial", values, n) or (None,) * n
        return [tensor((*shape_of(self.output_grad)[:2], *spatial), dtype)]
