"""Contractions: matmul, convolutions and their gradients, determinant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import opt_operand_def

from aicc.ir.dtypes import DType
from aicc.ir.graph.binary import broadcast_operands
from aicc.ir.graph.common import (
    PURE,
    SEGMENTS,
    TENSOR,
    GraphOp,
    is_float,
    is_numeric,
    operand_def,
    require,
    require_dtype,
    require_lengths,
    require_rank,
    require_same_dtype,
    result_def,
)
from aicc.ir.op import graph_op
from aicc.ir.params import DIMS, INTS, param
from aicc.ir.symbols import Dim, floordiv
from aicc.ir.types import (
    Shape,
    broadcast_shapes,
    compatible_dim,
    element_type,
    numel,
    rank_of,
    shape_of,
    tensor,
)
from aicc.ir.values import SymbolicValues


def _times(*dims: Dim | None) -> Dim:
    total = numel(dims)
    return 0 if total is None else total


@graph_op
class MatMul(GraphOp):
    """Matrix product of the last two dims, batch dims broadcast as in NumPy. ONNX MatMul, aten.bmm.

    Both operands have rank ≥ 2. f16, bf16 and 8-bit floats accumulate in f32, integers in
    `out_dtype` (for i8 usually i32), also the result's dtype (default: the left operand's).
    Integer operands may differ in sign.
    """

    name = "graph.matmul"
    traits = PURE
    lhs = operand_def(TENSOR)
    rhs = operand_def(TENSOR)
    result = result_def(TENSOR)
    out_dtype: DType | None = param(DType, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.lhs, is_numeric, "the left operand")
        if not dtype.is_integer:
            require_same_dtype(self, self.lhs, self.rhs)
        a, b = list(shape_of(self.lhs)), list(shape_of(self.rhs))
        require(self, len(a) >= 2 and len(b) >= 2, "operands must have rank 2 or more")
        require(
            self,
            compatible_dim(a[-1], b[-2]),
            f"{self.lhs.type} and {self.rhs.type} differ in the contracted dim",
        )
        try:
            batch = broadcast_shapes(tuple(a[:-2]), tuple(b[:-2]))
        except ValueError as e:
            require(self, False, str(e))
            raise
        return [tensor((*batch, a[-2], b[-1]), self.out_dtype or dtype)]

    def flops(self) -> Dim:
        return 2 * _times(*shape_of(self.result), shape_of(self.lhs)[-1])


def window_size(size: Dim | None, kernel: int, stride: int, pad: int, dilation: int) -> Dim | None:
    """The number of window positions along a dim: ``(size + pad − (k−1)·d − 1) // stride + 1``."""
    if size is None:
        return None
    span = size + (pad - (kernel - 1) * dilation - 1)
    return floordiv(span, stride) + 1


LAYOUTS = ("nchw", "nhwc")
"""Where channels lie: before the spatial dims, however many there are, or behind them."""


_D = TypeVar("_D")


def channels_first(shape: tuple[_D, ...]) -> tuple[_D, ...]:
    """The sizes [N, *S, C] as [N, C, *S]."""
    return (shape[0], shape[-1], *shape[1:-1])


def check_window(op: GraphOp, n: int) -> None:
    """Strides, pads and dilations of an op over `n` spatial dims."""
    require_lengths(op, n, strides=op.strides, dilations=op.dilations)  # type: ignore[attr-defined]
    require_lengths(op, 2 * n, pads=op.pads)  # type: ignore[attr-defined]
    positive = (*op.strides, *op.dilations)  # type: ignore[attr-defined]
    require(op, all(v > 0 for v in positive), "strides and dilations must be positive")


class _ConvOp(GraphOp):
    strides: tuple[int, ...] = param(INTS)
    pads: tuple[int, ...] = param(INTS)
    dilations: tuple[int, ...] = param(INTS)
    groups: int = param(int, default=1)

    def check_operands(self, x: SSAValue, w: SSAValue, bias: SSAValue | None) -> int:
        n = rank_of(x) - 2
        require(self, n >= 1, "the input must have rank 3 or more")
        require_rank(self, w, n + 2, "the weight")
        require(self, self.groups >= 1, f"groups is {self.groups}")
        if bias is not None:
            require_rank(self, bias, 1, "the bias")
        check_window(self, n)
        return n


