"""FX graphs of aten calls → graph IR: torch.export programs, AOTAutograd graphs."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Node
from xdsl.dialects.builtin import FusedLoc, LocationAttr, ModuleOp, NoneAttr, TensorType
from xdsl.ir import BlockArgument, SSAValue
from xdsl.utils.exceptions import VerifyException

from aicc.frontends.torch.context import CallContext, TorchImportError, torch_dtype
from aicc.frontends.torch.shapes import to_dim
from aicc.frontends.torch.table import IMPORTERS
from aicc.ir import graph
from aicc.ir.builder import GraphBuilder, SymbolScope, name_hint, name_location
from aicc.ir.dtypes import i64
from aicc.ir.module import Ranges, finish_function, new_function, set_symbol_ranges
from aicc.ir.symbols import SymExpr, floordiv, mod
from aicc.ir.types import element_type, rank_of, shape_of, tensor

ToArray = Callable[[torch.Tensor], np.ndarray]


@dataclass
class Output:
    """One output of the FX graph: a result of the function, a number, or nothing."""

    kind: str  # "tensor", "int", "none", or "input": one of the function's own arguments
    index: int = -1
    value: int = 0
    permutation: list[int] | None = None
    """How the dims of the result are to be permuted: a view of it is the output."""


@dataclass
class ImportedGraph:
    """A module and how its results make up the FX graph's outputs."""

    module: ModuleOp
    outputs: list[Output]
    mutations: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of a placeholder's position and the result that is to be copied into it."""
    fallbacks: list[str] = field(default_factory=list)
    """Operators that are called as they are in torch."""
    orders: dict[int, list[int]] = field(default_factory=dict)
    """By the position of an input how its dims are to be permuted: as they lie in memory."""


_SYM_ARITHMETIC: dict[Any, Callable[..., Any]] = {
    operator.add: operator.add,
    operator.sub: operator.sub,
    operator.mul: operator.mul,
    operator.floordiv: floordiv,
    operator.mod: mod,
    operator.neg: operator.neg,
}

_IGNORED = frozenset(
    {
        "_assert_scalar.default",
        "_assert_tensor_metadata.default",
        "_assert_async.msg",
        "_functional_assert_async.msg",
        "sym_constrain_range.default",
        "sym_constrain_range_for_size.default",
    }
)


def op_name(target: Any) -> str:
    """``add.Tensor`` for ``torch.ops.aten.add.Tensor``; with the namespace if it isn't aten."""
    name = str(target)
    return name.removeprefix("aten.")


def memory_order(val: torch.Tensor) -> list[int] | None:
    """The permutation that makes a dense tensor contiguous; None if it is so, or none does."""
    sizes = (*val.shape, *val.stride()) if val.layout == torch.strided else ()
    if not sizes or not all(isinstance(d, int) for d in sizes) or val.is_contiguous():
        return None
    order = sorted(range(val.dim()), key=lambda i: (-val.stride(i), i))
    return order if val.permute(order).is_contiguous() else None


def view_of(value: SSAValue) -> tuple[SSAValue, list[int] | None]:
    """What a value is a transpose of, and how; the value itself where it is none."""
    total: list[int] | None = None
    while isinstance(value.owner, graph.Transpose):
        inner = list(value.owner.permutation)
        total = inner if total is None else [inner[i] for i in total]
        value = value.owner.input
    return value, total


_TRANSPOSES = ("permute.default", "transpose.int", "t.default")


def viewed(node: Node) -> Node:
    """The node that an FX node shows the memory of, in another order of dims."""
    while node.op == "call_function" and op_name(node.target) in _TRANSPOSES:
        source = node.args[0]
        assert isinstance(source, Node)
        node = source
    return node


