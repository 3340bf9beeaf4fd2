"""Running a module on calibration samples to see what flows through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from aicc.ir.interfaces import CompileContext
from aicc.ir.module import finish_function, main_of, return_of
from aicc.passes.quantization.observers import Histogram


def probe(module: ModuleOp, values: Sequence[SSAValue]) -> ModuleOp:
    """A copy of the module whose ``@main`` gives these of its values, in order."""
    block = main_of(module).body.block
    places: dict[SSAValue, tuple[int, int]] = {a: (-1, a.index) for a in block.args}
    for i, op in enumerate(block.ops):
        places.update({r: (i, j) for j, r in enumerate(op.results)})
    copy = module.clone()
    func = main_of(copy)
    ops = list(func.body.block.ops)
    wanted = []
    for value in values:
        i, j = places[value]
        wanted.append(func.body.block.args[j] if i < 0 else ops[i].results[j])
    return_of(func).detach()
    finish_function(func, [(f"value{i}", v) for i, v in enumerate(wanted)])
    for op in reversed(ops):
        if op.parent is not None and op.results and all(r.first_use is None for r in op.results):
            op.detach()
            op.erase()
    return copy


def observed(
    module: ModuleOp, values: Sequence[SSAValue], ctx: Context
) -> Iterator[list[np.ndarray]]:
    """The values on one sample after another. Raises ValueError without samples."""
    if not isinstance(ctx, CompileContext) or ctx.evaluator is None or not ctx.calibration:
        raise ValueError("calibration samples are needed, and none were given")
    if not values:
        return
    copy = probe(module, values)
    for sample in ctx.calibration:
        yield ctx.evaluator.run(copy, sample)


def histograms(
    module: ModuleOp, values: dict[SSAValue, str], ctx: Context
) -> dict[SSAValue, Histogram]:
    """What was seen of each value; `values` says what they are called in errors.

    Raises ValueError for NaN and infinities.
    """
    found = {value: Histogram() for value in values}
    for arrays in observed(module, list(values), ctx):
        for (value, name), array in zip(values.items(), arrays, strict=True):
            found[value].add(array)
            if broken := found[value].broken:
                raise ValueError(
                    f"the input of '{name}' is NaN or infinite {broken} times on the calibration "
                    "samples: nothing can be learnt of its range"
                )
    return found


def remark(ctx: Context, line: str) -> None:
    """Tell whoever asked."""
    if isinstance(ctx, CompileContext) and ctx.remarks is not None:
        ctx.remarks.append(line)