@graph_op
class Conv(_ConvOp):
    """Convolution of x[N, C, *S] with w[M, C/groups, *K] plus bias[M]. ONNX Conv, aten.convolution.

    `pads` lists the low ends, then the high ends. Integer operands give `out_dtype` (i32). With
    `layout` nhwc channels lie last: x[N, *S, C], w[*K, C/groups, M], the result [N, *S, M].
    """

    name = "graph.conv"
    traits = PURE
    input = operand_def(TENSOR)
    weight = operand_def(TENSOR)
    bias = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    out_dtype: DType | None = param(DType, default=None)
    layout: str = param(str, default="nchw", choices=LAYOUTS)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_numeric, "the input")
        if not dtype.is_integer:
            require_same_dtype(self, self.input, self.weight, self.bias)
        n = self.check_operands(self.input, self.weight, self.bias)
        x, w = shape_of(self.input), shape_of(self.weight)
        if self.layout == "nhwc":
            x, w = channels_first(x), (w[-1], w[-2], *w[:-2])
        channels = None if w[1] is None else w[1] * self.groups
        require(
            self,
            compatible_dim(x[1], channels),
            f"the input has {x[1]} channels, the weight takes {channels}",
        )
        spatial = []
        for i in range(n):
            k = w[2 + i]
            pad = self.pads[i] + self.pads[n + i]
            size = (
                window_size(x[2 + i], k, self.strides[i], pad, self.dilations[i])
                if isinstance(k, int)
                else None
            )
            require(
                self,
                not isinstance(size, int) or size >= 0,
                f"the kernel {k} is larger than the padded input {x[2 + i]}",
            )
            spatial.append(size)
        shape = (x[0], *spatial, w[0]) if self.layout == "nhwc" else (x[0], w[0], *spatial)
        return [tensor(shape, self.out_dtype or dtype)]

    def flops(self) -> Dim:
        w = shape_of(self.weight)
        summed = w[:-1] if self.layout == "nhwc" else w[1:]
        return 2 * _times(*shape_of(self.result), *summed)


@graph_op
class ConvTranspose(_ConvOp):
    """Transposed convolution of x[N, C, *S] with w[C, M/groups, *K] plus bias[M].

    The gradient of `conv` by its input. ONNX ConvTranspose, aten.convolution(transposed=True).
    """

    name = "graph.conv_transpose"
    traits = PURE
    input = operand_def(TENSOR)
    weight = operand_def(TENSOR)
    bias = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    output_padding: tuple[int, ...] = param(INTS)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float, "the input")
        require_same_dtype(self, self.input, self.weight, self.bias)
        n = self.check_operands(self.input, self.weight, self.bias)
        require_lengths(self, n, output_padding=self.output_padding)
        x, w = shape_of(self.input), shape_of(self.weight)
        require(self, compatible_dim(x[1], w[0]), f"{x[1]} input channels, weight takes {w[0]}")
        spatial: list[Dim | None] = []
        for i in range(n):
            size, k = x[2 + i], w[2 + i]
            if size is None or not isinstance(k, int):
                spatial.append(None)
                continue
            span = (k - 1) * self.dilations[i] + 1 + self.output_padding[i]
            out = (size - 1) * self.strides[i] + span - self.pads[i] - self.pads[n + i]
            fits = not isinstance(out, int) or out >= 0
            require(self, fits, f"dim {2 + i} of the result would be {out}")
            spatial.append(out)
        channels = None if w[1] is None else w[1] * self.groups
        return [tensor((x[0], channels, *spatial), dtype)]

    def flops(self) -> Dim:
        return 2 * _times(*shape_of(self.input), *shape_of(self.weight)[1:])


@graph_op
class ConvWeightGrad(_ConvOp):
    """The gradient of `conv` by its weight, from x[N, C, *S] and dy[N, M, *O]: w[M, C/groups, *K].

    aten.convolution_backward.
    """

    name = "graph.conv_weight_grad"
    traits = PURE
    input = operand_def(TENSOR)
    output_grad = operand_def(TENSOR)
    result = result_def(TENSOR)
    kernel_shape: tuple[int, ...] = param(INTS)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_same_dtype(self, self.input, self.output_grad)
        n = self.check_operands(self.input, self.output_grad, None)
        require_lengths(self, n, kernel_shape=self.kernel_shape)
        x, dy = shape_of(self.input), shape_of(self.output_grad)
        channels = None if x[1] is None else floordiv(x[1], self.groups)
        return [tensor((dy[1], channels, *self.kernel_shape), dtype)]

    def flops(self) -> Dim:
        return 2 * _times(*shape_of(self.output_grad), *shape_of(self.result)[1:])


@graph_op
class DeformConv(_ConvOp):
    """Deformable convolution: each tap is read at its own offset, bilinearly. ONNX DeformConv.

    `offset` is [N, offset_groups·prod(K)·rank, *O], `mask` [N, offset_groups·prod(K), *O].
    """

    name = "graph.deform_conv"
    traits = PURE
    irdl_options = (SEGMENTS,)
    input = operand_def(TENSOR)
    weight = operand_def(TENSOR)
    offset = operand_def(TENSOR)
    bias = opt_operand_def(TENSOR)
    mask = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    offset_groups: int = param(int, default=1)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_same_dtype(self, self.input, self.weight, self.offset, self.bias, self.mask)
        self.check_operands(self.input, self.weight, self.bias)
        x, w, o = shape_of(self.input), shape_of(self.weight), shape_of(self.offset)
        return [tensor((x[0], w[0], *o[2:]), dtype)]

    def flops(self) -> Dim:
        return 2 * _times(*shape_of(self.result), *shape_of(self.weight)[1:])


@graph_op
class Det(GraphOp):
    """The determinant of the last two dims. ONNX Det, aten.linalg_det."""

    name = "graph.det"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        shape = shape_of(self.input)
        require(self, len(shape) >= 2, "needs matrices")
        return [tensor(shape[:-2], dtype)]


__all__ = ["DIMS", "Shape", "broadcast_operands", "check_window", "element_type", "window_size"]
