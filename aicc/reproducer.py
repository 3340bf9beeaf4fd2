"""A module and inputs as one text that runs: what bisection and fuzzing leave of a failure.

    // pipeline: fuse,lower-to-tile
    // target: numpy
    builtin.module {
      func.func @main(%0: tensor<2xf32>) -> tensor<2xf32> { … }
      func.func @inputs() -> tensor<2xf32> { … }
    }

``@inputs`` returns the inputs of ``@main``. Large constants lie in ``NAME.safetensors`` beside it.
The passes know the target; what they made is run by it, or by what ``runs`` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.errors import CompileError
from aicc.ir import graph
from aicc.ir.asm import named_constants, parse_module, print_module
from aicc.ir.builder import GraphBuilder
from aicc.ir.module import finish_function, functions, input_names, main_of, new_function, return_of
from aicc.weights import save_weights


@dataclass
class Reproducer:
    """A module, inputs of its ``@main``, and what is said of them."""

    module: ModuleOp
    inputs: list[np.ndarray]
    about: dict[str, str] = field(default_factory=dict)
    """Lines of the head, by their first word: ``pipeline``, ``target``, …"""


def save_reproducer(found: Reproducer, path: Path) -> None:
    """Write ``NAME.mlir``, and ``NAME.safetensors`` if there are large constants."""
    module = found.module.clone()
    func = new_function("inputs", [])
    b = GraphBuilder(func.body.block)
    values = [b.constant(array) for array in found.inputs]
    finish_function(func, list(zip(input_names(main_of(module)), values, strict=True)))
    module.body.block.add_op(func)
    head = "".join(f"// {key}: {_one_line(text)}\n" for key, text in found.about.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    constants = named_constants(module)
    if constants:
        save_weights(constants, path.with_suffix(".safetensors"))
    path.write_text(head + print_module(module))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def load_reproducer(path: Path, weights: Mapping[str, np.ndarray] | None = None) -> Reproducer:
    """Read what `save_reproducer` wrote. Raises CompileError if it has no ``@inputs``."""
    from aicc.sources import weights_beside

    text = path.read_text()
    module = parse_module(text, str(path), weights_beside(path) if weights is None else weights)
    func = functions(module).get("inputs")
    if func is None:
        raise CompileError(f"{path}: the module has no function @inputs")
    owners = [v.owner for v in return_of(func).operands]
    inputs = [op.value.array for op in owners if isinstance(op, graph.Constant)]
    func.detach()
    func.erase()
    about = {}
    for line in text.splitlines():
        if not line.startswith("// "):
            break
        key, _, value = line.removeprefix("// ").partition(": ")
        about[key] = value
    return Reproducer(module, inputs, about)
