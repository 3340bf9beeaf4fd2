"""What it means that a module fails: a target gives something else than the graph interpreter does.

Bisection and fuzzing ask it, and reduce by it.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.compare import differences
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import functions
from aicc.pipeline import PassManager, parse_pipeline
from aicc.reduce import reduce_module
from aicc.reproducer import Reproducer, save_reproducer
from aicc.targets import Backend


def _refuses_nothing(target: str, error: Exception) -> bool:
    return False


@dataclass(frozen=True)
class Setting:
    """How a module is compiled and run.

    `runs` is what runs the result of the pipeline, by default the target; `refuses` says whether an
    error of a target means that it lacks something, which is no failure.
    """

    pipeline: str
    target: Backend
    reference: Any
    runs: Backend | None = None
    refuses: Callable[[str, Exception], bool] = _refuses_nothing

    def outcome(self, module: ModuleOp, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What comes of the module. Raises Refused where the target lacks an op or a type."""
        lowered = module.clone()
        context = CompileContext(evaluator=self.target, target=self.target.description)
        PassManager(parse_pipeline(self.pipeline), context).run(lowered)
        try:
            program = (self.runs or self.target).load(lowered)
            if getattr(program, "session", program) is None:
                raise Refused("ONNX Runtime lacks a type or a kernel")
            return program(*inputs)
        except Exception as e:
            if self.refuses(self.target.name, e):
                raise Refused(str(e)) from e
            raise


class Refused(Exception):
    """A target says that it lacks something: that is no failure."""


@dataclass
class Finding:
    """A module that fails, and how."""

    what: str
    setting: Setting
    module: ModuleOp
    inputs: list[np.ndarray]
    seed: int | None = None

    def save(self, folder: Path, name: str = "") -> Path | None:
        """Write it as a reproducer; the path, or None for one that has no module."""
        if not functions(self.module):
            return None
        target = self.setting.target.name
        about = {"target": target, "pipeline": self.setting.pipeline, "what": self.what}
        if self.setting.runs is not None:
            about["runs"] = self.setting.runs.name
        if self.seed is not None:
            about["seed"] = str(self.seed)
        path = folder / f"{name or f'{target}-{self.seed}'}.mlir"
        save_reproducer(Reproducer(self.module, self.inputs, about), path)
        return path


def trouble(
    module: ModuleOp,
    inputs: Sequence[np.ndarray],
    setting: Setting,
    wanted: Sequence[np.ndarray] | None = None,
    refused: Counter[str] | None = None,
) -> str | None:
    """What goes wrong with a module; None if nothing does, or the target refuses it.

    Raises nothing: an exception is trouble too. A reference that can't run says nothing. `wanted`
    is by default what the reference gives.
    """
    expected = wanted
    if expected is None:
        try:
            expected = setting.reference.run(module, inputs)
        except Exception:  # a candidate of the reducer that means nothing
            return None
    try:
        found = setting.outcome(module, inputs)
    except Refused as e:
        if refused is not None:
            refused[f"{setting.target.name}: {e}"] += 1
        return None
    except Exception as e:
        where = traceback.extract_tb(e.__traceback__)[-1]
        return f"{type(e).__name__}: {e} ({where.name} in {where.filename.rpartition('/')[2]})"
    said = differences(setting.reference, module, inputs, expected, found)
    return said[0] if said else None


def kind_of(what: str) -> str:
    """What two failures have in common that are the same: the error's type and place."""
    if what.startswith("output "):
        return "different"
    return what.partition(":")[0] + what.rpartition("(")[2]


def minimised(found: Finding, tries: int = 400) -> Finding:
    """The same failure of the fewest ops and inputs, then of the fewest passes."""
    kind, setting = kind_of(found.what), found.setting

    def fails(module: ModuleOp, inputs: Sequence[np.ndarray], at: Setting = setting) -> bool:
        said = trouble(module, inputs, at)
        return said is not None and kind_of(said) == kind

    small = reduce_module(found.module, found.inputs, fails, setting.reference, tries)
    shortest = shortest_pipeline(
        setting.pipeline,
        lambda p: fails(small.module, small.inputs, replace(setting, pipeline=p)),
    )
    setting = replace(setting, pipeline=shortest)
    what = trouble(small.module, small.inputs, setting) or found.what
    return Finding(what, setting, small.module, small.inputs, found.seed)


def shortest_pipeline(pipeline: str, fails: Callable[[str], bool]) -> str:
    """The pipeline without the passes that a failure doesn't need."""
    passes = [str(p.pipeline_pass_spec()) for p in parse_pipeline(pipeline)]
    i = 0
    while i < len(passes):
        fewer = passes[:i] + passes[i + 1 :]
        if fails(",".join(fewer)):
            passes = fewer
        else:
            i += 1
    return ",".join(passes)
