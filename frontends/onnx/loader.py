"""Reading .onnx files: bad ones give one clear error."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from aicc.frontends.onnx.errors import ImportError_

MIN_OPSET = 1


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
    check_acyclic(model.graph, str(path))
    return model


def check_acyclic(graph: onnx.GraphProto, where: str) -> None:
    """Refuse graphs that produce a name twice or use one before it is produced."""
    produced: set[str] = {i.name for i in graph.input} | {i.name for i in graph.initializer}
    for i, node in enumerate(graph.node):
        for name in node.output:
            if name and name in produced and name not in {x.name for x in graph.input}:
                raise ImportError_(
                    f"{where}: node '{node.name or i}' ({node.op_type}) produces '{name}', "
                    "which exists already"
                )
        produced.update(n for n in node.output if n)
