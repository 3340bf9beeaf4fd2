"""Reading .onnx files: bad ones give one clear error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from aicc.frontends.onnx.errors import ImportError_


def load_model(path: str | Path) -> onnx.ModelProto:
    """Parse a file; external data is left to be read as initializers are imported.

    Raises ImportError_ for a file that is missing, truncated, or no ONNX model.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as e:
        raise ImportError_(f"{path}: {e.strerror or e}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except DecodeError as e:
        raise ImportError_(f"{path}: not an ONNX model, or truncated ({e})") from None
    if not model.opset_import or not model.HasField("graph"):
        raise ImportError_(f"{path}: not an ONNX model (it has no graph or no opset)")
    check_text(model.graph, str(path))
    check_unique(model.graph, str(path))
    return model


def external_files(path: str | Path) -> list[str]:
    """The files that a model's tensors lie in beside its own, as it names them."""
    model = load_model(path)
    tensors = [*tensors_of(model.graph), *(t for f in model.functions for t in held_by(f.node))]
    entries = (e for t in tensors for e in t.external_data)
    return sorted({e.value for e in entries if e.key == "location"})


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All tensors that a graph holds, those of its inner graphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from held_by(graph.node)


def held_by(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """The tensors of nodes' attributes, and of the graphs there."""
    for attribute in (a for node in nodes for a in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from tensors_of(inner)


def check_text(graph: onnx.GraphProto, where: str) -> None:
    """Refuse names that aren't text: protobuf gives bytes for what is not UTF-8."""
    values = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    names = [v.name for v in values]
    for v in (*graph.input, *graph.output):
        names += [d.dim_param for d in v.type.tensor_type.shape.dim]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [a.name for a in node.attribute]
        for a in node.attribute:
            for inner in (a.g, *a.graphs) if a.HasField("g") or a.graphs else ():
                check_text(inner, where)
    for name in names:
        if not isinstance(name, str):
            raise ImportError_(f"{where}: damaged: the name {name!r} is not UTF-8 text")


def check_unique(graph: onnx.GraphProto, where: str) -> None:
    """Refuse graphs that produce a name twice."""
    given = {i.name for i in graph.input}
    produced = given | {i.name for i in graph.initializer}
    for i, node in enumerate(graph.node):
        for name in node.output:
            if name and name in produced and name not in given:
                raise ImportError_(
                    f"{where}: node '{node.name or i}' ({node.op_type}) produces '{name}', "
                    "which exists already"
                )
        produced.update(n for n in node.output if n)
