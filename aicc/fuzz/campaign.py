"""Running many random modules through pipelines and targets, and keeping what goes wrong small."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.fuzz.compare import differences
from aicc.fuzz.graphs import draw_case
from aicc.fuzz.known import explained, refuses
from aicc.fuzz.maker import Case, Contradiction
from aicc.fuzz.pipelines import draw_pipeline
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import functions
from aicc.pipeline import PassManager, parse_pipeline
from aicc.reduce import reduce_module
from aicc.reproducer import Reproducer, save_reproducer
from aicc.targets import Backend, backend


@dataclass
class Finding:
    """A case that went wrong, made small."""

    seed: int
    target: str
    pipeline: str
    what: str
    module: ModuleOp
    inputs: list[np.ndarray]

    def save(self, folder: Path) -> Path | None:
        """Write it as a reproducer; the path, or None for one that came while it was drawn."""
        if not functions(self.module):
            return None
        about = {
            "seed": str(self.seed),
            "target": self.target,
            "pipeline": self.pipeline,
            "what": self.what,
        }
        path = folder / f"{self.target}-{self.seed}.mlir"
        save_reproducer(Reproducer(self.module, self.inputs, about), path)
        return path


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


class Refused(Exception):
    """A target says that it lacks something: that is no trouble."""


def outcome(
    module: ModuleOp, inputs: Sequence[np.ndarray], pipeline: str, target: Backend
) -> list[np.ndarray]:
    """What a target gives for a module after a pipeline. Raises Refused where it lacks an op."""
    lowered = module.clone()
    context = CompileContext(evaluator=target, target=target.description)
    PassManager(parse_pipeline(pipeline), context).run(lowered)
    try:
        program = target.load(lowered)
        if getattr(program, "session", program) is None:
            raise Refused("ONNX Runtime lacks a type or a kernel")
        return program(*inputs)
    except Exception as e:
        if refuses(target.name, e):
            raise Refused(str(e)) from e
        raise


def trouble(
    module: ModuleOp,
    inputs: Sequence[np.ndarray],
    pipeline: str,
    target: Backend,
    reference: Any,
    wanted: Sequence[np.ndarray] | None = None,
    tally: Tally | None = None,
) -> str | None:
    """What goes wrong with a module on a target; None if nothing does, or the target refuses it.

    Raises nothing: an exception is trouble too. A reference that can't run says nothing.
    """
    expected = wanted
    if expected is None:
        try:
            expected = reference.run(module, inputs)
        except Exception:  # a candidate of the reducer that means nothing
            return None
    try:
        found = outcome(module, inputs, pipeline, target)
    except Refused as e:
        if tally is not None:
            tally.refused[f"{target.name}: {e}"] += 1
        return None
    except Exception as e:
        where = traceback.extract_tb(e.__traceback__)[-1]
        return f"{type(e).__name__}: {e} ({where.name} in {where.filename.rpartition('/')[2]})"
    said = differences(reference, module, inputs, expected, found)
    return said[0] if said else None


def kind_of(what: str) -> str:
    """What two findings have in common that are the same: the error's type and place."""
    if what.startswith("output "):
        return "different"
    return what.partition(":")[0] + what.rpartition("(")[2]


def shortest_pipeline(pipeline: str, fails: Callable[[str], bool]) -> str:
    """The pipeline without passes that the failure doesn't need."""
    passes = [str(p.pipeline_pass_spec()) for p in parse_pipeline(pipeline)]
    i = 0
    while i < len(passes):
        fewer = passes[:i] + passes[i + 1 :]
        if fails(",".join(fewer)):
            passes = fewer
        else:
            i += 1
    return ",".join(passes)


def minimised(case: Case, seed: int, pipeline: str, target: Backend, reference: Any) -> Finding:
    """A finding of the fewest passes, ops and inputs."""
    what = trouble(case.module, case.inputs, pipeline, target, reference) or "gone when run again"
    kind = kind_of(what)

    def same(module: ModuleOp, inputs: Sequence[np.ndarray], passes: str) -> bool:
        said = trouble(module, inputs, passes, target, reference)
        return said is not None and kind_of(said) == kind

    if target.lowering == "":
        pipeline = shortest_pipeline(pipeline, lambda p: same(case.module, case.inputs, p))
    small = reduce_module(
        case.module, case.inputs, lambda m, i: same(m, i, pipeline), reference, tries=400
    )
    what = trouble(small.module, small.inputs, pipeline, target, reference) or what
    return Finding(seed, target.name, pipeline, what, small.module, small.inputs)


def fuzz(
    seeds: Sequence[int],
    targets: Sequence[str] = ("numpy",),
    minutes: float | None = None,
    reduce: bool = True,
    most: int = 20,
    show: Callable[[int, Tally], None] | None = None,
) -> Tally:
    """Draw a module for each seed and run it on each target, until the time is up.

    It stops after `most` findings: more of them say little that is new.
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
            _one(seed, chosen, reference, tally, reduce)
            if show is not None:
                show(seed, tally)
    return tally


def _one(seed: int, targets: Sequence[Backend], reference: Any, tally: Tally, reduce: bool) -> None:
    try:
        case = draw_case(seed, reference)
    except Contradiction as e:
        tally.graphs["types"] += 1
        tally.findings.append(Finding(seed, "types", "", str(e), ModuleOp([]), []))
        return
    for target in targets:
        rng = np.random.default_rng([seed, 1])
        pipeline = draw_pipeline(rng, target)
        tally.graphs[target.name] += 1
        what = trouble(case.module, case.inputs, pipeline, target, reference, case.outputs, tally)
        if what is None:
            continue
        found = Finding(seed, target.name, pipeline, what, case.module, case.inputs)
        if reduce:
            found = minimised(case, seed, pipeline, target, reference)
        reason = explained(found.module, found.inputs, target.name)
        if reason is not None and kind_of(found.what) == "different":
            tally.explained[reason] += 1
        else:
            tally.findings.append(found)
