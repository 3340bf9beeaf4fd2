"""Forms kernels: graph ops that pass elements to one another become one `graph.fused`."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from aicc.ir.graph import Cast, Constant, Fused, Reshape, ShapeExpr, Yield
from aicc.ir.graph.roles import Role, role_of
from aicc.ir.interfaces import CompileContext
from aicc.ir.op import GraphOp
from aicc.ir.types import Shape, shape_of
from aicc.passes.fusion_groups import (
    ADDRESSES,
    FusionCost,
    Group,
    bytes_of,
    follows_from_place,
    is_literal,
    merged,
    needed_outside,
    why_not,
    why_not_beside,
)

Readers = dict[Group | Operation, dict[Group | Operation, None]]
"""The groups and other ops that read from each."""

NEAREST = 8
"""How many of the kernels before one it is compared with."""

SEARCH = 256
"""How many ops a search for a cycle looks at before it gives up."""


@dataclass(frozen=True)
class Fuse(ModulePass):
    """Put ops that can share a kernel into one `graph.fused`, largest saving first.

    Two neighbours are fused where the rules of `fusion_groups` allow it and the bytes that need no
    longer be written and read outweigh what is computed again. A remark says for each pair of
    neighbours that stays apart why. Time is near-linear in the number of ops.
    """

    name = "fuse"
    max_ops: int = FusionCost.max_ops
    max_operands: int = FusionCost.max_operands

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        remarks = ctx.remarks if isinstance(ctx, CompileContext) else None
        cost = FusionCost(max_ops=self.max_ops, max_operands=self.max_operands)
        blocks = [
            b for o in op.walk() if not isinstance(o, Fused) for r in o.regions for b in r.blocks
        ]
        for block in blocks:
            if not isinstance(block.parent_op(), (ModuleOp, Fused)):
                _Former(block, cost, remarks).run()


class _Former:
    """Forms the kernels of one block."""

    def __init__(self, block: Block, cost: FusionCost, remarks: list[str] | None):
        self.block, self.cost, self.remarks = block, cost, remarks
        copy_addresses(block)
        self.index = {op: i for i, op in enumerate(block.ops)}
        self.group_of: dict[Operation, Group] = {}
        self.unused: list[Operation] = []
        self.told: dict[tuple[SSAValue, Operation], str] = {}

    def run(self) -> None:
        taking_part = [op for op in self.index if isinstance(op, GraphOp) and takes_part(op)]
        for op in taking_part:
            self.group_of[op] = Group.of(op)
            self.join_producers(op, first_time=True)
        for op in taking_part:  # groups have grown: what was apart may fit now
            self.join_producers(op)
        for op, group in list(self.group_of.items()):
            if group.is_alias:
                del self.group_of[op]
        for group in dict.fromkeys(self.group_of.values()):
            self.leave_views(group)
        self.join_siblings()
        if self.remarks is not None:
            self.remarks += self.told.values()
        for op in self.unused:
            del self.index[op]
            op.detach()
            op.erase()
        self.rebuild()

    # ------------------------------------------------------------------ forming groups

    def join_producers(self, op: GraphOp, first_time: bool = False) -> None:
        """Merge the groups that `op` reads from into its own, those that save most first."""
        read = sorted(dict.fromkeys(op.operands), key=bytes_of, reverse=True)
        for value in read:
            first, second = self.group_of.get(value.owner), self.group_of[op]  # type: ignore
            if first is None or first is second:
                continue
            if first_time and self.belongs_elsewhere(first, second):
                continue
            reason = why_not(first, second, self.cost) or self.cycle(first, second)
            if reason is None:
                self.joined(first, second)
            self.remark(value, op, reason)

    def belongs_elsewhere(self, first: Group, second: Group) -> bool:
        """Whether ops of elements had better wait for those that read them.

        Elements that are only reduced are computed where they are, instead of being written beside
        the product, or the other elements, that they are made from. So is what scales a product,
        behind a reduction of other elements.
        """
        if second.role is not Role.POINTWISE:
            return False
        stored = first.role is Role.POINTWISE and needed_outside(first, second)
        if stored or first.role is Role.CONTRACTION:
            return self.is_only_reduced(second)
        return first.role is Role.REDUCTION and self.scales_product(second)

    def is_only_reduced(self, group: Group) -> bool:
        """Whether all that reads the group combines its elements, with nothing from a product."""
        pending, seen = list(group.outputs()), set[Operation]()
        if not pending:
            return False
        while pending:
            for use in pending.pop().uses:
                op = use.operation
                role = role_of(op)
                if role is Role.POINTWISE and len(seen) < SEARCH:
                    if any(comes_from_product(v) for v in op.operands):
                        return False
                    if op not in seen:
                        seen.add(op)
                        pending.extend(op.results)
                elif role is not Role.REDUCTION:
                    return False
        return True

    def scales_product(self, group: Group) -> bool:
        users = {u.operation for v in group.outputs() for u in v.uses}
        return bool(users) and all(
            role_of(user) is Role.POINTWISE
            and any(self.is_product(v, group.space) for v in user.operands)
            for user in users
        )

    def is_product(self, value: SSAValue, space: Shape) -> bool:
        owner = value.owner
        group = self.group_of.get(owner) if isinstance(owner, Operation) else None
        return group is not None and group.role is Role.CONTRACTION and group.space == space

    def leave_views(self, group: Group) -> None:
        """Take reshapes out of a kernel that writes what they read anyway: they are views of it."""
        inside = set(group.ops)
        views: dict[SSAValue, list[Reshape]] = {}
        for op in group.ops:
            if not isinstance(op, Reshape) or op.input.owner not in inside:
                continue
            if all(u.operation not in inside for u in op.result.uses):
                views.setdefault(op.input, []).append(op)
        for value, reshapes in views.items():
            if len(reshapes) == 1 and all(u.operation in inside for u in value.uses):
                continue  # then the reshaped form is the only one that is written
            for op in reshapes:
                del self.group_of[op]
                group.ops.remove(op)
                first = reshapes[0]
                same = (op.properties, *op.operands) == (first.properties, *first.operands)
                if same and op is not first:
                    op.result.replace_all_uses_with(first.result)
                    self.unused.append(op)

    def cycle(self, first: Group, second: Group) -> str | None:
        """Whether `second` also depends on `first` through ops outside both."""
        last = max(self.index[op] for op in second.ops)
        own, seen = set(first.ops), set[Operation]()
        pending: list[Operation] = list(first.ops)
        while pending:
            for result in pending.pop().results:
                for use in result.uses:
                    user = self.ancestor(use.operation)
                    group = self.group_of.get(user)
                    if user in seen or group is first or self.index[user] > last:
                        continue
                    if group is second:
                        if result.owner in own:
                            continue  # a direct edge
                        return "between them lies a kernel that needs the one and feeds the other"
                    if len(seen) > SEARCH:
                        return "too much lies between them to rule out a cycle"
                    members = group.ops if group is not None else [user]
                    seen.update(members)
                    pending.extend(members)
        return None

    def join_siblings(self) -> None:
        """Merge kernels that go over one space and don't need one another: one start for all.

        They are small, or read much of the same.
        Kernels of one depth in the graph of kernels don't.
        """
        kinds: dict[tuple, list[Group]] = {}
        for unit, depth in self.depths().items():
            if isinstance(unit, Group) and unit.role is not Role.CONTRACTION:
                kinds.setdefault((depth, unit.role, unit.space, unit.axes), []).append(unit)
        for units in kinds.values():
            kept: list[Group] = []
            for second in units:
                for i in reversed(range(len(kept))[-NEAREST:]):
                    reason = why_not_beside(kept[i], second, self.cost)
                    self.remark_beside(kept[i], second, reason)
                    if reason is None:
                        kept[i] = self.joined(kept[i], second)
                        break
                else:
                    kept.append(second)

    def joined(self, first: Group, second: Group) -> Group:
        both = merged(first, second)
        both.ops.sort(key=self.index.__getitem__)
        for member in both.ops:
            self.group_of[member] = both
        return both

    def depths(self) -> dict[Group | Operation, int]:
        """Of groups and other ops, how many must run one after another before each, in order."""
        found: dict[Group | Operation, int] = {}
        readers = self.readers()
        order = self.topological(readers)
        for unit in order:
            depth = found.setdefault(unit, 0)
            for reader in readers[unit]:
                found[reader] = max(found.get(reader, 0), depth + 1)
        return {unit: found[unit] for unit in order}

    def ancestor(self, op: Operation) -> Operation:
        """The op of this block that holds `op`."""
        while op.parent is not self.block:
            parent = op.parent_op()
            assert parent is not None
            op = parent
        return op

    def remark(self, value: SSAValue, op: GraphOp, reason: str | None) -> None:
        if self.remarks is None:
            return
        owner = value.owner
        assert isinstance(owner, GraphOp)
        pair = f"{owner.kind} at {owner.location} → {op.kind} at {op.location}"
        told = f"fused, saves {2 * bytes_of(value)} bytes" if reason is None else f"apart: {reason}"
        self.told[value, op] = f"{pair}: {told}"

    def remark_beside(self, first: Group, second: Group, reason: str | None) -> None:
        if self.remarks is None:
            return
        a, b = anchor_of(first), anchor_of(second)
        told = "fused, saves a start" if reason is None else f"apart: {reason}"
        self.remarks.append(f"{a.kind} at {a.location} beside {b.kind} at {b.location}: {told}")

    # ------------------------------------------------------------------ rewriting

    def rebuild(self) -> None:
        """Order the block by groups and put each group into a `graph.fused`."""
        order = self.topological(self.readers())
        for op in self.index:
            op.detach()
        for unit in order:
            if isinstance(unit, Group):
                fused = self.kernel(unit)
                self.block.add_op(fused)
            else:
                self.block.add_op(unit)

    def topological(self, readers: Readers) -> list[Group | Operation]:
        """Groups and other ops so that each comes after what it reads; else in the old order."""
        units: dict[Group | Operation, int] = {}
        for op, i in self.index.items():
            units.setdefault(self.group_of.get(op, op), i)
        waiting = dict.fromkeys(units, 0)
        for unit in (u for found in readers.values() for u in found):
            waiting[unit] += 1
        ready = [(i, n, u) for n, (u, i) in enumerate(units.items()) if not waiting[u]]
        number = {u: n for n, u in enumerate(units)}
        heapq.heapify(ready)
        order: list[Group | Operation] = []
        while ready:
            _, _, unit = heapq.heappop(ready)
            order.append(unit)
            for reader in readers[unit]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    heapq.heappush(ready, (units[reader], number[reader], reader))
        assert len(order) == len(units), "fusion made a cycle"
        return order

    def readers(self) -> Readers:
        """Who reads from whom, by the operands of all ops."""
        found: Readers = {}
        for op in self.index:
            unit = self.group_of.get(op, op)
            found.setdefault(unit, {})
            for value in (v for inner in op.walk() for v in inner.operands):
                owner = value.owner
                if isinstance(owner, Operation) and owner in self.index:
                    source = self.group_of.get(owner, owner)
                    if source is not unit:
                        found.setdefault(source, {})[unit] = None
        return found

    def kernel(self, group: Group) -> Fused:
        """The group's ops, moved into the body of a new op."""
        inputs, outputs = group.inputs(), list(group.outputs())
        body = Block(arg_types=[v.type for v in inputs])
        fused = Fused.make(
            inputs,
            result_types=[v.type for v in outputs],
            regions=[Region(body)],
            location=anchor_of(group).location,
            role=group.role.name.lower(),
            label=label_of(group),
        )
        known: dict[SSAValue, SSAValue] = dict(zip(inputs, body.args, strict=True))
        for value, arg in known.items():
            arg.name_hint = value.name_hint
        inside = set(group.ops)
        for value, result in zip(outputs, fused.outputs, strict=True):
            result.name_hint = value.name_hint
            value.replace_uses_with_if(result, lambda use: use.operation not in inside)
        for op in sorted(group.ops, key=self.index.__getitem__):
            for i, value in enumerate(op.operands):
                if value not in known and is_literal(value):
                    assert isinstance(value.owner, Constant)
                    literal = value.owner.clone()
                    body.add_op(literal)
                    known[value] = literal.result
                if value in known:
                    op.operands[i] = known[value]
            body.add_op(op)
        body.add_op(Yield.make(outputs, result_types=[]))
        return fused


