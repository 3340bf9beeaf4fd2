"""What the page shows of a compile, as plain data."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

import aicc
from aicc.api import CompiledModel
from aicc.ir import graph, tile
from aicc.ir.asm import print_module
from aicc.ir.chips import CHIPS
from aicc.ir.module import input_names, main_of
from aicc.ir.op import GraphOp
from aicc.ir.symbols import total
from aicc.ir.types import typical
from aicc.layers import place_of

MANY = 150
"""Ops of one module that the graph shows beside each other; more are put into numbered parts."""

_SEPARATORS = re.compile(r"[/.]")


@dataclass
class Recorder:
    """An observer of a compile that keeps the IR after each pass, and what fused kernels hold."""

    passes: list[dict[str, Any]] = field(default_factory=list)
    inside: dict[str, list[str]] = field(default_factory=dict)
    """The places of all ops that were fused into one, by the place that the kernel has."""

    _last: list[Any] = field(default_factory=list)

    def __call__(self, name: str, number: int, total: int, module: ModuleOp) -> None:
        now = snapshot(module)
        same = bool(self.passes) and now == self._last
        text = self.passes[-1]["text"] if same else print_module(module)
        same |= bool(self.passes) and self.passes[-1]["text"] == text
        self._last = now
        self.passes.append({"name": name, "text": text, "same": same})
        for op in module.walk():
            if isinstance(op, graph.Fused):
                places = [place_of(o.location) for o in op.ops()]
                known = self.inside.setdefault(place_of(op.location), [])
                known += [p for p in dict.fromkeys(places) if p and p not in known]


def snapshot(module: ModuleOp) -> list[Any]:
    """All that a module's text says, op by op, without the text: far quicker to compare."""
    return [
        (
            op,
            op.parent,
            tuple(op.operands),
            tuple(op.properties.items()),
            tuple(op.attributes.items()),
            tuple((r.type, r.name_hint) for r in op.results),
            tuple((a.type, a.name_hint) for r in op.regions for b in r.blocks for a in b.args),
            op.location,
        )
        for op in module.walk()
    ]


def packed(text: str) -> str:
    """Text as base64 of gzip: pages hold the IR after every pass, and unpack what is looked at."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def report_data(
    compiled: CompiledModel,
    title: str,
    recorder: Recorder | None = None,
    remarks: Sequence[str] = (),
    quantization: Path | None = None,
    archs: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that the page shows; without a recorder, as of an artifact, only the final IR.

    `archs`: chips that kernels are compiled for, to show what they take of them.
    """
    summary = compiled.report()
    records = compiled._records
    passes: list[dict[str, Any]] = []
    for i, p in enumerate(recorder.passes if recorder else []):
        record = records[i - 1] if 0 < i <= len(records) else None
        passes.append(
            {
                "name": p["name"],
                "spec": record.spec if record else p["name"],
                "seconds": record.seconds if record else 0.0,
                "ops": record.ops if record else None,
                "ir": None if p["same"] else packed(p["text"]),
            }
        )
    if not passes:
        passes = [{"name": "final", "spec": "final", "seconds": 0.0, "ops": None,
                   "ir": packed(compiled.ir())}]  # fmt: skip
    imported = compiled._imported if compiled._imported is not None else compiled.module
    return {
        "title": title,
        "version": aicc.__version__,
        "target": compiled.target,
        "summary": {
            "inputs": summary.inputs,
            "outputs": summary.outputs,
            "parameters": summary.parameters,
            "parameter bytes": summary.parameter_bytes,
            "FLOPs": str(summary.flops),
            "bytes read and written": str(summary.bytes),
            "arena bytes": str(summary.arena),
            "dims": summary.dims,
        },
        "passes": passes,
        "graph": graph_nodes(imported),
        "kernels": kernels(compiled, recorder.inside if recorder else {}, archs),
        "rooflines": {
            c.name: {"bandwidth": c.memory, "flops": c.cores * c.clock * c.scalar,
                     "dots": c.cores * c.clock * max(c.dot.values(), default=c.scalar)}
            for c in CHIPS.values()
        },
        "memory": memory_plan(compiled.module),
        "fusion": fusion(remarks),
        "quantization": read_quantization(quantization),
    }  # fmt: skip


