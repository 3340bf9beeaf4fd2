"""The table of graph ops, computed from the registries of frontends and backends."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from aicc.ir.graph import OPS
from aicc.ir.graph.decompositions import DECOMPOSITIONS


def _mentions(importers: Mapping[Any, Any]) -> set[str]:
    """Class names of graph ops that the source of any importer names."""
    found: set[str] = set()
    for module in {inspect.getmodule(fn) for fn in importers.values()}:
        if module is not None:
            found |= set(re.findall(r"graph\.([A-Z]\w+)", inspect.getsource(module)))
    return found


def op_table() -> str:
    """One line an op: its name, who produces it, who runs it, and what it is."""
    from aicc.backends.numpy.table import implements
    from aicc.backends.triton.library import LIBRARY
    from aicc.frontends import onnx as onnx_frontend
    from aicc.frontends import torch as torch_frontend
    from aicc.passes.lower_to_tile import has_kernel

    rows = {key: entries[0].importer for key, entries in onnx_frontend.IMPORTERS.items()}
    from_onnx = _mentions(rows)
    from_torch = _mentions(torch_frontend.IMPORTERS)
    lines = [f"{'op':24} {'onnx':5} {'torch':5} {'numpy':5} {'triton':6} {'parts':5}  what"]
    for name, cls in sorted(OPS.items()):
        marks = (
            cls.__name__ in from_onnx,
            cls.__name__ in from_torch,
            implements(cls),
        )
        cells = " ".join(f"{'yes' if m else '-':5}" for m in marks)
        triton = "yes" if has_kernel(cls) else "torch" if cls in LIBRARY else "-"
        cells += f" {triton:6} {'yes' if cls in DECOMPOSITIONS else '-':5}"
        first = (cls.__doc__ or "").strip().splitlines()[0]
        lines.append(f"{name.removeprefix('graph.'):24} {cells}  {first}")
    lines.append("")
    lines.append(
        f"{len(OPS)} ops; {len(onnx_frontend.IMPORTERS)} ONNX operators and "
        f"{len(torch_frontend.IMPORTERS)} aten operators have importers. "
        "'triton': a kernel, or a call of torch. 'parts': has a decomposition into other ops."
    )
    return "\n".join(lines)