def copy_addresses(block: Block) -> None:
    """Give each reader its own copy of ops that only say where elements lie: they cost nothing."""
    for op in reversed(list(block.ops)):
        if not isinstance(op, ADDRESSES) and not follows_from_place(op):
            continue
        readers = list(dict.fromkeys(u.operation for u in op.results[0].uses))
        for reader in readers[1:]:
            if reader.parent is block:
                copy = op.clone()
                block.insert_op_after(copy, op)
                op.results[0].replace_uses_with_if(
                    copy.results[0], lambda use, reader=reader: use.operation is reader
                )


def comes_from_product(value: SSAValue) -> bool:
    """Whether a value is a product's, reshaped or not."""
    while isinstance(value.owner, (Reshape, Cast)):
        value = value.owner.operands[0]
    return role_of(value.owner) is Role.CONTRACTION


def takes_part(op: GraphOp) -> bool:
    """Whether an op is to become part of a kernel: what only computes sizes is not."""
    if isinstance(op, (Constant, ShapeExpr, Yield, Fused)) or role_of(op) is Role.OPAQUE:
        return False
    return None not in shape_of(op.results[0])


def anchor_of(group: Group) -> GraphOp:
    """The op that a kernel is built around: a product, a reduction, or the last op."""
    for op in group.ops:
        if role_of(op) is Role.CONTRACTION:
            return op
    found = [op for op in group.ops if role_of(op) is Role.REDUCTION]
    return found[0] if found else group.ops[-1]


def label_of(group: Group) -> str:
    """A name for the kernel: its anchors first, then what else tells it apart."""
    anchors = [op.kind for op in group.ops if role_of(op) in (Role.CONTRACTION, Role.REDUCTION)]
    others = [op.kind for op in group.ops if role_of(op) is Role.POINTWISE]
    moves = [op.kind for op in group.ops if role_of(op) is Role.INDEX]
    names = dict.fromkeys([*anchors, *others] or moves)
    return "_".join(list(names)[:4])
