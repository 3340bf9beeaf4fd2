"""Lowers fused kernels to the tile dialect: each becomes a `tile.kernel` and its launch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from aicc.ir import graph, tile
from aicc.ir.graph import Fused
from aicc.ir.graph.decompositions import DECOMPOSITIONS
from aicc.ir.graph.roles import Role, role_of
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import bound_symbols, functions
from aicc.ir.op import GraphOp
from aicc.ir.symbols import total
from aicc.ir.tile.identity import structure
from aicc.ir.types import element_type, shape_of, symbols_of
from aicc.passes.decompose import decomposed
from aicc.passes.fusion_groups import is_literal, moved_bytes
from aicc.passes.tiling import reductions, scalars
from aicc.passes.tiling.attention import lower_attention
from aicc.passes.tiling.attention_backward import lower_attention_backward
from aicc.passes.tiling.convolution import FEW_PLACES, lower_conv
from aicc.passes.tiling.matmul import lower_matmul
from aicc.passes.tiling.nodes import MOVES, Unsupported
from aicc.passes.tiling.pooling import lower_pool
from aicc.passes.tiling.rows import PERSISTENT, lower_rows
from aicc.passes.tiling.scans import lower_scan
from aicc.passes.tiling.spaces import empty_kernel, is_empty
from aicc.passes.tiling.winograd import lower_patches, lower_winograd


@dataclass(frozen=True)
class Limits:
    """What targets choose differently: see `LowerToTile`."""

    longest: int = PERSISTENT
    places: int = FEW_PLACES
    online: bool = False


Lowered = tuple[Block, dict[str, Any]]
Lowering = Callable[[Fused, Limits], Lowered]


def lower_contraction(op: Fused, limits: Limits) -> Lowered:
    """A kernel around a product, by what kind of product it is."""
    anchors = [o for o in op.ops() if role_of(o) is Role.CONTRACTION]
    kind = type(anchors[0])
    if kind not in CONTRACTIONS:
        raise Unsupported(f"{anchors[0].name} has no lowering")
    return CONTRACTIONS[kind](op, anchors, limits)


CONTRACTIONS: dict[type[Operation], Callable[[Fused, Any, Limits], Lowered]] = {
    graph.MatMul: lambda op, anchors, limits: lower_matmul(op, anchors),
    graph.Conv: lambda op, anchors, limits: lower_conv(op, anchors[0], limits.places),
    graph.ConvTranspose: lambda op, anchors, limits: lower_conv(op, anchors[0], limits.places),
    graph.Attention: lambda op, anchors, limits: lower_attention(op, *anchors),
    graph.AttentionWithLse: lambda op, anchors, limits: lower_attention(op, *anchors),
    graph.AttentionBackwardQuery: lambda op, anchors, limits: lower_attention_backward(
        op, *anchors
    ),
    graph.AttentionBackwardKeyValue: lambda op, anchors, limits: lower_attention_backward(
        op, *anchors
    ),
    graph.WinogradConv: lambda op, anchors, limits: lower_winograd(op, *anchors),
}
"""How a kernel around each kind of product is lowered."""

ALONE: dict[type[Operation], Callable[[Fused, Any], Lowered]] = {
    graph.MaxPool: lower_pool,
    graph.AvgPool: lower_pool,
    graph.WinogradInputTransform: lower_patches,
    graph.CumSum: lower_scan,
    graph.CumProd: lower_scan,
}
"""How ops are lowered that `fuse` leaves alone: each is a kernel by itself."""

SCANS = (graph.CumSum, graph.CumProd)
"""Of those the ones that go one step after another: libraries do it better where cores are many."""

LOWERINGS: dict[str, Lowering] = {
    "pointwise": lambda op, limits: lower_rows(op, limits.longest, limits.online),
    "reduction": lambda op, limits: lower_rows(op, limits.longest, limits.online),
    "contraction": lower_contraction,
}
"""How a kernel of each role is lowered."""


@dataclass(frozen=True)
class LowerToTile(ModulePass):
    """Replace each `graph.fused` that has a lowering by the launch of a tile kernel.

    Kernels that do the same share one `tile.kernel`. What has no lowering stays, and a remark says
    why. Rows of up to `longest` elements are held in one tile. Convolutions to images of up to
    `places` places take those of all images side by side. Without `scans`, running sums and
    products are left to the host's library. With `online`, sums for softmax and variance are found
    in the pass over a longer row that finds its maximum or mean, at the price of more arithmetic.
    """

    name = "lower-to-tile"
    longest: int = PERSISTENT
    places: int = FEW_PLACES
    scans: bool = False
    online: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        remarks = ctx.remarks if isinstance(ctx, CompileContext) else None
        limits = Limits(self.longest, self.places, self.online)
        known: dict[Hashable, str] = {}
        done: dict[Hashable, tuple[str, tile.Kernel, frozenset[str]]] = {}
        taken = {k.sym_name for k in op.ops if isinstance(k, tile.Kernel)} | set(functions(op))
        for func in functions(op).values():
            for lone in [o for o in func.body.block.ops if type(o) in ALONE]:
                assert isinstance(lone, GraphOp)
                if isinstance(lone, SCANS) and not self.scans:
                    continue
                if None not in [d for r in lone.results for d in shape_of(r)]:
                    wrapped(lone)
        bound = {f: frozenset(bound_symbols(f)) for f in functions(op).values()}
        pending = deque(fused_ops(op))
        while pending:
            func, fused = pending.popleft()
            if not fused.outputs:
                fused.detach()
                fused.erase()
                continue
            sizes = bound[func] | tile.sizes_of(fused.inputs).keys()
            same = structure(fused)
            try:
                if same in done:
                    name, kernel, needed = done[same]
                    check_sizes(kernel, needed, sizes)
                    _replace(fused, name)
                    continue
                kernel = lowered(fused, limits)
                needed = sizes_needed(kernel)
                check_sizes(kernel, needed, sizes)
            except Unsupported as e:
                if remarks is not None:
                    remarks.append(f"{fused.role} {fused.label} at {fused.location}: no tile: {e}")
                pending.extendleft((func, part) for part in reversed(split(fused)))
                continue
            made = structure(kernel)
            if made not in known:
                known[made] = _fresh(fused.label or fused.role, taken)
                kernel.set_param("sym_name", known[made])
                op.body.block.add_op(kernel)
            done[same] = known[made], kernel, needed
            _replace(fused, known[made])


def split(fused: Fused) -> list[Fused]:
    """Put the ops of a kernel back where it stood: each a kernel of its own, if there were many."""
    block, inner = fused.parent, [o for o in fused.ops() if isinstance(o, GraphOp)]
    assert block is not None
    for arg, value in zip(fused.body.block.args, fused.inputs, strict=True):
        arg.replace_all_uses_with(value)
    for old, new in zip(fused.outputs, fused.yielded().inputs, strict=True):
        old.replace_all_uses_with(new)
    fused.yielded().detach()
    for op in inner:
        op.detach()
        block.insert_op_before(op, fused)
    fused.detach()
    fused.erase()
    computing = [o for o in inner if not isinstance(o, graph.Constant)]
    if len(computing) < 2:
        return []
    return [wrapped(o) for o in computing if not isinstance(o, graph.Reshape)]


def wrapped(op: GraphOp) -> Fused:
    """Put one op into a `graph.fused`; results without uses go."""
    block = op.parent
    assert block is not None
    used = [r for r in op.results if r.first_use is not None]
    literals = {v: v.owner for v in op.operands if is_literal(v)}
    inputs = [v for v in dict.fromkeys(op.operands) if v not in literals]
    body = Block(arg_types=[v.type for v in inputs])
    role = Role.REDUCTION if type(op) in reductions.RULES else role_of(op)
    fused = Fused.make(
        inputs,
        result_types=[r.type for r in used],
        regions=[Region(body)],
        location=op.location,
        role=role.name.lower() if role.name.lower() in LOWERINGS else "pointwise",
        label=op.kind,
    )
    block.insert_op_before(fused, op)
    for old, new in zip(used, fused.outputs, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    op.detach()
    inside: dict[SSAValue, SSAValue] = dict(zip(inputs, body.args, strict=True))
    for value, constant in literals.items():
        assert isinstance(constant, graph.Constant)
        copy = constant.clone()
        body.add_op(copy)
        inside[value] = copy.result
    for i, value in enumerate(op.operands):
        inside[value].name_hint = value.name_hint
        op.operands[i] = inside[value]
    body.add_ops([op, graph.Yield.make(used, result_types=[])])
    return fused


def has_kernel(op: type[GraphOp], scans: bool = False) -> bool:
    """Whether the op is lowered to tiles, alone or inside another kernel."""
    if op in SCANS:
        return scans
    if op in DECOMPOSITIONS or op in (graph.Iota, graph.Constant):
        return True
    tables = (scalars.RULES, reductions.RULES, MOVES, CONTRACTIONS, ALONE)
    return any(op in table for table in tables)


def fused_ops(module: ModuleOp) -> list[tuple[FuncOp, Fused]]:
    """The kernels of each function."""
    return [(f, o) for f in functions(module).values() for o in f.walk() if isinstance(o, Fused)]


def sizes_needed(kernel: tile.Kernel) -> frozenset[str]:
    """The symbols that a launch of the kernel must know."""
    needed = set(kernel.sizes)
    for arg in kernel.body.block.args:
        assert isinstance(arg.type, tile.BufferType)
        needed |= symbols_of(arg.type.shape)
    return frozenset(needed)


def check_sizes(kernel: tile.Kernel, needed: Collection[str], known: Collection[str]) -> None:
    """Raise Unsupported if a launch can't give a size that the kernel needs."""
    if clash := kernel.schedule.keys() & set(known):
        raise Unsupported(f"a size is called {min(clash)}, as a schedule parameter is")
    if missing := set(needed) - set(known):
        raise Unsupported(f"the size {min(missing)} isn't known before it runs")


