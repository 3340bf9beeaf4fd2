"""Loads and stores, and what is checked of them: masks, and the ends of buffers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import i1
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import operand_def, opt_operand_def, result_def, var_operand_def
from xdsl.utils.exceptions import VerifyException

from aicc.ir.graph.common import SEGMENTS, require
from aicc.ir.op import ANY, GraphOp, graph_op
from aicc.ir.params import DIMS, NUMBER, param
from aicc.ir.symbols import Dim
from aicc.ir.tile.ops import Axis, Broadcast, InBounds, Kernel, ProgramId, Size
from aicc.ir.tile.types import (
    INDEX,
    BufferType,
    bind,
    broadcast_tiles,
    signless,
    tile,
    tile_element,
    tile_shape,
)
from aicc.ir.types import numel
from aicc.ir.values import SymbolicValues


class Access(GraphOp):
    """What loads and stores share: the element at ``offset + sum(subscript * stride)``.

    A subscript is a tile of `index` or a scalar. Where `mask` is false, memory isn't touched.
    """

    irdl_options = (SEGMENTS,)
    buffer = operand_def(ANY)
    mask = opt_operand_def(ANY)
    subscripts = var_operand_def(ANY)
    strides: tuple[Dim, ...] = param(DIMS)
    offset: tuple[Dim, ...] = param(DIMS, default=(0,))

    def verify_access(self) -> tuple[Dim, ...]:
        """The shape of the tile that is addressed. Raises VerifyException."""
        require(self, isinstance(self.buffer.type, BufferType), "the first operand is no buffer")
        require(self, len(self.strides) == len(self.subscripts), "one stride a subscript")
        for s in self.subscripts:
            if tile_element(s.type) != INDEX:
                require(self, False, f"a subscript is {s.type}, not of index")
        try:
            shape = broadcast_tiles(*(tile_shape(s.type) for s in self.subscripts))
            if self.mask is not None:
                require(self, tile_element(self.mask.type) == i1, "the mask must be of i1")
                shape = broadcast_tiles(shape, tile_shape(self.mask.type))
        except ValueError as e:
            raise VerifyException(f"{self.name}: {e}") from None
        return shape

    def verify_(self) -> None:
        super().verify_()
        kernel = self.kernel()
        if kernel is None:
            return
        unmasked = set(self.axes(*self.subscripts)) - set(self.axes(self.mask))
        for axis in unmasked:
            if not axis.is_exact(kernel.schedule):
                raise VerifyException(
                    f"{self.name}: dim {axis.dim} runs past {axis.bound[0]} in steps of "
                    f"{axis.block[0]} without a mask"
                )
        self.verify_range(kernel)

    def verify_range(self, kernel: Kernel) -> None:
        """Raise VerifyException if what is addressed may lie outside the buffer.

        Only subscripts that are axes or program ids have known ends; others pass, and so does what
        a mask hides by more than bounds.
        """
        assert isinstance(self.buffer.type, BufferType)
        if 0 in kernel.grid or not self.only_ends():
            return
        last = bind(self.offset[0], kernel.schedule)
        for s, stride in zip(self.subscripts, self.strides, strict=True):
            owner = s.owner
            if isinstance(owner, Axis):
                end = owner.bound[0]
            elif isinstance(owner, ProgramId):
                end = kernel.grid[owner.axis]
            else:
                return
            end, stride = bind(end, kernel.schedule), bind(stride, kernel.schedule)
            if not (isinstance(end, int) and isinstance(stride, int) and isinstance(last, int)):
                return
            if end == 0:
                return
            last += (end - 1) * stride
        size = numel(self.buffer.type.shape)
        if isinstance(size, int) and isinstance(last, int) and size and last >= size:
            raise VerifyException(
                f"{self.name}: reaches element {last} of a buffer of {size} elements"
            )

    def by_dims(self) -> list[list[tuple[SSAValue, Dim]]] | None:
        """The subscripts with their strides, by the dim of the tile that each varies along.

        None if one varies along several dims; those that vary along none count to the first.
        """
        found: list[list[tuple[SSAValue, Dim]]] = [[] for _ in self.verify_access()]
        for s, stride in zip(self.subscripts, self.strides, strict=True):
            along = [i for i, d in enumerate(tile_shape(s.type)) if d != 1]
            if len(along) > 1 or not found:
                return None
            found[along[0] if along else 0].append((s, stride))
        return found

    def conditions(self) -> Iterator[SSAValue]:
        """What the mask is the conjunction of."""
        return self.parts_of(self.mask)

    @staticmethod
    def parts_of(mask: SSAValue | None) -> Iterator[SSAValue]:
        """What a mask is the conjunction of."""
        pending = [mask] if mask is not None else []
        while pending:
            value = pending.pop()
            if isinstance(value.owner, (arith.AndIOp, Broadcast)):
                pending += value.owner.operands
            else:
                yield value

    def only_ends(self) -> bool:
        """Whether the mask, if there is one, says no more than where axes end."""
        return all(isinstance(c.owner, InBounds) for c in self.conditions())

    def kernel(self) -> Kernel | None:
        op: Operation | None = self
        while op is not None and not isinstance(op, Kernel):
            op = op.parent_op()
        return op

    @staticmethod
    def axes(*values: SSAValue | None) -> Iterator[Axis]:
        """The axes that values are computed from by ops of index and of i1."""
        pending, seen = [v for v in values if v is not None], set[SSAValue]()
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            owner = value.owner
            if isinstance(owner, Axis):
                yield owner
            elif isinstance(owner, Operation) and not isinstance(owner, (Access, Size)):
                pending += owner.operands


@graph_op
class Load(Access):
    """The addressed elements of a buffer; `other` where the mask is false, else undefined there."""

    name = "tile.load"
    result = result_def(ANY)
    other: int | float | None = param(NUMBER, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[Attribute]:  # type: ignore[override]
        shape = self.verify_access()
        assert isinstance(self.buffer.type, BufferType)
        return [tile(shape, signless(self.buffer.type.dtype))]


@graph_op
class Store(Access):
    """Writes a tile to the addressed elements of a buffer."""

    name = "tile.store"
    value = operand_def(ANY)

    def verify_(self) -> None:
        shape = self.verify_access()
        assert isinstance(self.buffer.type, BufferType)
        element = signless(self.buffer.type.dtype)
        given = tile_element(self.value.type)
        require(self, given == element, f"a tile of {given} for a buffer of {element}")
        if shape:
            try:
                fits = broadcast_tiles(shape, tile_shape(self.value.type)) == shape
            except ValueError:
                fits = False
            if not fits:
                require(self, False, f"the value is {self.value.type}, what is addressed {shape}")
        super().verify_()