def graph_nodes(module: ModuleOp) -> list[dict[str, Any]]:
    """The ops of ``@main``, constants aside: op, module path, type, and which nodes it reads."""
    func = main_of(module)
    number: dict[SSAValue, int] = {}
    nodes: list[dict[str, Any]] = []
    for name, arg in zip(input_names(func), func.args, strict=True):
        number[arg] = len(nodes)
        nodes.append({"op": "input", "name": name, "path": [], "type": str(arg.type), "reads": []})
    for op in func.body.block.ops:
        if not isinstance(op, GraphOp) or isinstance(op, graph.Constant) or not op.results:
            continue
        place = place_of(op.location)
        parts = [p for p in _SEPARATORS.split(place) if p]
        used = [v for inner in op.walk() for v in inner.operands] if op.regions else op.operands
        for r in op.results:
            number[r] = len(nodes)
        nodes.append(
            {
                "op": op.kind,
                "name": op.results[0].name_hint or "",
                "path": parts[:-1],
                "place": place,
                "type": str(op.results[0].type),
                "reads": sorted({number[v] for v in used if v in number}),
            }
        )
    divided(nodes)
    return nodes


def divided(nodes: list[dict[str, Any]]) -> None:
    """Put the many ops of one module into parts of `MANY`."""
    direct: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for node in nodes:
        direct.setdefault(tuple(node["path"]), []).append(node)
    for own in direct.values():
        if len(own) <= MANY:
            continue
        for i, node in enumerate(own):
            start = i // MANY * MANY
            node["path"] = [*node["path"], f"ops {start} to {min(start + MANY, len(own)) - 1}"]


def kernels(
    compiled: CompiledModel, inside: Mapping[str, Sequence[str]], archs: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The tile kernels: work, schedule, text in IR and in the target's language, and their ops."""
    launches: dict[str, list[Operation]] = {}
    for op in compiled.module.walk():
        if isinstance(op, tile.Launch):
            launches.setdefault(op.kernel, []).append(op)
    sources: Mapping[str, str] = getattr(compiled._program, "sources", {})
    measure = getattr(compiled._program, "resources", None) if archs else None
    resources = {} if measure is None else measure(archs)
    found = []
    for kernel in compiled.module.ops:
        if not isinstance(kernel, tile.Kernel):
            continue
        places: dict[str, None] = {}
        for op in launches.get(kernel.sym_name, ()):
            place = place_of(op.location)
            places |= dict.fromkeys([place, *inside.get(place, ())] if place else ())
        name = kernel.sym_name
        found.append(
            {
                "name": name,
                "launches": len(launches.get(name, ())),
                "flops": typical(total(kernel.work)),
                "bytes": typical(total(kernel.moved)),
                "schedule": dict(kernel.schedule),
                "origin": getattr(kernel, "origin", None) or "",
                "resources": resources.get(name, {}),
                "places": list(places),
                "ir": packed(print_module(kernel, locations=False)),
                "source": packed(sources.get(name) or source_of(compiled.source, name)),
            }
        )
    return found


def source_of(text: str, name: str) -> str:
    """The part of a program's source that defines a kernel: from its head to the next one's."""
    start = re.search(
        rf"^(?:@triton\.jit\n)?(?:def|class|extern).*\b{re.escape(name)}\b", text, re.M
    )
    if start is None:
        return ""
    end = re.search(r"^(?:@triton\.jit|def |class |extern )", text[start.end() :], re.M)
    return text[start.start() : start.end() + end.start() if end else len(text)].rstrip() + "\n"


def memory_plan(module: ModuleOp) -> dict[str, Any]:
    """The buffers of the arena: offset and bytes, and the steps that they live for."""
    func = main_of(module)
    buffers = [
        {
            "name": op.result.name_hint or "buffer",
            "type": str(op.result.type),
            "offset": typical(op.offset[0]),
            "bytes": typical(op.bytes),
            "first": op.live[0],
            "last": op.live[1],
        }
        for op in tile.planned(func)
    ]
    return {
        "arena": typical(tile.arena_bytes(func)),
        "most live": tile.most_live_bytes(func),
        "steps": max((b["last"] for b in buffers), default=0) + 1,
        "buffers": buffers,
    }


def fusion(remarks: Sequence[str]) -> list[str]:
    return [r for r in remarks if not r.startswith("layout: ")]


def read_quantization(path: Path | None) -> Any:
    """The report that `aicc quantize` wrote beside a model, if there is one."""
    if path is None or not (path / "report.json").is_file():
        return None
    return json.loads((path / "report.json").read_text())
