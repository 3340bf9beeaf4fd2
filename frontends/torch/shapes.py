"""SymInts and sympy expressions → symbolic dims."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch

from aicc.ir.symbols import Dim, SymExpr, floordiv, maximum, minimum, mod, sym


def to_dim(size: Any) -> Dim:
    """An int, SymInt or sympy expression as a dim. Raises ValueError for what dims can't say."""
    if isinstance(size, (int, SymExpr)):
        return size
    if isinstance(size, torch.SymInt):
        node = size.node
        return int(size) if node.is_constant() else from_sympy(node.expr)
    return from_sympy(size)


def from_sympy(e: Any) -> Dim:
    if e.is_Integer:
        return int(e)
    if e.is_Symbol:
        return sym(e.name)
    if e.is_Add:
        return reduce(lambda a, b: a + b, map(from_sympy, e.args))
    if e.is_Mul:
        numerator, denominator = e.as_numer_denom()
        if denominator != 1:
            return floordiv(from_sympy(numerator), from_sympy(denominator))
        return reduce(lambda a, b: a * b, map(from_sympy, e.args))
    if e.is_Pow and e.exp.is_Integer and int(e.exp) > 0:
        return reduce(lambda a, b: a * b, [from_sympy(e.base)] * int(e.exp))
    name = type(e).__name__
    if name in ("FloorDiv", "CleanDiv", "IntTrueDiv"):
        return floordiv(*map(from_sympy, e.args))
    if name in ("Mod", "PythonMod"):
        return mod(*map(from_sympy, e.args))
    if name == "Max":
        return reduce(maximum, map(from_sympy, e.args))
    if name == "Min":
        return reduce(minimum, map(from_sympy, e.args))
    if name in ("ToFloat", "Identity"):
        return from_sympy(e.args[0])
    raise ValueError(f"the size {e} can't be expressed")