def lowered(fused: Fused, limits: Limits) -> tile.Kernel:
    """The kernel of a fused op, not yet named. Raises Unsupported."""
    if fused.role not in LOWERINGS:
        raise Unsupported(f"kernels around a {fused.role} have no lowering")
    if any(element_type(v).kind == "complex" for v in (*fused.inputs, *fused.outputs)):
        raise Unsupported("complex numbers")
    decompose_composites(fused)
    alone = [o for o in fused.ops() if type(o) in ALONE]
    if is_empty(fused):
        block, params = empty_kernel(fused)
        params |= {"work": [0], "moved": [0]}  # whatever its operands hold
    elif alone:
        block, params = ALONE[type(alone[0])](fused, alone[0])
    else:
        block, params = LOWERINGS[fused.role](fused, limits)
    params.setdefault("work", [total(o.flops() for o in fused.ops() if isinstance(o, GraphOp))])
    params.setdefault("moved", [moved_bytes(fused)])
    kernel = tile.Kernel.make(
        regions=[Region(block)],
        result_types=[],
        location=fused.location,
        sym_name="",
        **params,
    )
    return kernel


def decompose_composites(fused: Fused) -> None:
    """Take composites apart that have no arithmetic of their own on tiles."""
    pending: list[Operation] = list(fused.ops())
    while pending:
        op = pending.pop()
        if not isinstance(op, GraphOp) or type(op) not in DECOMPOSITIONS:
            continue
        native = type(op) in MOVES or scalars.implements(op) or type(op) in reductions.RULES
        if not native and role_of(op) is not Role.CONTRACTION:
            pending += decomposed(op)


def _fresh(label: str, taken: set[str]) -> str:
    name, i = label, 0
    while name in taken:
        i += 1
        name = f"{label}_{i}"
    taken.add(name)
    return name


def _replace(fused: Fused, kernel: str) -> None:
    launch = tile.Launch.make(
        list(fused.inputs),
        result_types=[v.type for v in fused.outputs],
        location=fused.location,
        kernel=kernel,
    )
    block = fused.parent
    assert block is not None
    block.insert_op_before(launch, fused)
    for old, new in zip(fused.outputs, launch.outputs, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    fused.detach()
    fused.erase()
