"""Parameters as constants inside ``torch.compile``, where they are inputs.

What is constant is packed, folded and transformed once, when the model is compiled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule
from xdsl.dialects.builtin import ModuleOp
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.ir.constants import DenseAttr
from aicc.ir.graph import Constant
from aicc.ir.module import main_of, remove_arguments

CHANGES = 3
"""So often a graph is compiled anew for parameters that changed; then they are inputs again."""

Run = Callable[..., list[Any]]


def parameters_of(gm: GraphModule, inputs: Sequence[Any]) -> dict[int, torch.Tensor]:
    """The inputs of a graph that are parameters or buffers of the model, by position."""
    nodes = [n for n in gm.graph.nodes if n.op == "placeholder"]
    marks = [n.meta.get("tensor_dict") or {} for n in nodes]
    return {
        i: x
        for i, x in enumerate(inputs)
        if isinstance(x, torch.nn.Parameter) or "_dynamo_static_input_type" in marks[i]
    }


def written(gm: GraphModule) -> set[int]:
    """The inputs of a graph, by position, that it writes to itself, as running statistics."""
    nodes = [n for n in gm.graph.nodes if n.op == "placeholder"]
    goals = {n.args[0] for n in gm.graph.nodes if n.target is torch.ops.aten.copy_.default}
    return {i for i, n in enumerate(nodes) if n in goals}


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


class Following:
    """Calls a graph with frozen parameters, and compiles it anew where they were written to.

    That is seen by what torch counts: writes through ``.data`` or through NumPy it doesn't see.
    """

    def __init__(
        self,
        compiled: Callable[[Mapping[int, torch.Tensor]], Run],
        frozen: Mapping[int, torch.Tensor],
    ):
        self.compiled = compiled
        self.changes = 0
        self.take(frozen)

    def take(self, frozen: Mapping[int, torch.Tensor]) -> None:
        # What is compiled may share memory with its constants: they are copies.
        self.run = self.compiled({i: t.detach().clone() for i, t in frozen.items()})
        self.states = [(i, state(t)) for i, t in frozen.items()]

    def __call__(self, *args: Any) -> list[Any]:
        if any(state(args[i]) != known for i, known in self.states):
            self.changes += 1
            if self.changes > CHANGES:
                warnings.warn(
                    "parameters change again and again: they are inputs now", stacklevel=2
                )
            again = [i for i, _ in self.states] if self.changes <= CHANGES else []
            self.take({i: args[i] for i in again})
        return self.run(*args)


def state(tensor: torch.Tensor) -> tuple[int, int]:
    """What changes when a tensor is written to, or takes other memory."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
