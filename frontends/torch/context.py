"""What an importer sees of one call in an FX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node
from xdsl.ir import SSAValue

from aicc.frontends.torch.shapes import to_dim
from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import DType, dtype_from_torch
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim, SymExpr


class TorchImportError(ValueError):
    """A torch program that can't be imported; the message names the call."""


def torch_dtype(dtype: torch.dtype) -> DType:
    """The element type of a torch dtype."""
    found = dtype_from_torch(str(dtype).removeprefix("torch."))
    if found is None:
        raise TorchImportError(f"tensors of {dtype} are not supported")
    return found


class CallContext:
    """A call's metadata, and ways to build its lowering."""

    def __init__(self, builder: GraphBuilder, node: Node, fallback: bool = False):
        self.b = builder
        self.node = node
        self.fallback = fallback
        """Whether a call that isn't lowered runs in torch instead."""
        self.val = node.meta.get("val")

    # ------------------------------------------------------------------ the result, as traced

    def fake(self, i: int | None = None) -> torch.Tensor:
        """The fake tensor of the result, or of result `i` of several."""
        return self.val if i is None else self.val[i]  # type: ignore[index,return-value]

    def dtype(self, i: int | None = None) -> DType:
        return torch_dtype(self.fake(i).dtype)

    def dims(self, i: int | None = None) -> list[Dim]:
        return [to_dim(s) for s in self.fake(i).shape]

    def arg_fake(self, i: int) -> Any:
        """The traced value of argument i."""
        a = self.node.args[i]
        return a.meta["val"] if isinstance(a, Node) else a

    # ------------------------------------------------------------------ operands

    def tensor(self, x: Any, dtype: DType) -> SSAValue:
        """A tensor, number or SymInt as a tensor of the dtype."""
        if isinstance(x, SSAValue):
            return self.b.cast(x, dtype)
        if isinstance(x, SymExpr):
            return self.b.cast(self.b.dim(x), dtype)
        if dtype.is_integer and isinstance(x, float):
            x = int(x)
        return self.b.constant(x, dtype)

    def promoted(self, *xs: Any) -> DType:
        """The dtype that torch computes an elementwise op in."""
        values: list[Any] = []
        for a in self.node.args[: len(xs)]:
            values.append(a.meta["val"] if isinstance(a, Node) else a)
        plain: list[Any] = [
            2 if isinstance(v, (torch.SymInt, int)) and not isinstance(v, bool) else v
            for v in values
        ]
        if len(plain) == 1:
            return torch_dtype(plain[0].dtype)
        return torch_dtype(torch.result_type(plain[0], plain[1]))

    def axis(self, dim: int, rank: int) -> int:
        return dim % rank if rank else 0

    def axes(self, dim: Any, rank: int) -> list[int]:
        """Normalised axes; all of them for None or an empty list."""
        if not rank:
            return []
        if dim is None or (isinstance(dim, (list, tuple)) and not dim):
            return list(range(rank))
        dims = [dim] if isinstance(dim, int) else list(dim)
        return sorted({self.axis(d, rank) for d in dims})

    def emit(self, cls: type[GraphOp], *operands: Any, **params: Any) -> SSAValue:
        return self.b.emit(cls, *operands, **params)

    def scalar(self, value: float | int | bool, like: SSAValue) -> SSAValue:
        return self.b.scalar_like(value, like)


def pair(value: int | Sequence[int], n: int) -> list[int]:
    """A per-dim parameter: one number stands for all."""
    values = [value] if isinstance(value, int) else list(value)
    return values * n if len(values) == 1 else values
