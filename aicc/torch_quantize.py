"""Quantization inside ``torch.compile``: parameters are inputs there, and become constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule
from xdsl.dialects.builtin import ModuleOp
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.backends.interop import from_torch
from aicc.errors import CompileError, InputError
from aicc.ir.constants import DenseAttr
from aicc.ir.graph import Constant
from aicc.ir.module import main_of, remove_arguments, symbol_arguments
from aicc.ir.types import shape_of
from aicc.passes.quantization.layers import layers_of
from aicc.quantization import quantize


def parameters_of(gm: GraphModule, inputs: Sequence[Any]) -> dict[int, torch.Tensor]:
    """The inputs of a graph that are parameters or buffers of the model, by position.

    Raises InputError where gradients are wanted.
    """
    if torch.is_grad_enabled():
        raise InputError("quantize is for inference: call the model under torch.no_grad()")
    nodes = [n for n in gm.graph.nodes if n.op == "placeholder"]
    marks = [n.meta.get("tensor_dict") or {} for n in nodes]
    return {
        i: x
        for i, x in enumerate(inputs)
        if isinstance(x, torch.nn.Parameter) or "_dynamo_static_input_type" in marks[i]
    }


def quantized(
    module: ModuleOp, recipe: str, samples: Sequence[Any] | None, frozen: Mapping[int, torch.Tensor]
) -> ModuleOp:
    """The module with the frozen inputs as constants, and quantized where it has layers.

    `samples` are calls of the model: tuples of the tensors that are no parameters.
    """
    freeze(module, {i: from_torch(t.detach()) for i, t in frozen.items()})
    given = None if samples is None else [with_sizes(module, s) for s in samples]
    try:
        return quantize(module, recipe, given).module
    except CompileError:
        if layers_of(module):
            raise
        return module  # a part of the model without weights


def freeze(module: ModuleOp, values: Mapping[int, np.ndarray]) -> None:
    """Replace arguments of ``@main``, by position, by constants; they are arguments no more."""
    func = main_of(module)
    block = func.body.block
    for index, array in sorted(values.items()):
        arg = block.args[index]
        name = arg.name_hint or f"arg{index}"
        constant = Constant.make(value=DenseAttr.make(np.ascontiguousarray(array), name))
        constant.result.name_hint = name
        Rewriter.insert_op(constant, InsertPoint.at_start(block))
        arg.replace_all_uses_with(constant.result)
    remove_arguments(func, values)


def with_sizes(module: ModuleOp, sample: Any) -> list[Any]:
    """A call's tensors and, in their places, the sizes that the graph takes as inputs.

    Raises InputError where tensors are missing or too many.
    """
    func = main_of(module)
    symbols = symbol_arguments(func)
    tensors = list(sample) if isinstance(sample, (tuple, list)) else [sample]
    wanted = [a for i, a in enumerate(func.args) if i not in symbols]
    if len(tensors) != len(wanted):
        raise InputError(f"samples have {len(tensors)} tensors, the graph takes {len(wanted)}")
    sizes: dict[str, int] = {}
    for arg, tensor in zip(wanted, tensors, strict=True):
        sizes.update({str(d): n for d, n in zip(shape_of(arg), tensor.shape, strict=True)})
    rest = iter(tensors)
    return [
        np.int64(sizes[symbols[i]]) if i in symbols else next(rest) for i in range(len(func.args))
    ]
