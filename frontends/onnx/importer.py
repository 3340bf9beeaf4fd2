"""ONNX graphs → graph IR.

`import_model` makes a module with one function ``@main``. Every node goes through the importer
table; a node without an importer is replaced by its function body (the model's own functions, then
those of the ONNX schema) and otherwise reported, all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Block, OpResult, SSAValue
from xdsl.utils.exceptions import VerifyException

from aicc.frontends.onnx import functions
from aicc.frontends.onnx.context import NodeContext, Optional_, Sequence_, onnx_dtype
from aicc.frontends.onnx.errors import (
    ImportError_,
    NeedsValue,
    Unavailable,
    UnavailableBody,
    UnsupportedOps,
)
from aicc.frontends.onnx.table import find_importer
from aicc.frontends.onnx.tensors import WeightReader
from aicc.ir.builder import GraphBuilder, SymbolScope, name_hint, name_location
from aicc.ir.graph import Constant, ShapeOf
from aicc.ir.module import finish_function, new_function, set_symbol_ranges
from aicc.ir.symbols import Dim, sym
from aicc.ir.types import compatible, element_type, rank_of, shape_of, tensor

Range = tuple[int, int | None]
MAX_INLINE_DEPTH = 64


class Scope:
    """Names visible in a graph: its own, then those of the graphs around it."""

    def __init__(self, outer: Scope | None = None):
        self.outer = outer
        self.values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        raise ImportError_(f"'{name}' is read before it is produced, or never produced")

    def __setitem__(self, name: str, value: Any) -> None:
        self.values[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self.values or (self.outer is not None and name in self.outer)


class ModelState:
    """What all graphs of one model share."""

    def __init__(self, model: onnx.ModelProto, weights: WeightReader):
        self.model = model
        self.weights = weights
        self.opsets = {o.domain: o.version for o in model.opset_import}
        if "ai.onnx" in self.opsets:
            self.opsets.setdefault("", self.opsets["ai.onnx"])
        known, asked = onnx.defs.onnx_opset_version(), self.opsets.get("", 1)
        if not 1 <= asked <= known:
            raise ImportError_(f"opset {asked} is unknown (the newest known is {known})")
        self.functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self.arguments: dict[SSAValue, str] = {}
        self.unsupported: dict[str, list[str]] = {}


class GraphImporter:
    """Imports one graph into a block; subgraphs get importers of their own."""

    def __init__(
        self,
        state: ModelState,
        builder: GraphBuilder,
        scope: Scope,
        opsets: Mapping[str, int],
        path: str = "",
        depth: int = 0,
        attributes: Mapping[str, onnx.AttributeProto] | None = None,
    ):
        self.state = state
        self.builder = builder
        self.scope = scope
        self.opsets = opsets
        self.path = path
        self.depth = depth
        self.attributes = attributes

    def argument_of(self, value: SSAValue) -> str | None:
        """A model input that a value is, or is computed from; small integer ones first."""
        found: list[SSAValue] = []
        seen: set[SSAValue] = set()
        pending = [value]
        while pending:
            v = pending.pop()
            if v in seen:
                continue
            seen.add(v)
            if v in self.state.arguments:
                found.append(v)
            elif isinstance(v, OpResult) and not isinstance(v.op, ShapeOf):
                pending += v.op.operands
        found.sort(key=lambda v: (not element_type(v).is_integer, self.state.arguments[v]))
        return self.state.arguments[found[0]] if found else None

    # ------------------------------------------------------------------ graphs

    def run(self, graph: onnx.GraphProto) -> list[Any]:
        """Import initializers and nodes; give the graph's outputs."""
        for init in graph.initializer:
            self.initializer(init)
        for init in graph.sparse_initializer:
            value = self.state.weights.sparse(init)
            self.scope[init.values.name] = self.builder.constant(value, name=init.values.name)
        self.nodes(graph.node)
        return [self.scope[o.name] for o in graph.output]

    def initializer(self, init: onnx.TensorProto) -> None:
        if init.data_type == onnx.TensorProto.STRING:
            self.scope[init.name] = StringTensor(init)
            return
        with self.builder.at(name_location(self.path + init.name)):
            attr = self.state.weights.attribute(init)
            value = self.builder.emit(Constant, value=attr)
            value.name_hint = name_hint(init.name)
            self.scope[init.name] = value

    def nodes(self, nodes: Sequence[onnx.NodeProto]) -> None:
        for i, node in enumerate(nodes):
            self.node(node, i)

    def node(self, node: onnx.NodeProto, index: int) -> None:
        label = node.name or f"{node.op_type}_{index}"
        where = f"node '{self.path}{label}' ({node.op_type})"
        if self.attributes is not None:
            node = functions.bind_attributes(node, self.attributes)
        location = name_location(self.path + label)
        try:
            inputs = [self.scope[n] if n else None for n in node.input]
            if any(isinstance(i, Unavailable) for i in inputs):
                self.bind(node, Unavailable())
                return
            with self.builder.at(location):
                outputs = self.lower(node, inputs, label)
        except UnavailableBody:
            self.bind(node, Unavailable())
            return
        except NeedsValue as e:
            if not e.args[0].startswith("node "):
                e.args = (f"{where}: {e.args[0]}",)
            raise
        except (VerifyException, ValueError, TypeError, ArithmeticError, LookupError) as e:
            if isinstance(e, ImportError_) and str(e).startswith("node "):
                raise
            raise ImportError_(f"{where}: {e}") from e
        self.bind(node, outputs)

    def bind(self, node: onnx.NodeProto, outputs: Any) -> None:
        if isinstance(outputs, Unavailable):
            outputs = [outputs] * len(node.output)
        elif not isinstance(outputs, (list, tuple)) or isinstance(outputs, Sequence_):
            outputs = [outputs]
        for i, name in enumerate(node.output):
            if not name:
                continue
            value = outputs[i] if i < len(outputs) else None
            if value is None:
                raise ImportError_(f"node '{node.name}' ({node.op_type}): no output {i} here")
            self.scope[name] = value
            if isinstance(value, SSAValue) and value.name_hint is None:
                value.name_hint = name_hint(name)

    def lower(self, node: onnx.NodeProto, inputs: list[Any], label: str) -> Any:
        domain = "" if node.domain == "ai.onnx" else node.domain
        key = (node.domain, node.op_type, node.overload)
        if key in self.state.functions:
            return functions.inline_local(self, node, self.state.functions[key], inputs, label)
        version = self.opsets.get(domain)
        if version is None:
            raise ImportError_(f"the model imports no opset of domain '{domain}'")
        check_schema(node, domain, version)
        importer = find_importer(domain, node.op_type, version)
        context = NodeContext(self, node, inputs, version)
        if importer is not None:
            result = importer(context)
            if result is not NotImplemented:
                return result
        body = functions.schema_body(node, domain, version, inputs, self.opsets)
        if body is None:
            name = f"{domain}::{node.op_type}" if domain else node.op_type
            self.state.unsupported.setdefault(f"{name} (opset {version})", []).append(
                self.path + label
            )
            return Unavailable()
        return functions.inline(self, node, body, inputs, label)

    def child(
        self,
        block: Block | None = None,
        scope: Scope | None = None,
        opsets: Mapping[str, int] | None = None,
        path: str | None = None,
        attributes: Mapping[str, onnx.AttributeProto] | None = None,
    ) -> GraphImporter:
        """An importer for a subgraph (a new block) or a function body (the same block)."""
        if self.depth >= MAX_INLINE_DEPTH:
            raise ImportError_("functions or subgraphs are nested too deeply")
        builder = self.builder if block is None else self.builder.in_block(block)
        return GraphImporter(
            self.state,
            builder,
            scope if scope is not None else Scope(self.scope),
            self.opsets if opsets is None else opsets,
            self.path if path is None else path,
            self.depth + 1,
            self.attributes if attributes is None else attributes,
        )


