"""The reference of the IR as Markdown, from the ops' own declarations."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from xdsl.irdl import OptOperandDef, VarOperandDef, VarResultDef

from aicc.ir import tile
from aicc.ir.graph import OPS
from aicc.ir.graph.decompositions import DECOMPOSITIONS
from aicc.ir.op import GraphOp

HEAD = """# The IR

Two dialects, both MLIR text, both run by the interpreter. This page is made from the declarations
in `aicc/ir` by `aicc ops --reference`.

Tensors are builtin `tensor<…>`; names of dynamic sizes stand in the encoding:
`tensor<?x64xf32, #graph.dims<n>>`. An operand `dyn_x` is the parameter `x` as a tensor, for values
that only a run knows: one of the two is given. Codes may say there what they stand for, so that
the verifier finds codes that are read otherwise than they were written:
`tensor<8x64xi8, #graph.quantized<f32, scale = 0.02, zero_point = -3>>`, with an `axis` and a
`group` where scales are several (passes `infer-quantized-types`, `strip-quantized-types`).
"""


def reference() -> str:
    """The page: every op of the graph dialect, then of the tile dialect."""
    lines = [HEAD, "## graph: whole tensors", ""]
    for _, cls in sorted(OPS.items()):
        lines += described(cls)
    lines += ["## tile: what one program of a kernel does", ""]
    for cls in sorted(tile_ops(), key=lambda c: c.name):
        lines += described(cls)
    return "\n".join(lines).rstrip() + "\n"


def tile_ops() -> Iterable[type[GraphOp]]:
    return [c for c in tile.Tile.operations if issubclass(c, GraphOp)]


def described(cls: type[GraphOp]) -> list[str]:
    definition = cls.get_irdl_definition()
    lines = [f"### {cls.name}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
    operands = [f"`{n}`" + _count(d) for n, d in definition.operands]
    results = [f"`{n}`" + _count(d) for n, d in definition.results]
    if operands:
        lines.append(f"- operands: {', '.join(operands)}")
    if results:
        lines.append(f"- results: {', '.join(results)}")
    for name, spec in cls.PARAMS.items():
        choices = f", one of {', '.join(map(repr, spec.choices))}" if spec.choices else ""
        default = "" if spec.required else f", by default `{spec.default!r}`"
        lines.append(f"- `{name}`: {spec.kind.name}{choices}{default}")
    if cls in DECOMPOSITIONS:
        lines.append("- can be taken apart into other ops (`decompose`)")
    return [*lines, ""]


def _count(definition: object) -> str:
    if isinstance(definition, OptOperandDef):
        return " (optional)"
    return " (any number)" if isinstance(definition, (VarOperandDef, VarResultDef)) else ""
