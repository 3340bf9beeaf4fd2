"""What a module is: signature, ops by kind, parameters, FLOPs and bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects.builtin import ModuleOp, TensorType

from aicc.artifact import signature
from aicc.ir import tile
from aicc.ir.graph import Constant, Yield
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.op import GraphOp
from aicc.ir.quantized import quantization_of
from aicc.ir.symbols import Dim
from aicc.ir.symbols import total as total_of
from aicc.ir.types import bytes_of, element_type, numel, typical
from aicc.passes.infer_quantized_types import InferQuantizedTypes
from aicc.passes.panels import STORED
from aicc.pipeline import PassManager, PassRecord, full_pipeline, parse_pipeline
from aicc.targets import backend, default_target


@dataclass
class Summary:
    """The report of a compiled model. `flops` and `bytes` are symbolic where dims are."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    dims: dict[str, Any]
    ops: dict[str, int]
    parameters: int
    parameter_bytes: int
    flops: Dim
    bytes: Dim
    passes: list[PassRecord] = field(default_factory=list)
    arena: Dim = 0
    """Bytes of the arena for what lives between kernels, where memory is planned."""
    most_live: int = 0
    """The most bytes that live in it at one step, symbols being `TYPICAL_DIM`."""

    def __str__(self) -> str:
        lines = ["inputs:"]
        lines += [f"  {i['name']}: {i['type']}" for i in self.inputs]
        lines += ["outputs:"]
        lines += [f"  {o['name']}: {o['type']}" for o in self.outputs]
        if self.dims:
            ranges = (
                f"{n} in {lo}..{'' if hi is None else hi}" for n, (lo, hi) in self.dims.items()
            )
            lines.append("dims: " + ", ".join(ranges))
        lines.append(f"parameters: {self.parameters:,} ({self.parameter_bytes:,} bytes)")
        lines.append(f"FLOPs: {_number(self.flops)}")
        lines.append(f"bytes read and written by ops: {_number(self.bytes)}")
        if self.arena != 0:
            ratio = typical(self.arena) / max(self.most_live, 1)
            lines.append(f"arena: {_number(self.arena)} bytes, {ratio:.3f} × what lives at once")
        lines.append("ops:")
        lines += [f"  {count:6d}  {kind}" for kind, count in self.ops.items()]
        if self.passes:
            lines.append("passes:")
            lines += [f"  {p.seconds * 1e3:9.2f} ms  {p.ops:6d} ops  {p.spec}" for p in self.passes]
        return "\n".join(lines)


def _number(d: Dim) -> str:
    return f"{d:,}" if isinstance(d, int) else str(d)


def summarize(module: ModuleOp, records: Sequence[PassRecord] = ()) -> Summary:
    """Count a module. Ops in regions count once, however often they run; kernels as a whole."""
    ops: Counter[str] = Counter()
    parameters = parameter_bytes = 0
    flops: Dim = 0
    total: Dim = 0
    seen: set[str] = set()
    kernels = {k.sym_name: k for k in module.ops if isinstance(k, tile.Kernel)}
    for op in (o for top in module.ops if not isinstance(top, tile.Kernel) for o in top.walk()):
        if not isinstance(op, GraphOp) or isinstance(op, (Yield, tile.Alloc)):
            continue
        if isinstance(op, Constant):
            name = op.value.resource
            if name is not None and name not in seen:
                seen.add(name)
                data = op.value.data
                size = numel(data.shape)
                assert isinstance(size, int)
                parameters += size
                parameter_bytes += size * data.dtype.bits // 8
            continue
        if isinstance(op, tile.Launch):
            kernel = kernels[op.kernel]
            ops[f"launch {kernel.sym_name}"] += 1
            flops, total = flops + total_of(kernel.work), total + total_of(kernel.moved)
            continue
        ops[op.kind] += 1
        flops = flops + op.flops()
        for value in (*op.operands, *op.results):
            if isinstance(value.type, TensorType):
                total = total + (bytes_of(value) or 0)
    s, func = signature(module), main_of(module)
    return Summary(
        s["inputs"],
        s["outputs"],
        s["dims"],
        dict(ops.most_common()),
        parameters,
        parameter_bytes,
        flops,
        total,
        list(records),
        tile.arena_bytes(func),
        tile.most_live_bytes(func),
    )


def layouts(module: ModuleOp, target: str | None, layout: str) -> list[str]:
    """Where images' channels lie on a target, each transpose that is left, with its reason, and how
    weights are stored for its products."""
    chosen = backend(target or default_target())
    context = CompileContext(
        evaluator=chosen, target=chosen.description, remarks=[], chips=chosen.chips()
    )
    assigned = module.clone()
    PassManager(parse_pipeline(full_pipeline("", layout)), context).run(assigned)
    ops = [op for op in assigned.walk() if hasattr(op, "layout")]
    lines = []
    if ops:
        counts = Counter(f"{op.kind} {op.layout}" for op in ops if isinstance(op, GraphOp))  # type: ignore[attr-defined]
        told = beginning(context, "layout: ")
        lines = [f"layouts for {chosen.name}:", *counted(counts)]
        lines += ["conversions:", *(f"  {line}" for line in told or ["none"])]
    if chosen.lowering:
        PassManager(parse_pipeline(chosen.lowering), context).run(assigned)
    if stored := Counter(beginning(context, STORED)):
        lines += [f"weights for {chosen.name}:", *counted(stored)]
    return lines


def quantized_values(module: ModuleOp) -> list[str]:
    """What is quantized, by type and by what shares a scale: constants, and what runs compute."""
    copy = module.clone()
    InferQuantizedTypes().apply(CompileContext(), copy)
    found: Counter[str] = Counter()
    for op in copy.walk():
        for value in op.results:
            if (q := quantization_of(value)) is not None:
                kind = "constants" if isinstance(op, Constant) else "values"
                found[f"{kind} {element_type(value)}, {q.shared}"] += 1
    return ["quantized:", *counted(found)] if found else []


def beginning(context: CompileContext, word: str) -> list[str]:
    """What passes remarked that begins so, without that."""
    return [r.removeprefix(word) for r in context.remarks or [] if r.startswith(word)]


def counted(counts: Counter[str]) -> list[str]:
    return [f"  {count:6d}  {kind}" for kind, count in counts.items()]