@cache
def _schema(op_type: str, version: int, domain: str) -> Any:
    """A standard operator's schema; None for others."""
    if not onnx.defs.has(op_type, domain=domain):
        return None
    try:
        return onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return None


def check_schema(node: onnx.NodeProto, domain: str, version: int) -> None:
    """Refuse a node whose inputs are more or fewer than its operator's schema has, or whose
    attributes are of other types."""
    schema = _schema(node.op_type, version, domain)
    if schema is None:
        return
    low, high = schema.min_input, schema.max_input
    if not low <= len(node.input) <= high:
        raise ImportError_(f"{len(node.input)} inputs, expected {low} to {high}")
    for a in node.attribute:
        known = schema.attributes.get(a.name)
        if known is not None and a.type != known.type.value:
            kind = onnx.AttributeProto.AttributeType.Name(a.type)
            raise ImportError_(f"attribute '{a.name}' is {kind}, expected {known.type.name}")


class StringTensor:
    """A tensor of strings: only passed around while importing."""

    def __init__(self, proto: onnx.TensorProto):
        self.proto = proto


# ---------------------------------------------------------------------- models


def value_type(
    info: onnx.TypeProto, name: str, ranges: Mapping[str, Range], anonymous: str
) -> TensorType:
    """The tensor type of a ValueInfo's type; `anonymous` is the prefix for dims without a name."""
    if not info.HasField("tensor_type"):
        raise ImportError_(f"'{name}' is a {info.WhichOneof('value')}, not a tensor")
    t = info.tensor_type
    dtype = onnx_dtype(t.elem_type)
    if not t.HasField("shape"):
        raise ImportError_(f"'{name}' has no shape: its rank must be known")
    dims: list[Dim] = []
    for i, d in enumerate(t.shape.dim):
        if d.HasField("dim_value"):
            if not 0 <= d.dim_value < 2**47:
                raise ImportError_(f"dim {i} of '{name}' is {d.dim_value}, out of range")
            dims.append(d.dim_value)
            continue
        symbol = symbol_name(d.dim_param) if d.dim_param else f"{anonymous}_{i}"
        low, high = ranges.get(d.dim_param or symbol, (0, None))
        dims.append(low if low == high and high is not None else sym(symbol))
    return tensor(dims, dtype)


