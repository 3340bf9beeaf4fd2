"""Calibration samples as users give them: arrays of many samples, or a list of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.errors import InputError
from aicc.ir.dtypes import DType
from aicc.ir.module import input_names, main_of, symbol_ranges
from aicc.ir.types import Shape, element_type, format_dims, shape_of

LEAST = 8
"""Fewer samples than these say nothing of a range."""

BATCH = 32
"""How many samples run at once where the model takes any number."""

LABELS = "labels"
"""The name of the array of right answers among samples."""

HELD_OUT = 5
"""One of so many samples is held out of calibration, to be reported on."""


@dataclass(frozen=True)
class Samples:
    """Inputs of ``@main``, one call each, with the right answers of each where there are any."""

    calls: list[list[np.ndarray]]
    labels: list[np.ndarray] | None
    count: int
    """How many samples the calls are."""

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class Split:
    """What is calibrated on, and what is held out (nothing, where samples are few)."""

    calibration: Samples
    held_out: Samples | None


def split_samples(module: ModuleOp, given: Any, labels: Any = None) -> Split:
    """Samples of an array for each input, or a list of calls; every fifth is held out.

    Arrays have the samples along their first axis: an input of shape ``[batch, …]`` takes as many
    as it may, one of a fixed shape takes one sample for each call. `given` may hold the right
    answers under the name ``labels``. Raises InputError for samples that don't fit the model.
    """
    func = main_of(module)
    names = input_names(func)
    shapes = {n: shape_of(a) for n, a in zip(names, func.args, strict=True)}
    dtypes = {n: element_type(a) for n, a in zip(names, func.args, strict=True)}
    if isinstance(given, np.ndarray):
        given = {names[0]: given}
    if not isinstance(given, Mapping):
        return _split_calls(list(given), names, shapes, dtypes, labels)
    arrays = {str(k): np.asarray(v) for k, v in given.items()}
    if labels is None and LABELS not in names:
        labels = arrays.pop(LABELS, None)
    missing, unknown = set(names) - set(arrays), set(arrays) - set(names)
    if missing or unknown:
        what = f"there are none of '{min(missing)}'" if missing else f"no input '{min(unknown)}'"
        raise InputError(f"calibration samples: {what} (inputs: {', '.join(names)})")
    arrays = {n: _typed(n, arrays[n], dtypes[n]) for n in names}
    stacks = {n: _stacked(n, arrays[n], shapes[n]) for n in names}
    counts = {n: len(s) for n, s in stacks.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{n}: {c}" for n, c in counts.items())
        raise InputError(f"calibration samples: different numbers of samples ({told})")
    count = next(iter(counts.values()))
    if labels is not None and len(labels) != count:
        raise InputError(f"{count} calibration samples, but {len(labels)} labels")
    size = _batch(module, shapes, stacks)
    order = np.arange(count)
    held = order % HELD_OUT == HELD_OUT - 1 if count >= 2 * HELD_OUT else np.zeros(count, bool)
    parts = []
    for chosen in (order[~held], order[held]):
        runs = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        runs = [r for r in runs if len(r) == size or _takes_fewer(shapes, stacks)]
        calls = [[_call(stacks[n], shapes[n], r) for n in names] for r in runs]
        answers = None if labels is None else [np.asarray(labels)[r] for r in runs]
        parts.append(Samples(calls, answers, sum(map(len, runs))))
    return Split(parts[0], parts[1] if parts[1].calls else None)


def _split_calls(
    calls: Sequence[Any],
    names: Sequence[str],
    shapes: Mapping[str, Shape],
    dtypes: Mapping[str, DType],
    labels: Any,
) -> Split:
    """A list of calls: each an array, several, or a mapping by name."""
    made: list[list[np.ndarray]] = []
    for call in calls:
        if isinstance(call, Mapping):
            missing = sorted(set(names) - set(call))
            if missing:
                raise InputError(f"calibration sample {len(made)}: input '{missing[0]}' is missing")
            call = [call[n] for n in names]
        elif not isinstance(call, (tuple, list)):
            call = [call]
        if len(call) != len(names):
            raise InputError(
                f"calibration sample {len(made)}: {len(call)} arrays for {len(names)} inputs"
            )
        arrays = []
        for name, value in zip(names, call, strict=True):
            array = _typed(name, _numpy(value), dtypes[name])
            if not _fits(array.shape, shapes[name]):
                raise _misfit(name, array.shape, shapes[name])
            arrays.append(array)
        made.append(arrays)
    if labels is not None and len(labels) != len(made):
        raise InputError(f"{len(made)} calibration samples, but {len(labels)} labels")
    held = [i for i in range(len(made)) if len(made) >= 2 * HELD_OUT and i % HELD_OUT == 4]
    rest = [i for i in range(len(made)) if i not in held]
    rows = [max((len(a) for a in call if a.ndim), default=1) for call in made]

    def part(chosen: list[int]) -> Samples:
        answers = None if labels is None else [np.asarray(labels[i]) for i in chosen]
        return Samples([made[i] for i in chosen], answers, sum(rows[i] for i in chosen))

    return Split(part(rest), part(held) if held else None)


def _numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _typed(name: str, array: np.ndarray, dtype: DType) -> np.ndarray:
    kinds = {"f": "float", "i": "int", "u": "int", "b": "bool"}
    if array.dtype == dtype.np:
        return array
    given, wanted = kinds.get(array.dtype.kind), "int" if dtype.is_integer else dtype.kind
    if given != wanted:
        raise InputError(f"calibration samples of '{name}' are {array.dtype}, not {dtype}")
    return array.astype(dtype.np)


def _fits(shape: Sequence[int], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        not isinstance(w, int) or w == d for d, w in zip(shape, wanted, strict=True)
    )


def _misfit(name: str, shape: Sequence[int], wanted: Shape) -> InputError:
    return InputError(
        f"calibration samples of '{name}' have the shape [{format_dims(shape)}], the model takes "
        f"[{format_dims(wanted)}]"
    )


def _stacked(name: str, array: np.ndarray, wanted: Shape) -> np.ndarray:
    """Samples along a first axis of their own, or along the input's own first axis."""
    if _fits(array.shape[1:], wanted):
        return array
    own = (None, *wanted[1:]) if wanted else wanted
    first = wanted[0] if wanted else None
    if not _fits(array.shape, own) or (isinstance(first, int) and len(array) % first):
        raise _misfit(name, array.shape, wanted)
    return array.reshape(-1, first, *array.shape[1:]) if isinstance(first, int) else array


def _is_batched(stack: np.ndarray, wanted: Shape) -> bool:
    """Whether samples lie along the input's own first axis."""
    return stack.ndim == len(wanted)


def _batch(module: ModuleOp, shapes: Mapping[str, Shape], stacks: Mapping[str, np.ndarray]) -> int:
    if not all(_is_batched(stacks[n], shapes[n]) for n in shapes):
        return 1
    size = BATCH
    ranges = symbol_ranges(module)
    for shape in shapes.values():
        _, high = ranges.get(str(shape[0]), (0, None))
        size = min(size, high) if high is not None else size
    return size


def _takes_fewer(shapes: Mapping[str, Shape], stacks: Mapping[str, np.ndarray]) -> bool:
    return all(_is_batched(stacks[n], shapes[n]) for n in shapes)


def _call(stack: np.ndarray, wanted: Shape, chosen: np.ndarray) -> np.ndarray:
    return stack[chosen] if _is_batched(stack, wanted) else stack[chosen[0]]
