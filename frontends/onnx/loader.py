"""Reading .onnx files: bad ones give one clear error."""

from __future__ import annotations

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
