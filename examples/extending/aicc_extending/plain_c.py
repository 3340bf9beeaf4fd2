"""A target: elementwise arithmetic as plain C, one loop nest an op, for a new chip to begin from.

It prints graph IR. (Targets that print kernels of the tile dialect get fusion and schedules too:
see `aicc.backends.cpp`.)
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from aicc.backends.tile_targets import Evaluated
from aicc.ir import graph
from aicc.ir.interfaces import TargetDescription
from aicc.ir.module import input_names, main_of, output_names, return_of
from aicc.ir.types import element_type, static_shape

TYPES = {
    "f32": "float", "f64": "double", "i1": "_Bool",
    "i8": "int8_t", "i16": "int16_t", "i32": "int32_t", "i64": "int64_t",
    "ui8": "uint8_t", "ui16": "uint16_t", "ui32": "uint32_t", "ui64": "uint64_t",
}  # fmt: skip

EXPRESSIONS: dict[type[graph.GraphOp], str] = {
    graph.Add: "{0} + {1}",
    graph.Sub: "{0} - {1}",
    graph.Mul: "{0} * {1}",
    graph.Div: "{0} / {1}",
    graph.Neg: "-{0}",
    graph.Abs: "{0} < 0 ? -{0} : {0}",
    graph.Max: "{0} != {0} || {0} > {1} ? {0} : {1}",
    graph.Min: "{0} != {0} || {0} < {1} ? {0} : {1}",
    graph.Relu: "{0} < 0 ? 0 : {0}",
    graph.Sqrt: "sqrt({0})",
    graph.Exp: "exp({0})",
    graph.Eq: "{0} == {1}",
    graph.Lt: "{0} < {1}",
    graph.Le: "{0} <= {1}",
    graph.Gt: "{0} > {1}",
    graph.Ge: "{0} >= {1}",
    graph.Select: "{0} ? {1} : {2}",
}
"""What an element of the result is: one row an op."""

HEAD = "#include <math.h>\n#include <stdint.h>\n\n"


def keeps(op: graph.GraphOp) -> bool:
    return type(op) in EXPRESSIONS


class PlainC(Evaluated):
    """The target, as `aicc.targets.Backend` asks for it; the reference evaluates for passes."""

    name = "plain-c"
    description = TargetDescription("plain-c", keeps)
    lowering = ""

    def __init__(self, reference: Any):
        self.evaluator = reference

    def chips(self) -> tuple[str, ...]:
        return ()

    def load(self, module: ModuleOp, owned_outputs: bool = False) -> PlainProgram:
        return PlainProgram(module)


class PlainProgram:
    """A module as one C function of pointers: inputs, constants, then every op's result."""

    source_name = "model.c"
    constants: Mapping[str, Any] = {}

    def __init__(self, module: ModuleOp):
        func = main_of(module)
        self.input_names, self.output_names = input_names(func), output_names(func)
        self.values: list[SSAValue] = list(func.args)
        self.arrays: dict[SSAValue, np.ndarray] = {}
        self.lines: list[str] = []
        for op in func.body.block.ops:
            if isinstance(op, graph.Constant):
                self.arrays[op.result] = np.ascontiguousarray(op.value.array)
                self.values.append(op.result)
            elif isinstance(op, graph.GraphOp):
                self.values += op.results
                self.nest(op)
        self.outputs = list(return_of(func).operands)
        heads = [f"  {self.type(v)}* {self.name(v)} = p[{i}];" for i, v in enumerate(self.values)]
        body = "\n".join([*heads, *self.lines])
        self.source = f"{HEAD}void model(void** p) {{\n{body}\n}}\n"
        self.call = built(self.source)

    def name(self, value: SSAValue) -> str:
        return f"v{self.values.index(value)}"

    @staticmethod
    def type(value: SSAValue) -> str:
        name = element_type(value).name
        if name not in TYPES:
            raise ValueError(f"plain C has no {name}")
        return TYPES[name]

    def nest(self, op: graph.GraphOp) -> None:
        """Loops over the result; operands are broadcast by leaving their dims of 1 out."""
        if type(op) not in EXPRESSIONS:
            raise ValueError(f"plain C has no {op.name}")
        shape = sizes(op.results[0])
        for i, n in enumerate(shape):
            self.lines.append("  " * (i + 1) + f"for (int64_t i{i} = 0; i{i} < {n}; ++i{i})")
        operands = [f"{self.name(v)}[{place(sizes(v), len(shape))}]" for v in op.operands]
        target = f"{self.name(op.results[0])}[{place(shape, len(shape))}]"
        text = EXPRESSIONS[type(op)].format(*operands)
        self.lines.append("  " * (len(shape) + 1) + f"{target} = {text};")

    def files(self, archs: Sequence[str]) -> Mapping[str, bytes]:
        return {}

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        arrays = {**dict(zip(self.values, map(np.ascontiguousarray, inputs), strict=False))}
        arrays.update(self.arrays)
        for v in self.values:
            if v not in arrays:
                arrays[v] = np.empty(sizes(v), element_type(v).np)
        pointers = [arrays[v].ctypes.data_as(ctypes.c_void_p) for v in self.values]
        self.call((ctypes.c_void_p * len(pointers))(*pointers))
        return [arrays[v] for v in self.outputs]


def sizes(value: SSAValue) -> tuple[int, ...]:
    shape = static_shape(value)
    if shape is None:
        raise ValueError(f"plain C needs static shapes, not {value.type}")
    return tuple(shape)


def place(shape: Sequence[int], rank: int) -> str:
    """The index of an element of a row-major array, in the loops of a result of `rank`."""
    terms, stride = ["0"], 1
    for back, n in enumerate(reversed(shape)):
        if n != 1:
            terms.append(f"i{rank - 1 - back} * {stride}")
        stride *= n
    return " + ".join(terms)


def built(source: str) -> Any:
    """The C function `model`, compiled by the system's compiler."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.c"
        path.write_text(source)
        command = ["cc", "-O2", "-shared", "-fPIC", str(path), "-o", f"{folder}/model.so", "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"cc failed: {done.stderr}")
        return ctypes.CDLL(f"{folder}/model.so").model
