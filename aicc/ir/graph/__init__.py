"""The graph dialect: value semantics on whole tensors, a closed set of named ops.

`OPS` is the table of all ops, from name to class. Every op's docstring gives its meaning, shapes
and source.
"""

from __future__ import annotations

from xdsl.dialect_interfaces.constant_materialization import ConstantMaterializationInterface
from xdsl.ir import Attribute, Dialect, Operation, TypeAttribute

from aicc.ir.constants import DenseAttr
from aicc.ir.graph.attention import (
    Attention,
    AttentionBackwardKeyValue,
    AttentionBackwardQuery,
    AttentionWithLse,
)
from aicc.ir.graph.binary import (
    Add,
    And,
    Atan2,
    Div,
    Eq,
    Ge,
    Gt,
    Le,
    Lt,
    Max,
    Min,
    Mod,
    Mul,
    Ne,
    Or,
    Pow,
    Rem,
    Select,
    Shl,
    Shr,
    Sub,
    Xor,
)
from aicc.ir.graph.contract import (
    Conv,
    ConvTranspose,
    ConvWeightGrad,
    DeformConv,
    Det,
    MatMul,
)
from aicc.ir.graph.control import (
    CustomCall,
    If,
    Loop,
    Yield,
)
from aicc.ir.graph.creation import (
    Constant,
    Iota,
    ShapeExpr,
    ShapeOf,
)
from aicc.ir.graph.fused import Fused
from aicc.ir.graph.image import (
    GridSample,
    NonMaxSuppression,
    Resize,
    RoiAlign,
)
from aicc.ir.graph.indexing import (
    Gather,
    GatherElements,
    GatherND,
    NonZero,
    ScatterElements,
    ScatterND,
    Sort,
    TopK,
    Unique,
)
from aicc.ir.graph.misc import (
    DFT,
    Dequantize,
    Quantize,
    RngNormal,
    RngUniform,
)
from aicc.ir.graph.norm import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    LogSoftmax,
    RMSNorm,
    Softmax,
)
from aicc.ir.graph.pool import (
    AvgPool,
    AvgPoolGrad,
    MaxPool,
    MaxPoolGrad,
)
from aicc.ir.graph.reduce import (
    ArgMax,
    ArgMin,
    CumMax,
    CumMin,
    CumProd,
    CumSum,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
)
from aicc.ir.graph.shape import (
    Concat,
    Expand,
    Pad,
    Reshape,
    Slice,
    Transpose,
)
from aicc.ir.graph.unary import (
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Bitcast,
    Cast,
    Ceil,
    Cos,
    Cosh,
    Erf,
    Exp,
    Expm1,
    Floor,
    Gelu,
    IsInf,
    IsNaN,
    Log,
    Log1p,
    Neg,
    Not,
    Reciprocal,
    Relu,
    Round,
    Rsqrt,
    Sigmoid,
    Sign,
    Silu,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
    Trunc,
)
from aicc.ir.graph.winograd import WinogradConv, WinogradInputTransform
from aicc.ir.op import GraphOp
from aicc.ir.quantized import QuantizedAttr
from aicc.ir.types import DimsAttr

_CLASSES: tuple[type[GraphOp], ...] = (
    Abs,
    Neg,
    Sign,
    Ceil,
    Floor,
    Round,
    Trunc,
    Exp,
    Expm1,
    Log,
    Log1p,
    Sqrt,
    Rsqrt,
    Reciprocal,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    Sigmoid,
    Relu,
    Silu,
    Gelu,
    Not,
    IsNaN,
    IsInf,
    Cast,
    Bitcast,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Mod,
    Min,
    Max,
    Atan2,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Pow,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Select,
    Constant,
    Iota,
    ShapeOf,
    ShapeExpr,
    Reshape,
    Expand,
    Transpose,
    Concat,
    Slice,
    Pad,
    Gather,
    GatherElements,
    GatherND,
    ScatterElements,
    ScatterND,
    NonZero,
    Unique,
    TopK,
    Sort,
    ReduceSum,
    ReduceProd,
    ReduceMax,
    ReduceMin,
    ReduceMean,
    ArgMax,
    ArgMin,
    CumSum,
    CumProd,
    CumMax,
    CumMin,
    MatMul,
    Conv,
    ConvTranspose,
    ConvWeightGrad,
    DeformConv,
    Det,
    MaxPool,
    AvgPool,
    AvgPoolGrad,
    MaxPoolGrad,
    Softmax,
    LogSoftmax,
    LayerNorm,
    RMSNorm,
    BatchNorm,
    GroupNorm,
    Attention,
    AttentionWithLse,
    AttentionBackwardQuery,
    AttentionBackwardKeyValue,
    Resize,
    GridSample,
    RoiAlign,
    NonMaxSuppression,
    DFT,
    Quantize,
    Dequantize,
    RngUniform,
    RngNormal,
    Yield,
    If,
    Loop,
    CustomCall,
    Fused,
    WinogradInputTransform,
    WinogradConv,
)

OPS: dict[str, type[GraphOp]] = {c.name: c for c in _CLASSES}


class _MaterializeConstant(ConstantMaterializationInterface):
    """Folders give a `DenseAttr`; the greedy rewriter turns it into a constant op by this."""

    def materialize_constant(self, value: Attribute, type: TypeAttribute) -> Operation | None:
        if not isinstance(value, DenseAttr) or value.type != type:
            return None
        return Constant.make(value=value)


Graph = Dialect(
    "graph", list(_CLASSES), [DenseAttr, DimsAttr, QuantizedAttr], [_MaterializeConstant()]
)

__all__ = ["OPS", "Graph", *(c.__name__ for c in _CLASSES)]  # pyright: ignore
