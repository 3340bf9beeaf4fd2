"""Writes one function as an ONNX graph: nodes, initializers, and sizes worked out from shapes."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from xdsl.dialects.builtin import NameLoc
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue

from aicc.ir import graph
from aicc.ir.constants import DenseAttr, packed
from aicc.ir.dtypes import DType, dtype_of
from aicc.ir.module import bound_symbols, input_names, output_names, return_of
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim, SymExpr
from aicc.ir.types import Shape, element_type, shape_of


class Unsupported(ValueError):
    """An op that ONNX has nothing for."""


def onnx_type(dtype: DType) -> int:
    return TensorProto.DataType.Value(dtype.onnx)


def tensor_of(array: np.ndarray, name: str) -> onnx.TensorProto:
    """An initializer; elements of 4 and 2 bits are packed."""
    dtype = dtype_of(array.dtype)
    data = packed(array) if dtype.bits < 8 else np.ascontiguousarray(array)
    return TensorProto(
        name=name, data_type=onnx_type(dtype), dims=array.shape, raw_data=data.tobytes()
    )


_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "Add",
    ast.Sub: "Sub",
    ast.Mult: "Mul",
    ast.Mod: "Mod",
}


class GraphWriter:
    """Collects the nodes of one function.

    Values are named as in the IR, nodes after their place in the source model.
    """

    def __init__(self, func: FuncOp):
        self.func = func
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.names: dict[SSAValue, str] = {}
        self.taken: set[str] = set()
        self.sizes: dict[str, str] = {}
        self.location = ""
        self.inputs = list(zip(input_names(func), func.args, strict=True))
        self.bound = bound_symbols(func)
        for name, arg in self.inputs:
            self.names[arg] = self.fresh(name)

    # ------------------------------------------------------------------ names

    def fresh(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name

    def value(self, v: SSAValue) -> str:
        return self.names[v]

    def values(self, op: Operation) -> list[str]:
        return [self.names[v] for v in op.operands]

    def named(self, v: SSAValue) -> str:
        """A name for a result, made on first use."""
        if v not in self.names:
            self.names[v] = self.fresh(v.name_hint or "v")
        return self.names[v]

    # ------------------------------------------------------------------ nodes

    def node(
        self, kind: str, *inputs: str, hint: str = "v", outputs: Sequence[str] = (), **attrs: Any
    ) -> str:
        """Add a node; gives the name of its first output."""
        made = list(outputs) or [self.fresh(hint)]
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        attrs = {k: v for k, v in attrs.items() if v is not None}
        name = self.location and f"{self.location}/{kind}:{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, given, made, name=name or None, **attrs))
        return made[0]

    def result(self, op: Operation, kind: str, *inputs: str, **attrs: Any) -> str:
        """Add the node that gives the op's results, those beyond the first if they are used."""
        outputs = [self.named(r) if i == 0 or r.first_use else "" for i, r in enumerate(op.results)]
        while outputs and not outputs[-1]:
            outputs.pop()
        return self.node(kind, *inputs, outputs=outputs, **attrs)

    def constant(self, array: Any, dtype: Any = None, hint: str = "c") -> str:
        array = np.asarray(array, dtype)
        name = self.fresh(hint)
        self.initializers[name] = tensor_of(array, name)
        return name

    def ints(self, values: Sequence[int]) -> str:
        return self.constant(np.array(values, np.int64), hint="ints")

    def named_constant(self, op: graph.Constant) -> None:
        attr: DenseAttr = op.value
        name = self.fresh(attr.resource or op.result.name_hint or "c")
        self.initializers[name] = tensor_of(attr.array, name)
        self.names[op.result] = name

    def cast(self, name: str, to: DType) -> str:
        return self.node("Cast", name, to=onnx_type(to))

    # ------------------------------------------------------------------ sizes

    def dims(self, dims: Shape) -> str:
        """Sizes as a 1-D tensor of i64, worked out from the inputs' shapes."""
        if all(isinstance(d, int) for d in dims):
            return self.ints([d for d in dims if isinstance(d, int)])
        parts = [self.ints([d]) if isinstance(d, int) else self.dim(d) for d in dims]
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0, hint="shape")

    def dim(self, d: Dim | None) -> str:
        """One size as a 1-D tensor of one element."""
        if d is None:
            raise Unsupported("a size that isn't known")
        if not isinstance(d, SymExpr):
            return self.ints([d])
        text = str(d)
        if text not in self.sizes:
            self.sizes[text] = self.computed(ast.parse(d.python(str), mode="eval").body)
        return self.sizes[text]

    def computed(self, node: ast.AST) -> str:
        if isinstance(node, ast.Constant):
            return self.ints([int(node.value)])  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return self.symbol(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self.node("Neg", self.computed(node.operand))
        if isinstance(node, ast.BinOp):
            a, b = self.computed(node.left), self.computed(node.right)
            if isinstance(node.op, ast.FloorDiv):  # Div rounds towards zero
                rest = self.node("Mod", a, b)
                return self.node("Div", self.node("Sub", a, rest), b)
            return self.node(_ARITHMETIC[type(node.op)], a, b)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self.node(node.func.id.capitalize(), *map(self.computed, node.args))
        raise Unsupported(f"a size {ast.dump(node)}")

    def symbol(self, name: str) -> str:
        """A symbol as the size of an input's axis, or the input that it is."""
        if name not in self.bound:
            raise Unsupported(f"the size {name}, which only a run can tell")
        index, axis = self.bound[name]
        arg = self.names[self.func.args[index]]
        if axis is None:
            return self.node("Reshape", arg, self.ints([1]))
        return self.node("Shape", arg, start=axis, end=axis + 1, hint=name)

    def structural(self, op: GraphOp, name: str) -> str:
        """A structural parameter as a 1-D tensor."""
        operand = getattr(op, f"dyn_{name}")
        return self.value(operand) if operand is not None else self.dims(getattr(op, name))

    # ------------------------------------------------------------------ the whole

    def place(self, op: Operation) -> None:
        """Name what follows after the op's place in the source model."""
        here = op.location
        self.location = here.desc.data if isinstance(here, NameLoc) else ""

    def finished(self, name: str) -> onnx.GraphProto:
        outputs = []
        for wanted, value in zip(
            output_names(self.func), return_of(self.func).operands, strict=True
        ):
            made = self.fresh(wanted)
            self.node("Identity", self.value(value), outputs=[made])
            outputs.append(info(made, value))
        return helper.make_graph(
            self.nodes,
            name,
            [info(self.names[arg], arg) for _, arg in self.inputs],
            outputs,
            list(self.initializers.values()),
        )


def info(name: str, value: SSAValue) -> onnx.ValueInfoProto:
    shape = [d if isinstance(d, int) else None if d is None else str(d) for d in shape_of(value)]
    return helper.make_tensor_value_info(name, onnx_type(element_type(value)), shape)