class FxImporter:
    """Imports one FX graph.

    With `views`, inputs come as they lie in memory, and outputs that are transposes are left to be
    made as views: the caller permutes both as the imported graph says.
    """

    def __init__(self, gm: GraphModule, to_array: ToArray, fallback: bool, views: bool = False):
        self.views = views
        self.orders: dict[int, list[int]] = {}
        self.tensors: set[int] = set()
        self.gm = gm
        self.to_array = to_array
        self.fallback = fallback
        self.env: dict[Node, Any] = {}
        self.fallbacks: list[str] = []
        self.missing: dict[str, list[str]] = {}
        self.mutations: list[tuple[int, SSAValue]] = []
        self.positions: dict[Node, int] = {}
        self.paths: dict[str, str] = {}

    def run(
        self,
        constants: Mapping[str, torch.Tensor] | None = None,
        names: Sequence[str] | None = None,
        ranges: Ranges | None = None,
    ) -> ImportedGraph:
        """Import. `constants`: placeholders that become weights. `names`: of the other inputs."""
        constants = constants or {}
        placeholders = [n for n in self.gm.graph.nodes if n.op == "placeholder"]
        signature: list[tuple[str, TensorType]] = []
        symbols: dict[int, str] = {}
        arguments: list[Node] = []
        for p in placeholders:
            val = p.meta.get("val")
            if p.name in constants or val is None:
                continue
            label = names[len(arguments)] if names else p.name
            if isinstance(val, torch.Tensor):
                order = memory_order(val) if self.views else None
                if order is not None:
                    self.orders[len(arguments)] = order
                    val = val.permute(order)
                type = tensor([to_dim(s) for s in val.shape], torch_dtype(val.dtype))
            elif isinstance(val, (torch.SymInt, int)) and not isinstance(val, bool):
                type = tensor((), i64)
                d = to_dim(val)
                if isinstance(d, SymExpr) and str(d) in d.symbols():
                    symbols[len(arguments)] = str(d)
            else:
                raise TorchImportError(f"input '{p.name}' is a {val.__class__.__name__}")
            signature.append((label, type))
            arguments.append(p)
        func = new_function("main", signature, symbols)
        scope = SymbolScope(symbols.values())
        for _, t in signature:
            for d in shape_of(t):
                if isinstance(d, SymExpr) and str(d) in d.symbols():
                    scope.bound.add(str(d))
        self.builder = GraphBuilder(func.body.block, scope=scope)
        for i, (p, arg) in enumerate(zip(arguments, func.args, strict=True)):
            arg.name_hint = name_hint(signature[i][0])
            self.env[p] = arg
            self.positions[p] = i
            if (order := self.orders.get(i)) is not None:
                self.env[p] = self.builder.transpose(
                    arg, [order.index(d) for d in range(len(order))]
                )
            if not isinstance(p.meta["val"], torch.Tensor):
                d = to_dim(p.meta["val"])
                self.env[p] = d if isinstance(d, int) or d.symbols() <= scope.bound else arg
            else:
                self.tensors.add(i)
        for p in placeholders:
            if p.name in constants:
                self.env[p] = self.weight(constants[p.name], self.paths.get(p.name) or p.name)
            elif p.meta.get("val") is None:
                self.env.setdefault(p, None)
        for node in self.gm.graph.nodes:
            if node.op != "placeholder":
                self.node(node)
        if self.missing:
            listed = "; ".join(
                f"{op} at {', '.join(nodes[:3])}" for op, nodes in sorted(self.missing.items())
            )
            raise TorchImportError(f"operators without an importer: {listed}")
        return self.finish(func, ranges)

    def finish(self, func: Any, ranges: Ranges | None) -> ImportedGraph:
        results: list[tuple[str, SSAValue]] = []
        outputs: list[Output] = []
        made: dict[Node, int] = {}
        for i, (node, value) in enumerate(zip(self.returned, self.results, strict=True)):
            if value is None:
                outputs.append(Output("none"))
            elif isinstance(value, int):
                outputs.append(Output("int", value=value))
            else:
                is_dim = isinstance(value, SymExpr)
                with self.builder.at(None):
                    v = self.builder.dim(value) if isinstance(value, SymExpr) else value
                if self.views and not is_dim and (found := self.view(node, v, made, results)):
                    outputs.append(found)
                    continue
                outputs.append(Output("int" if is_dim else "tensor", len(results)))
                made.setdefault(node, len(results))
                results.append((f"output{i}", v))
        mutations = []
        for position, value in self.mutations:
            mutations.append((position, len(results)))
            results.append((f"mutated{position}", value))
        finish_function(func, results)
        module = ModuleOp([func])
        kept = {s: r for s, r in (ranges or {}).items() if s in self.builder.scope.bound}
        set_symbol_ranges(module, kept)
        return ImportedGraph(module, outputs, mutations, self.fallbacks, self.orders)

    def view(
        self, node: Any, value: SSAValue, made: dict[Node, int], results: list[tuple[str, SSAValue]]
    ) -> Output | None:
        """An output that is an input, or a transpose of one or of a result, which may be new.

        A copy in torch's graph, which has no op of its own here, stays a copy.
        """
        source = viewed(node)
        base, permutation = view_of(value)
        if source.op == "placeholder":
            if not isinstance(base, BlockArgument) or base.index not in self.tensors:
                return None
            if any(base.index == position for position, _ in self.mutations):
                return None
            return Output("input", base.index, permutation=permutation)
        own, before = view_of(self.env[source])
        if source is node or base is not own or before is not None:
            return None
        if source not in made:
            made[source] = len(results)
            results.append((f"output{len(results)}", base))
        return Output("tensor", made[source], permutation=permutation)

    def weight(self, t: torch.Tensor, name: str) -> SSAValue:
        with self.builder.at(name_location(name)):
            return self.builder.constant(self.to_array(t), name=name)

    # ------------------------------------------------------------------ nodes

    def node(self, node: Node) -> None:
        if node.op == "output":
            self.returned = list(node.args[0])  # type: ignore[arg-type]
            self.results = [self.lookup(a) for a in self.returned]
        elif node.op == "get_attr":
            value: Any = self.gm
            for part in str(node.target).split("."):
                value = getattr(value, part)
            self.env[node] = (
                self.weight(value, str(node.target)) if isinstance(value, torch.Tensor) else value
            )
        elif node.op == "call_function":
            with self.builder.at(location_of(node)):
                self.env[node] = value = self.call(node)
                if isinstance(value, SSAValue) and value.name_hint is None:
                    value.name_hint = name_hint(node.name)
        else:
            raise TorchImportError(f"'{node.name}': {node.op} nodes are not supported")

    def lookup(self, a: Any) -> Any:
        if isinstance(a, Node):
            return self.env[a]
        if isinstance(a, (list, tuple)):
            return [self.lookup(x) for x in a]
        if isinstance(a, slice):
            return slice(*(self.lookup(x) for x in (a.start, a.stop, a.step)))
        if isinstance(a, torch.SymInt):
            return to_dim(a)
        return a

    def call(self, node: Node) -> Any:
        target = node.target
        args = [self.lookup(a) for a in node.args]
        kwargs = {k: self.lookup(v) for k, v in node.kwargs.items()}
        if target is operator.getitem:
            return args[0][args[1]]
        val = node.meta.get("val")
        if isinstance(val, (torch.SymInt, int)) and not isinstance(val, bool):
            return self.symbolic(node, val, args)
        name = op_name(target)
        if name in _IGNORED or isinstance(val, (torch.SymBool, torch.SymFloat, bool, float)):
            return None if name in _IGNORED else self.unsupported_scalar(node)
        if name == "copy_.default" and isinstance(node.args[0], Node):
            source = node.args[0]
            if source in self.positions and isinstance(args[1], SSAValue):
                fake = source.meta["val"]
                value = self.builder.cast(args[1], torch_dtype(fake.dtype))
                value = self.builder.expand(value, [to_dim(s) for s in fake.shape])
                self.mutations.append((self.positions[source], value))
                return value
        importer = IMPORTERS.get(name)
        context = CallContext(self.builder, node, self.fallback)
        if importer is not None:
            try:
                result = importer(context, *args, **kwargs)
                if result is not NotImplemented:
                    return self.adopt(node, result)
            except (VerifyException, ValueError, TypeError, IndexError, KeyError) as e:
                if not self.fallback:
                    raise TorchImportError(f"'{node.name}' ({name}): {e}") from e
        if self.fallback:
            return self.eager_call(node, name, args, kwargs)
        self.missing.setdefault(name, []).append(node.name)
        return self.placeholder_result(node)

    def unsupported_scalar(self, node: Node) -> Any:
        raise TorchImportError(f"'{node.name}': symbolic booleans and floats are not supported")

    def symbolic(self, node: Node, val: Any, args: list[Any]) -> Any:
        """A node whose value is a size."""
        d = to_dim(val)
        if isinstance(d, int) or self.builder.is_bound([d]):
            return d
        if str(node.target).endswith("sym_size.int") and isinstance(args[0], SSAValue):
            self.builder.scope.sources.setdefault(str(d), (args[0], args[1]))
        return d

    def adopt(self, node: Node, result: Any) -> Any:
        """Check results against the traced ones; take over the names of data-dependent dims."""
        val = node.meta.get("val")
        if isinstance(result, SSAValue) and isinstance(val, torch.Tensor):
            return self.adopt_one(result, val, node)
        if isinstance(result, (list, tuple)) and isinstance(val, (list, tuple)):
            return [
                self.adopt_one(r, v, node)
                if isinstance(r, SSAValue) and isinstance(v, torch.Tensor)
                else r
                for r, v in zip(result, val, strict=False)
            ]
        return result

    def adopt_one(self, result: SSAValue, val: torch.Tensor, node: Node) -> SSAValue:
        dtype = torch_dtype(val.dtype)
        result = self.builder.cast(result, dtype)
        if rank_of(result) != val.dim():
            raise ValueError(f"the result should have rank {val.dim()}, has {rank_of(result)}")
        traced = [to_dim(s) for s in val.shape]
        own = shape_of(result)
        for a, b in zip(own, traced, strict=True):
            if isinstance(a, int) and isinstance(b, int) and a != b:
                raise ValueError(f"the result should be {traced}, is {list(own)}")
        if tuple(traced) != own:
            for i, d in enumerate(traced):
                if isinstance(d, SymExpr) and not self.builder.is_bound([d]):
                    self.builder.scope.sources.setdefault(str(d), (result, i))
            result._type = tensor(traced, element_type(result))
        return result

    def placeholder_result(self, node: Node) -> Any:
        """A stand-in for an unsupported call, so that the rest is still looked at."""
        val = node.meta.get("val")
        made = [
            self.builder.build(
                graph.CustomCall,
                [],
                target="missing",
                result_types=[tensor([to_dim(s) for s in v.shape], torch_dtype(v.dtype))],
            ).results[0]
            if isinstance(v, torch.Tensor)
            else None
            for v in (val if isinstance(val, (list, tuple)) else [val])
        ]
        return made if isinstance(val, (list, tuple)) else made[0]

    def eager_call(self, node: Node, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call the operator in torch when the graph runs."""
        operands: list[SSAValue] = []

        def encode(a: Any) -> Any:
            if isinstance(a, SSAValue):
                operands.append(a)
                return {"tensor": len(operands) - 1}
            if isinstance(a, SymExpr):
                operands.append(self.builder.dim(a))
                return {"int": len(operands) - 1}
            if isinstance(a, (list, tuple)):
                return [encode(x) for x in a]
            if isinstance(a, (torch.dtype, torch.layout, torch.memory_format)):
                return {"torch": str(a).removeprefix("torch.")}
            if isinstance(a, torch.device):
                return {"device": str(a)}
            if isinstance(a, float) and not np.isfinite(a):
                return {"float": str(a)}
            if isinstance(a, complex):
                return {"complex": [a.real, a.imag]}
            if a is None or isinstance(a, (bool, int, float, str)):
                return a
            raise TorchImportError(f"'{node.name}' ({name}): argument {a!r} can't be passed on")

        payload = json.dumps(
            {"args": encode(args), "kwargs": {k: encode(v) for k, v in kwargs.items()}}
        )
        val = node.meta.get("val")
        fakes = list(val) if isinstance(val, (list, tuple)) else [val]
        if not all(isinstance(v, torch.Tensor) or v is None for v in fakes):
            raise TorchImportError(f"'{node.name}' ({name}): its results are no tensors")
        types = [
            tensor([to_dim(s) for s in v.shape], torch_dtype(v.dtype))
            for v in fakes
            if isinstance(v, torch.Tensor)
        ]
        self.fallbacks.append(name)
        qualified = str(node.target)
        op = self.builder.build(
            graph.CustomCall,
            operands,
            target=f"torch.{qualified}",
            payload=payload,
            result_types=types,
        )
        made = iter(op.results)
        results = [next(made) if isinstance(v, torch.Tensor) else None for v in fakes]
        for r, v in zip(results, fakes, strict=True):
            if r is not None and v is not None:
                self.adopt_one(r, v, node)
        return results if isinstance(val, (list, tuple)) else results[0]


def location_of(node: Node) -> LocationAttr:
    """The call's name and the path of the module that it came from."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next((p for p, _ in reversed(list(stack.values())) if p), "") if stack else ""
    path = path.removeprefix("L['self'].").removeprefix("L__self___")
    here = name_location(node.name)
    return FusedLoc((name_location(path), here), NoneAttr()) if path else here


__all__ = ["FxImporter", "ImportedGraph", "Output"]