def symbol_name(text: str) -> str:
    """A name of the model's as a symbol: letters, digits and underscores."""
    clean = "".join(c if c.isalnum() and c.isascii() else "_" for c in text)
    if clean in ("min", "max", "mod", "floordiv"):
        clean += "_"
    return clean if clean[:1].isalpha() or clean[:1] == "_" else f"d_{clean}"


def import_model(
    model: onnx.ModelProto,
    base_dir: str | None = None,
    ranges: Mapping[str, Range] | None = None,
    values: Mapping[str, np.ndarray] | None = None,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
) -> ModuleOp:
    """Import a model into a module with a function ``@main``.

    `base_dir`: where external data lies (None: refused). `ranges`: least and greatest size of named
    dims; equal ones make the dim static. `values`: model inputs to specialise on: they become
    constants. `shapes`: shapes of inputs whose own are unknown.

    Raises ImportError_ naming the node; UnsupportedOps listing every operator that is missing;
    NeedsValue where a value of an input decides the structure.
    """
    state = ModelState(model, WeightReader(base_dir))
    graph = model.graph
    initialized = {i.name for i in graph.initializer}
    initialized |= {i.values.name for i in graph.sparse_initializer}
    inputs = [i for i in graph.input if i.name not in initialized]
    ranges, values = dict(ranges or {}), dict(values or {})
    signature: list[tuple[str, TensorType]] = []
    optional_inputs: dict[str, str] = {}
    for i, info in enumerate(inputs):
        if info.name in values:
            continue
        proto = functions.given_shape(info, shapes)
        kind = proto.WhichOneof("value")
        if kind == "optional_type":
            proto = proto.optional_type.elem_type
            optional_inputs[info.name] = kind
        signature.append((info.name, value_type(proto, info.name, ranges, f"d{i}")))
    func = new_function("main", signature)
    scope = SymbolScope()
    for _, t in signature:
        for d in shape_of(t):
            if not isinstance(d, int) and d is not None:
                scope.bound |= d.symbols()
    builder = GraphBuilder(func.body.block, scope=scope)
    importer = GraphImporter(state, builder, Scope(), state.opsets)
    for name, value in values.items():
        importer.scope[name] = functions.constant_input(builder, name, value)
    for (name, _), arg in zip(signature, func.args, strict=True):
        importer.scope[name] = Optional_(arg) if name in optional_inputs else arg
        arg.name_hint = name_hint(name)
        state.arguments[arg] = name
    results = importer.run(graph)
    if state.unsupported:
        listed = "; ".join(
            f"{op} at {', '.join(nodes[:3])}{' …' if len(nodes) > 3 else ''}"
            for op, nodes in sorted(state.unsupported.items())
        )
        raise UnsupportedOps(f"operators without an importer: {listed}")
    outputs: list[tuple[str, SSAValue]] = []
    for info, value in zip(graph.output, results, strict=True):
        for name, v in functions.flatten_output(info.name, value):
            outputs.append((name, check_output(builder, info, v)))
    finish_function(func, outputs)
    module = ModuleOp([func])
    used = {symbol_name(n): r for n, r in ranges.items()}
    set_symbol_ranges(module, {n: r for n, r in used.items() if n in scope.bound and r[0] != r[1]})
    return module


def check_output(builder: GraphBuilder, info: onnx.ValueInfoProto, value: SSAValue) -> SSAValue:
    """Refuse an output whose declared type contradicts the inferred one."""
    t = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not t.elem_type:
        return value
    if onnx_dtype(t.elem_type) != element_type(value):
        raise ImportError_(
            f"output '{info.name}' is declared {onnx_dtype(t.elem_type)} but is "
            f"{element_type(value)}"
        )
    if t.HasField("shape"):
        dims = [d.dim_value if d.HasField("dim_value") else None for d in t.shape.dim]
        declared = tensor(dims, element_type(value))
        if len(dims) != rank_of(value) or not compatible(declared, value.type):
            raise ImportError_(f"output '{info.name}' is declared {declared} but is {value.type}")
    return value
