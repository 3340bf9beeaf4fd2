"""Rewriting constant weights: what the weight-folding passes share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue
from xdsl.pattern_rewriter import PatternRewriter
from xdsl.rewriter import InsertPoint

from aicc.ir.constants import INLINE_ELEMENTS, DenseAttr, Literal
from aicc.ir.dtypes import dtype_of
from aicc.ir.graph import Constant, Conv, ConvTranspose
from aicc.ir.graph.folders import constant_of
from aicc.passes.matrices import Derived, Matrix


def derived_constant(
    source: SSAValue, array: Matrix, how: str = "", by: Sequence[np.ndarray | str] = ()
) -> Constant:
    """A constant computed from another one, named after it.

    `how` it was and `by` what else tell it from others made from that; without them its content
    does, which takes long to hash for a large weight.
    """
    base = resource_of(source)
    named = base is not None and bool(how)
    if isinstance(array, Derived) and (not named or math.prod(array.shape) <= INLINE_ELEMENTS):
        array = array()
    if base is None or not how:
        assert isinstance(array, np.ndarray)
        base, how = base or "constant", DenseAttr(array, "derived").data.digest[:12]
    elif by:
        how += "." + hashlib.sha256("\0".join(map(_identity, by)).encode()).hexdigest()[:12]
    name = f"{base}.{how}"
    if isinstance(array, Derived):
        literal = Literal(None, name, array.shape, dtype_of(array.dtype), array)
        return Constant.make(value=DenseAttr(literal))
    return Constant.make(value=DenseAttr.make(array, name))


def resource_of(value: SSAValue) -> str | None:
    """The name of a constant's elements, if it is one and they have one."""
    owner = value.owner
    return owner.value.resource if isinstance(owner, Constant) else None


def _identity(x: np.ndarray | str) -> str:
    return x if isinstance(x, str) else DenseAttr(x, "part").data.digest


def scaled_convolution(
    conv: Conv | ConvTranspose,
    factor: np.ndarray,
    offset: np.ndarray | None,
    rewriter: PatternRewriter,
) -> SSAValue | None:
    """`conv` · factor + offset per output channel, as one convolution of new weights.

    `factor` and `offset` have one element a channel, float64. None if a weight isn't constant.
    """
    weight = constant_of(conv.weight)
    bias = constant_of(conv.bias)
    if weight is None or (conv.bias is not None and bias is None) or weight.dtype.kind != "f":
        return None
    wide = weight.astype(np.float64)
    if isinstance(conv, Conv):
        new_weight = wide * factor.reshape(-1, *[1] * (weight.ndim - 1))
    else:
        groups = conv.groups
        grouped = wide.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        scale = factor.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        new_weight = (grouped * scale).reshape(weight.shape)
    total = np.zeros(factor.shape) if bias is None else bias.astype(np.float64)
    total = total * factor + (0 if offset is None else offset)
    w = derived_constant(conv.weight, new_weight.astype(weight.dtype), "scaled", [factor])
    operands: list[SSAValue | None] = [conv.input, w.result]
    rewriter.insert(w, InsertPoint.before(conv))
    if bias is not None or offset is not None:
        b = derived_constant(conv.bias or conv.weight, total.astype(weight.dtype))
        rewriter.insert(b, InsertPoint.before(conv))
        operands.append(b.result)
    new = type(conv).make(
        *operands,
        result_types=list(conv.result_types),
        location=conv.location,
        **conv.param_values(),
    )
    new.result.name_hint = conv.result.name_hint
    rewriter.insert(new, InsertPoint.after(conv))
    return new.result
