"""Decomposes operators of an exported program one call at a time.

``ExportedProgram.run_decompositions`` traces a whole program anew. Most calls of a large model are
alike, layer by layer: here each kind of call is traced once, and what it becomes is put in place of
every such call.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from aicc.frontends.torch.importer import op_name
from aicc.frontends.torch.table import IMPORTERS

Table = Mapping[Any, Callable[..., Any]]


class NotLocal(Exception):
    """Why a program has to be traced as a whole."""


def decomposed(program: ExportedProgram, table: Table) -> ExportedProgram:
    """A program in operators that have importers, or that nothing decomposes.

    Raises NotLocal for sizes that aren't known, operators of higher order, and tensors that are
    changed in place where others show the same memory.
    """
    rewriter = _Rewriter(program.graph_module, table)
    module = rewriter.run()
    signature = copy.deepcopy(program.graph_signature)
    for old, new in rewriter.renamed.items():
        signature.replace_all_uses(old, new)
    return ExportedProgram(
        module,
        module.graph,
        signature,
        program.state_dict,
        program.range_constraints,
        program.module_call_graph,
        program.example_inputs,
        program.constants,
        verifiers=program.verifiers,
    )


class _Rewriter:
    def __init__(self, module: GraphModule, table: Table):
        self.module, self.table = module, table
        self.graph = Graph()
        self.made: dict[Node, Any] = {}
        self.renamed: dict[str, str] = {}
        self.traced: dict[Any, GraphModule] = {}
        self.shown: dict[int, list[Node]] = {}
        """By storage the nodes whose tensors lie in it."""
        self.latest: dict[int, Node] = {}
        """By storage that was changed in place the node that is its value from then on."""
        fakes = (n.meta.get("val") for n in module.graph.nodes)
        self.mode = next((v.fake_mode for v in fakes if isinstance(v, FakeTensor)), nullcontext())
        for node in module.graph.nodes:
            if (storage := storage_of(node)) is not None:
                self.shown.setdefault(storage, []).append(node)

    def run(self) -> GraphModule:
        for node in self.module.graph.nodes:
            if node.target is operator.getitem and not isinstance(self.now(node.args[0]), Node):
                self.take(node, self.now(node.args[0])[node.args[1]])
            elif node.op != "call_function" or node.target is operator.getitem:
                self.take(node, self.graph.node_copy(node, self.now))
            else:
                self.call(node)
        self.graph.eliminate_dead_code()
        self.graph.lint()
        return GraphModule(self.module, self.graph)

    def take(self, node: Node, made: Any) -> None:
        self.made[node] = made
        if node.op == "placeholder":
            made.name = node.name  # an input may be called as a function of Python is
        if isinstance(made, Node) and made.name != node.name:
            self.renamed[node.name] = made.name

    def now(self, node: Node) -> Any:
        storage = storage_of(node)
        return self.made[node if storage is None else self.latest.get(storage, node)]

    def call(self, node: Node) -> None:
        target = node.target
        if not isinstance(target, OpOverload):
            raise NotLocal(f"{target} is no plain operator")
        if target._schema.is_mutable:
            target = self.without_change(node, target)
        if op_name(target) in IMPORTERS or not (target in self.table or target._can_decompose()):
            copied = self.graph.node_copy(node, self.now)
            copied.target = target
            self.take(node, copied)
        else:
            self.take(node, self.inlined(node, target))
        if target is not node.target:
            storage = storage_of(node)
            assert storage is not None
            self.latest[storage] = node

    def inlined(self, node: Node, target: OpOverload) -> Any:
        """What a call becomes, put in its place."""
        flat, spec = pytree.tree_flatten((node.args, node.kwargs))
        arguments = iter([a for a in flat if isinstance(a, Node)])
        inner: dict[Node, Any] = {}
        for n in self.body(target, flat, spec).graph.nodes:
            if n.op == "placeholder":
                inner[n] = self.now(next(arguments))
            elif n.op == "output":
                return pytree.tree_map_only(Node, inner.__getitem__, n.args[0])
            elif n.op == "call_function":
                inner[n] = copied = self.graph.node_copy(n, inner.__getitem__)
                copied.meta["nn_module_stack"] = node.meta.get("nn_module_stack")
            else:
                raise NotLocal(f"{target} needs a constant of its own")
        raise AssertionError("a graph without an output")

    def body(self, target: OpOverload, flat: list[Any], spec: Any) -> GraphModule:
        """What a call becomes: traced once for arguments of the same shapes, types and numbers."""
        values = [a.meta.get("val") if isinstance(a, Node) else a for a in flat]
        key = (target, spec, *map(kind_of, flat, values))
        if key not in self.traced:
            places = [i for i, a in enumerate(flat) if isinstance(a, Node)]

            def f(*tensors: Any) -> Any:
                filled = list(values)
                for i, t in zip(places, tensors, strict=True):
                    filled[i] = t
                args, kwargs = pytree.tree_unflatten(filled, spec)
                return target(*args, **kwargs)

            given = [values[i] for i in places]
            try:
                with self.mode, enable_python_dispatcher(), torch.no_grad():
                    self.traced[key] = self.trace(f, given)
            except Exception as e:  # of many kinds: sizes that depend on data, among others
                raise NotLocal(f"{target} can't be traced by itself: {e}") from e
        return self.traced[key]

    def trace(self, f: Callable[..., Any], given: list[Any]) -> GraphModule:
        """Traced until nothing is changed in place: what decompositions write is not rewritten."""
        table = dict(self.table)
        made = make_fx(torch.func.functionalize(f), decomposition_table=table)(*given)
        if any(changes(n) for n in made.graph.nodes):
            made = make_fx(torch.func.functionalize(made), decomposition_table=table)(*given)
        return made

    def without_change(self, node: Node, target: OpOverload) -> OpOverload:
        """The operator that gives as a result what `target` leaves in its first operand.

        That operand must be new, with no other tensor that shows its memory.
        """
        schema, first = target._schema, node.args[0] if node.args else None
        changed = [a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]
        if changed != [schema.arguments[0].name] or not isinstance(first, Node):
            raise NotLocal(f"{target} changes what isn't its first operand")
        storage = storage_of(first)
        others = self.shown.get(storage, []) if storage is not None else []
        if storage is None or storage_of(node) != storage or not all(map(makes_or_changes, others)):
            raise NotLocal(f"{target} changes what other tensors may show")
        packet: Any = torch.ops
        for part in schema.name.removesuffix("_").split("::"):
            packet = getattr(packet, part, None)
        found = getattr(packet, target._overloadname, None)
        if not isinstance(found, OpOverload) or found._schema.is_mutable:
            raise NotLocal(f"{target} has no form that changes nothing")
        before, after = first.meta["val"], node.meta["val"]
        if (before.dtype, before.shape, before.stride()) != (
            after.dtype,
            after.shape,
            after.stride(),
        ):
            raise NotLocal(f"{target} gives another type")
        return found


def changes(node: Node) -> bool:
    """Whether a node changes a tensor in place."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def storage_of(node: Node) -> int | None:
    """What a node's tensor lies in: the same number for views of one another."""
    value = node.meta.get("val")
    return value.untyped_storage()._cdata if isinstance(value, torch.Tensor) else None


def makes_or_changes(node: Node) -> bool:
    """Whether a node is the first to have its tensor, or changes it in place."""
    if node.op != "call_function" or not isinstance(node.target, OpOverload):
        return False
    if changes(node):
        return True
    storage = storage_of(node)
    return all(storage_of(a) != storage for a in node.all_input_nodes)


def kind_of(given: Any, value: Any) -> Any:
    """What tells an argument from others for which a call becomes something else."""
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        raise NotLocal("a number isn't known")
    if not isinstance(given, Node):
        return type(given), repr(given)  # 0.0 and -0.0 compare equal
    if not isinstance(value, FakeTensor) or value.layout != torch.strided:
        raise NotLocal("an operand is no plain tensor")
    sizes = (*value.shape, *value.stride())
    if not all(isinstance(d, int) for d in sizes):
        raise NotLocal("a size isn't known")
    return tuple(value.shape), tuple(value.stride()), value.dtype, value.device
