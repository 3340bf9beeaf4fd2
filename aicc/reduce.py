"""Making a failing module small: the fewest ops and inputs with which it still fails.

Each step makes a candidate from the module that fails and keeps it if it fails too (Zeller and
Hildebrandt's delta debugging, 2002): values become inputs that hold what they were, outputs go or
move up to what they were computed from, ops give way to one of their operands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from aicc.ir import graph
from aicc.ir.interfaces import Evaluator
from aicc.ir.module import (
    NAME,
    finish_function,
    input_names,
    main_of,
    output_names,
    remove_arguments,
    return_of,
    symbol_arguments,
    update_function_type,
)
from aicc.verify import all_values

Fails = Callable[[ModuleOp, Sequence[np.ndarray]], bool]
"""Whether a module fails on inputs, in the way that is looked for; it must not raise."""


@dataclass
class Failing:
    """A module and the inputs on which it fails."""

    module: ModuleOp
    inputs: list[np.ndarray]

    @property
    def ops(self) -> list[Operation]:
        return [op for op in main_of(self.module).body.block.ops if op.results]

    def copy(self) -> Failing:
        return Failing(self.module.clone(), list(self.inputs))


def reduce_module(
    module: ModuleOp,
    inputs: Sequence[np.ndarray],
    fails: Fails,
    evaluator: Evaluator,
    tries: int = 2000,
) -> Failing:
    """The smallest module found in so many tries that still fails; the module itself at worst."""
    best = Failing(module.clone(), list(inputs))
    shown = with_all_outputs(best)
    if _fails(shown, fails):  # what nothing uses may be what fails
        best = shown
    left = tries
    progress = True
    while progress:
        progress = False
        for step in (fewer_outputs, values_as_inputs, earlier_outputs, ops_bypassed, fewer_inputs):
            candidates = step(best, evaluator)
            kept: Failing | None = None
            while left > 0:
                try:
                    # A generator is told which candidate was kept, and goes on from there.
                    candidate = candidates.send(kept)  # type: ignore[attr-defined]
                except StopIteration:
                    break
                left -= 1
                kept = (
                    candidate if _is_smaller(candidate, best) and _fails(candidate, fails) else None
                )
                if kept is not None:
                    best, progress = kept, True
    return best


def _is_smaller(candidate: Failing, best: Failing) -> bool:
    return _size(candidate) < _size(best)


def _size(f: Failing) -> tuple[int, int, int]:
    """Ops that are no constants, then all of them, outputs and inputs."""
    ops = f.ops
    working = sum(1 for op in ops if not isinstance(op, graph.Constant))
    func = main_of(f.module)
    return working, len(return_of(func).operands), len(ops) + len(func.args)


def _fails(candidate: Failing, fails: Fails) -> bool:
    try:
        candidate.module.verify()
    except VerifyException:
        return False
    return fails(candidate.module, candidate.inputs)


Steps = Iterator[Failing]


def fewer_outputs(start: Failing, evaluator: Evaluator) -> Steps:
    """One output alone, else all but one."""
    best = start
    count = len(return_of(main_of(best.module)).operands)
    if count > 1:
        for i in range(count):
            kept = yield with_outputs(best, [i])
            if kept is not None:
                return
    i = count - 1
    while i >= 0 and count > 1:
        kept = yield with_outputs(best, [j for j in range(count) if j != i])
        if kept is not None:
            best, count = kept, count - 1
        i -= 1


def with_outputs(f: Failing, positions: Sequence[int]) -> Failing:
    """The module with some of its outputs only."""
    made = f.copy()
    func = main_of(made.module)
    values = list(return_of(func).operands)
    names = output_names(func)
    _return(made, [(names[i], values[i]) for i in positions])
    return made


def with_all_outputs(f: Failing) -> Failing:
    """The module with what nothing uses among its outputs."""
    made = f.copy()
    func = main_of(made.module)
    outputs = list(zip(output_names(func), return_of(func).operands, strict=True))
    unused = [r for op in made.ops for r in op.results if r.first_use is None]
    _return(made, [*outputs, *((f"unused{i}", r) for i, r in enumerate(unused))])
    return made


def _return(f: Failing, outputs: Sequence[tuple[str, SSAValue]]) -> None:
    func = main_of(f.module)
    old = return_of(func)
    old.detach()
    old.drop_all_references()
    finish_function(func, outputs)
    drop_dead(f)


def drop_dead(f: Failing) -> None:
    """Take out ops whose results nothing uses; inputs stay."""
    block = main_of(f.module).body.block
    for op in reversed(list(block.ops)):
        unused = all(r.first_use is None for r in op.results)
        if not isinstance(op, ReturnOp) and unused and not isinstance(op, graph.CustomCall):
            op.detach()
            op.erase()


def values_as_inputs(start: Failing, evaluator: Evaluator) -> Steps:
    """Ops in halves, quarters, … one by one become inputs; the last ones come last."""
    best = start
    size = max(len(best.ops) // 2, 1)
    while True:
        position = 0
        while position < len(best.ops):
            made = cut(best, range(position, position + size), evaluator)
            kept = (yield made) if made is not None else None
            if kept is not None:
                best = kept
            else:
                position += size
        if size == 1:
            return
        size //= 2


def cut(f: Failing, positions: range, evaluator: Evaluator) -> Failing | None:
    """The module with ops turned into inputs of their values, constants aside."""
    ops = f.ops
    picked = [i for i in positions if i < len(ops) and not isinstance(ops[i], graph.Constant)]
    if not picked:
        return None
    try:
        values = all_values(f.module, evaluator, f.inputs)
    except (ValueError, RuntimeError):
        return None
    made = f.copy()
    new_ops = made.ops
    for i in picked:
        for result, array in zip(new_ops[i].results, values[i], strict=True):
            if isinstance(array, np.ndarray) and result.first_use is not None:
                result.replace_all_uses_with(add_input(made, result.type, array))
    drop_dead(made)
    return made


def add_input(f: Failing, type: object, array: np.ndarray) -> SSAValue:
    """A new last argument of ``@main``, with a value."""
    assert isinstance(type, TensorType)
    func = main_of(f.module)
    taken = set(input_names(func))
    name = next(n for i in range(len(taken) + 1) if (n := f"cut{i}") not in taken)
    arg = func.body.block.insert_arg(type, len(func.args))
    given = list(func.arg_attrs.data) if func.arg_attrs is not None else []
    func.arg_attrs = ArrayAttr([*given, DictionaryAttr({NAME: StringAttr(name)})])
    f.inputs.append(np.array(array))
    update_function_type(func)
    return arg


def earlier_outputs(start: Failing, evaluator: Evaluator) -> Steps:
    """What an output is computed from, in its place."""
    best = start
    again = True
    while again:
        again = False
        for i, value in enumerate(return_of(main_of(best.module)).operands):
            if not isinstance(value.owner, Operation):
                continue
            for j in range(len(value.owner.operands)):
                made = best.copy()
                func = main_of(made.module)
                outputs = list(zip(output_names(func), return_of(func).operands, strict=True))
                owner = outputs[i][1].owner
                assert isinstance(owner, Operation)
                outputs[i] = (outputs[i][0], owner.operands[j])
                _return(made, outputs)
                kept = yield made
                if kept is not None:
                    best, again = kept, True
                    break
            if again:
                break


def ops_bypassed(start: Failing, evaluator: Evaluator) -> Steps:
    """An operand of an op's own type in place of its result."""
    best = start
    position = 0
    while position < len(best.ops):
        op, moved = best.ops[position], False
        for j, operand in enumerate(op.operands):
            if len(op.results) != 1 or operand.type != op.results[0].type:
                continue
            made = best.copy()
            twin = made.ops[position]
            twin.results[0].replace_all_uses_with(twin.operands[j])
            drop_dead(made)
            kept = yield made
            if kept is not None:
                best, moved = kept, True
                break
        if not moved:
            position += 1


def fewer_inputs(start: Failing, evaluator: Evaluator) -> Steps:
    """Without the inputs that nothing uses, those aside that bind symbols still in use."""
    made = start.copy()
    func = main_of(made.module)
    unused = [i for i, a in enumerate(func.args) if a.first_use is None]
    unused = [i for i in unused if i not in symbol_arguments(func)]
    if unused:
        remove_arguments(func, unused)
        made.inputs = [x for i, x in enumerate(made.inputs) if i not in unused]
        yield made
    for i in reversed(range(len(func.args))):
        one = start.copy()
        func = main_of(one.module)
        if i < len(func.args) and func.args[i].first_use is None:
            remove_arguments(func, [i])
            del one.inputs[i]
            yield one
