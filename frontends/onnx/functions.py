"""Function bodies: the model's own functions, and those that the ONNX schema gives an operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import defs
from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import Optional_, Sequence_
from aicc.frontends.onnx.errors import ImportError_
from aicc.ir.builder import GraphBuilder
from aicc.ir.types import element_type, shape_of

if TYPE_CHECKING:
    from aicc.frontends.onnx.importer import GraphImporter


def bind_attributes(
    node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]
) -> onnx.NodeProto:
    """The node with references to a function's attributes replaced by their values."""
    if not any(a.ref_attr_name for a in node.attribute):
        return node
    bound = onnx.NodeProto()
    bound.CopyFrom(node)
    del bound.attribute[:]
    for a in node.attribute:
        if not a.ref_attr_name:
            bound.attribute.append(a)
        elif a.ref_attr_name in given:
            value = bound.attribute.add()
            value.CopyFrom(given[a.ref_attr_name])
            value.name = a.name
    return bound


def _type_proto(value: Any) -> onnx.TypeProto:
    proto = onnx.TypeProto()
    if isinstance(value, SSAValue):
        name = element_type(value).onnx
        proto.tensor_type.elem_type = onnx.TensorProto.DataType.Value(name)
        shape = proto.tensor_type.shape
        shape.SetInParent()
        for d in shape_of(value):
            dim = shape.dim.add()
            if isinstance(d, int):
                dim.dim_value = d
            elif d is not None:
                dim.dim_param = str(d)
    elif isinstance(value, Sequence_):
        inner = _type_proto(value[0]) if value else onnx.TypeProto()
        proto.sequence_type.elem_type.CopyFrom(inner)
    elif isinstance(value, Optional_):
        proto.optional_type.elem_type.CopyFrom(_type_proto(value.value))
    return proto


def schema_body(
    node: onnx.NodeProto,
    domain: str,
    version: int,
    inputs: Sequence[Any],
    opsets: Mapping[str, int],
) -> onnx.FunctionProto | None:
    """The body that the operator's schema defines at this opset, or None."""
    try:
        schema: Any = defs.get_schema(node.op_type, version, domain)
    except defs.SchemaError:
        return None
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= version]
        raw = schema.get_function_with_opset_version(max(versions)) if versions else None
        if raw is None:
            return None
        return onnx.FunctionProto.FromString(raw)
    if not schema.has_context_dependent_function:
        return None
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= version]
    if not versions:
        return None
    types = [_type_proto(v).SerializeToString() for v in inputs]
    try:
        raw = schema.get_context_dependent_function_with_opset_version(
            max(versions), node.SerializeToString(), types
        )
    except RuntimeError as e:  # onnx writes names into a text that it parses
        raise ImportError_(f"onnx can't spell it out: {' '.join(str(e).split())}") from e
    return onnx.FunctionProto.FromString(raw) if raw else None


def inline(
    importer: GraphImporter,
    node: onnx.NodeProto,
    body: onnx.FunctionProto,
    inputs: Sequence[Any],
    label: str,
) -> list[Any]:
    """Import a schema's body in place of the node."""
    given = {a.name: a for a in node.attribute}
    for a in body.attribute_proto:
        given.setdefault(a.name, a)
    try:
        schema = defs.get_schema(node.op_type, importer.opsets.get(node.domain, 1), node.domain)
        for name, a in schema.attributes.items():
            if name not in given and a.default_value.name:
                given[name] = a.default_value
    except defs.SchemaError:
        pass
    return _run_body(importer, body, inputs, given, f"{importer.path}{label}/")


def inline_local(
    importer: GraphImporter,
    node: onnx.NodeProto,
    body: onnx.FunctionProto,
    inputs: Sequence[Any],
    label: str,
) -> list[Any]:
    """Import one of the model's own functions in place of the node."""
    given = {a.name: a for a in body.attribute_proto}
    given |= {a.name: a for a in node.attribute}
    missing = [a for a in body.attribute if a not in given]
    for a in missing:
        given.pop(a, None)
    return _run_body(importer, body, inputs, given, f"{importer.path}{label}/")


def _run_body(
    importer: GraphImporter,
    body: onnx.FunctionProto,
    inputs: Sequence[Any],
    given: Mapping[str, onnx.AttributeProto],
    path: str,
) -> list[Any]:
    from aicc.frontends.onnx.importer import Scope

    scope = Scope()
    for i, name in enumerate(body.input):
        scope[name] = inputs[i] if i < len(inputs) else None
    opsets = {o.domain: o.version for o in body.opset_import} or dict(importer.opsets)
    opsets = {**{k: v for k, v in importer.opsets.items() if k not in opsets}, **opsets}
    child = importer.child(scope=scope, opsets=opsets, path=path, attributes=given)
    child.nodes(body.node)
    return [scope.values.get(name) for name in body.output]


def constant_input(builder: GraphBuilder, name: str, value: Any) -> Any:
    """A model input that is specialised on its value: a constant, a sequence or an optional."""
    if isinstance(value, (list, tuple)):
        return Sequence_(constant_input(builder, f"{name}.{i}", v) for i, v in enumerate(value))
    if value is None:
        return Optional_(None)
    return builder.constant(np.asarray(value), name=name)


def flatten_output(name: str, value: Any) -> Iterator[tuple[str, SSAValue]]:
    """The tensors of an output; those of a sequence are named ``name.0``, ``name.1``, …"""
    if isinstance(value, SSAValue):
        yield name, value
    elif isinstance(value, Sequence_):
        for i, v in enumerate(value):
            yield from flatten_output(f"{name}.{i}", v)
    elif isinstance(value, Optional_) and value.value is not None:
        yield from flatten_output(name, value.value)
    else:
        raise ImportError_(f"output '{name}' is a {type(value).__name__}, not a tensor")


def given_shape(
    info: onnx.ValueInfoProto, shapes: Mapping[str, Sequence[int | str]] | None
) -> onnx.TypeProto:
    """The declared type, with a shape given by the user where there is one."""
    if not shapes or info.name not in shapes:
        return info.type
    proto = onnx.TypeProto()
    proto.CopyFrom(info.type)
    kind = proto.WhichOneof("value")
    holder = proto.optional_type.elem_type if kind == "optional_type" else proto
    shape = holder.tensor_type.shape
    del shape.dim[:]
    shape.SetInParent()
    for d in shapes[info.name]:
        dim = shape.dim.add()
        if isinstance(d, int):
            dim.dim_value = d
        else:
            dim.dim_param = d
    return proto
