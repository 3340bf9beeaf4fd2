"""Gives every launch its buffers: one arena for what lives between kernels, reused over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block as IRBlock
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from aicc.ir import graph, tile
from aicc.ir.module import bound_symbols, functions
from aicc.ir.symbols import Dim, SymExpr
from aicc.ir.types import element_type
from aicc.passes.arena import Block, place, stacked
from aicc.passes.fusion_groups import size_of

CONTROL_FLOW = (graph.If, graph.Loop)
WRITING = (graph.ScatterND, graph.ScatterElements, graph.TopK, graph.Sort)
"""Ops without a kernel whose results are in no case their operands' memory."""


@dataclass(frozen=True)
class PlanMemory(ModulePass):
    """Put a `tile.alloc` before each launch for each of its results.

    What is returned gets memory of its own, and so does what has a size that isn't known when the
    function begins. Other ops than launches may give views of their operands, which then live as
    long as those. With `in_place`, a kernel's result takes the place of an operand that ends there
    and whose elements it reads only where it writes. Launches inside of control flow are planned
    with `regions`: then whatever runs the function copies what a region yields.
    """

    name = "plan-memory"
    in_place: bool = True
    regions: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = {k.sym_name: k for k in op.ops if isinstance(k, tile.Kernel)}
        for func in functions(op).values():
            _Plan(func, kernels, self.in_place, self.regions).insert()


@dataclass
class Storage(Block):
    """A block of the arena, with the results that are in it one after another."""

    results: list[tuple[SSAValue, int]] = field(default_factory=list)
    """With the last step at which each is needed."""


class _Plan:
    def __init__(
        self, func: FuncOp, kernels: dict[str, tile.Kernel], in_place: bool, regions: bool
    ):
        self.func, self.kernels, self.in_place = func, kernels, in_place
        self.inside = CONTROL_FLOW if regions else ()
        ops = list(steps_of(func.body.block, self.inside))
        self.step = {op: i for i, op in enumerate(ops)}
        self.roots = roots_of(ops, self.inside)
        self.last = self.last_steps(ops)
        self.known = set(bound_symbols(func))

    def last_steps(self, ops: list[Operation]) -> dict[SSAValue, int]:
        """The last step that needs each launch's result, be it through a view."""
        last: dict[SSAValue, int] = {}
        for op in ops:
            for value in op.operands if isinstance(op, self.inside) else operands_of(op):
                for root in self.roots.get(value, ()):
                    last[root] = max(last.get(root, 0), self.step[needing(op, root)])
        return last

    def insert(self) -> None:
        returned = self.func.body.block.last_op
        assert returned is not None
        escaping = {r for v in returned.operands for r in self.roots.get(v, ())}
        storages: list[Storage] = []
        place_of: dict[SSAValue, Storage] = {}
        for op, step in self.step.items():
            if not isinstance(op, tile.Launch) or op.buffers:
                continue
            dying = self.dying(op, step, place_of) if self.in_place else []
            for j, result in enumerate(op.outputs):
                size = tile.padded_bytes(result)
                if result in escaping or size == 0 or not self.is_known(size):
                    continue
                last = self.last.get(result, step)
                taken = next((d for d in dying if self.fits(op, d[0], j)), None)
                if taken is None:
                    storages.append(Storage(step, last, size, [(result, last)]))
                    place_of[result] = storages[-1]
                    continue
                dying.remove(taken)
                storage = place_of[result] = taken[1]
                storage.last = last
                storage.results.append((result, last))
        sizes = [size_of((s.bytes,)) for s in storages]
        fixed = place(storages, sizes)
        symbolic = any(isinstance(s.bytes, SymExpr) for s in storages)
        found: list[Dim | None] = stacked(storages, fixed) if symbolic else [*fixed]
        self.write(dict(placed(storages, found)))

    def write(self, places: dict[SSAValue, tuple[Dim, int, int]]) -> None:
        for op in self.step:
            if not isinstance(op, tile.Launch) or op.buffers:
                continue
            buffers: list[SSAValue] = []
            for result in op.outputs:
                params = {}
                if result in places:
                    offset, *live = places[result]
                    params = {"offset": [offset], "live": live}
                alloc = tile.Alloc.make(result_types=[result.type], location=op.location, **params)
                alloc.result.name_hint = result.name_hint
                buffers.append(alloc.result)
            block = op.parent
            assert block is not None
            block.insert_ops_before([b.owner for b in buffers], op)  # type: ignore[misc]
            op.operands = [*op.operands, *buffers]

    def is_known(self, size: Dim) -> bool:
        return isinstance(size, int) or size.symbols() <= self.known

    def dying(
        self, op: tile.Launch, step: int, place_of: dict[SSAValue, Storage]
    ) -> list[tuple[int, Storage]]:
        """Operands in the arena that nothing needs after this launch, each the only one there."""
        reads = [self.roots.get(v, frozenset()) for v in op.inputs]
        found = []
        for i, (value, roots) in enumerate(zip(op.inputs, reads, strict=True)):
            alone = len(roots) == 1 and sum(bool(roots & r) for r in reads) == 1
            if not alone or not only_reshaped(value):
                continue
            (root,) = roots
            storage = place_of.get(root)
            if storage is not None and storage.last == step and storage.results[-1][0] is root:
                found.append((i, storage))
        return found

    def fits(self, op: tile.Launch, operand: int, result: int) -> bool:
        value, out = op.inputs[operand], op.outputs[result]
        same = tile.padded_bytes(value) == tile.padded_bytes(out)
        same = same and element_type(value).bits == element_type(out).bits
        return same and overwrites(self.kernels[op.kernel], operand, result)


