"""Running many random modules through pipelines and targets, and keeping what goes wrong small."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.failing import Finding, Setting, kind_of, minimised, trouble
from aicc.fuzz.graphs import draw_case
from aicc.fuzz.known import explained, refuses
from aicc.fuzz.maker import Contradiction
from aicc.fuzz.pipelines import draw_pipeline
from aicc.targets import Backend, backend


@dataclass
class Tally:
    """What a campaign ran and found."""

    graphs: Counter[str] = field(default_factory=Counter)
    """How many graphs each target ran."""
    refused: Counter[str] = field(default_factory=Counter)
    """What a target said it doesn't have."""
    explained: Counter[str] = field(default_factory=Counter)
    """Differences of another implementation that are none of aicc's."""
    findings: list[Finding] = field(default_factory=list)


def fuzz(
    seeds: Sequence[int],
    targets: Sequence[str] = ("numpy",),
    minutes: float | None = None,
    reduce: bool = True,
    most: int = 20,
    torch_modules: bool = False,
    show: Callable[[int, Tally], None] | None = None,
) -> Tally:
    """Draw a module for each seed and run it on each target, until the time is up.

    It stops after `most` findings: more of them say little that is new. With `torch_modules` random
    torch modules are imported, and compared with eager mode first.
    """
    reference = backend("numpy")
    chosen = [backend(t) for t in targets]
    tally = Tally()
    end = None if minutes is None else time.monotonic() + 60 * minutes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, about the numbers that are drawn
        for seed in seeds:
            late = end is not None and time.monotonic() > end
            if late or len(tally.findings) >= most:
                break
            _one(seed, chosen, reference, tally, reduce, torch_modules)
            if show is not None:
                show(seed, tally)
    return tally


def _one(
    seed: int,
    targets: Sequence[Backend],
    reference: Any,
    tally: Tally,
    reduce: bool,
    torch_modules: bool,
) -> None:
    setting = Setting("", reference, reference)
    try:
        if torch_modules:
            from aicc.fuzz.torch_modules import Refused, draw_torch_case

            tally.graphs["torch eager"] += 1
            try:
                case, said = draw_torch_case(seed, reference)
            except Refused as e:
                tally.refused[f"torch: {e}"] += 1
                return
            if said:
                found = Finding(f"the import: {said[0]}", setting, case.module, case.inputs, seed)
                tally.findings.append(found)
                return
        else:
            case = draw_case(seed, reference)
    except Contradiction as e:
        tally.graphs["types"] += 1
        tally.findings.append(Finding(str(e), setting, ModuleOp([]), [], seed))
        return
    for target in targets:
        pipeline = draw_pipeline(np.random.default_rng([seed, 1]), target)
        setting = Setting(pipeline, target, reference, refuses=refuses)
        tally.graphs[target.name] += 1
        what = trouble(case.module, case.inputs, setting, case.outputs, tally.refused)
        if what is None:
            continue
        found = Finding(what, setting, case.module, case.inputs, seed)
        if reduce:
            found = minimised(found)
        reason = explained(found.module, found.inputs, target.name)
        if reason is not None and kind_of(found.what) == "different":
            tally.explained[reason] += 1
        else:
            tally.findings.append(found)
