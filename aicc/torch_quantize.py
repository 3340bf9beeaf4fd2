"""Quantization inside ``torch.compile``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.errors import CompileError, InputError
from aicc.ir.module import main_of, symbol_arguments
from aicc.ir.types import shape_of
from aicc.passes.quantization.layers import layers_of
from aicc.quantization import quantize


def quantized(module: ModuleOp, recipe: str, samples: Sequence[Any] | None) -> ModuleOp:
    """The module, whose parameters are constants, quantized where it has layers.

    `samples` are calls of the model: tuples of the tensors that are no parameters.
    """
    given = None if samples is None else [with_sizes(module, s) for s in samples]
    try:
        return quantize(module, recipe, given).module
    except CompileError:
        if layers_of(module):
            raise
        return module  # a part of the model without weights


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