def placed(
    storages: list[Storage], offsets: list[Dim | None]
) -> list[tuple[SSAValue, tuple[Dim, int, int]]]:
    """Each result with its offset, and the steps from which and to which it is there."""
    found = []
    for storage, offset in zip(storages, offsets, strict=True):
        if offset is None:
            continue
        first = storage.first
        for result, last in storage.results:
            found.append((result, (offset, first, last)))
            first = last
    return found


def steps_of(block: IRBlock, inside: tuple[type[Operation], ...]) -> Iterator[Operation]:
    """What runs, in order, and after an op of the given kinds what is in its regions."""
    for op in block.ops:
        if isinstance(op, (graph.Constant, tile.Alloc)):
            continue
        yield op
        if isinstance(op, inside):
            for region in op.regions:
                yield from steps_of(region.block, inside)


def needing(op: Operation, value: SSAValue) -> Operation:
    """Until when a value is needed that an op reads: in a region, one from outside to its end."""
    home = value.owner if isinstance(value.owner, IRBlock) else value.owner.parent
    last = op
    while (block := op.parent) is not home:
        assert block is not None and block.last_op is not None
        last = block.last_op
        outer = block.parent_op()
        assert outer is not None
        op = outer
    return last


def operands_of(op: Operation) -> list[SSAValue]:
    """What an op reads, inside its regions too."""
    return [v for inner in op.walk() for v in inner.operands] if op.regions else list(op.operands)


def roots_of(
    ops: list[Operation], copying: tuple[type[Operation], ...] = ()
) -> dict[SSAValue, frozenset[SSAValue]]:
    """The results of launches whose memory each value may share; those of `copying` ops don't."""
    roots: dict[SSAValue, frozenset[SSAValue]] = {}
    none: frozenset[SSAValue] = frozenset()
    for op in ops:
        if isinstance(op, tile.Launch):
            roots |= {r: frozenset([r]) for r in op.outputs}
            continue
        if isinstance(op, (*copying, *WRITING)):
            continue
        read = none.union(*(roots.get(v, none) for v in operands_of(op)))
        roots |= dict.fromkeys(op.results, read)
    return roots


def only_reshaped(value: SSAValue) -> bool:
    """Whether a value has the elements of a launch's result, in their order."""
    while isinstance(value.owner, graph.Reshape):
        value = value.owner.input
    return isinstance(value.owner, tile.Launch)


def overwrites(kernel: tile.Kernel, operand: int, result: int) -> bool:
    """Whether a kernel reads elements of an operand only where it then writes the result's.

    Each program must read and write the same places, by the same subscripts, and read before it
    writes: loads and stores stand in one block, the kernel's own.
    """
    source, target = (kernel.body.block.args[i] for i in (operand, kernel.inputs + result))
    loads = [u.operation for u in source.uses]
    (store,) = stores = [u.operation for u in target.uses]
    assert len(stores) == 1 and isinstance(store, tile.Store)
    return all(
        isinstance(load, tile.Load)
        and load.parent is store.parent
        and load.is_before_in_block(store)
        and tuple(load.subscripts) == tuple(store.subscripts)
        and load.strides == store.strides
        and load.offset == store.offset
        for load in loads
    )
