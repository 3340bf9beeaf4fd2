"""Pipelines: lists of passes as data, run with hooks between passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass, PassPipeline
from xdsl.utils.exceptions import VerifyException

from aicc import plugins
from aicc.errors import CompileError, InputError
from aicc.ir.interfaces import CompileContext
from aicc.passes import PASSES

DEFAULT_PIPELINE = (
    "canonicalize,shape-simplify,constant-fold,batch-norm-fold,scale-fold,"
    "canonicalize,constant-fold,cse,dce,integer-products,narrow-products,decompose,"
    "canonicalize,constant-fold,cse,dce,assign-layouts"
)
"""What `compile` runs for every target; `decompose` keeps what the target implements."""


LAYOUTS = ("auto", "nchw", "nhwc", "none")
"""What channels' place may be asked for: none leaves tensors as the model has them."""


INEXACT = ("batch-norm-fold", "scale-fold", "sink-norm", "raise-composites", "winograd")
"""Passes that change results in their last bits, equal as their formulas are on real numbers."""


def full_pipeline(
    lowering: str, layout: str = "auto", exact: bool = False, tf32: bool = False
) -> str:
    """The default pipeline with a target's own lowering at its end; `exact` leaves `INEXACT` out.

    `tf32` lets products of f32 be TF32, before kernels are scheduled for a GPU.

    Raises InputError.
    """
    if layout not in LAYOUTS:
        raise InputError(f"no layout '{layout}' (there are: {', '.join(LAYOUTS)})")
    passes = DEFAULT_PIPELINE
    if layout == "none":
        passes = passes.removesuffix(",assign-layouts")
    elif layout != "auto":
        passes += f"{{layout={layout}}}"
    whole = f"{passes},{lowering}" if lowering else passes
    if tf32:
        whole = whole.replace(",schedule,", ",allow-tf32,schedule,")
    if exact:
        whole = ",".join(p for p in whole.split(",") if p not in INEXACT)
    return whole


@dataclass
class PassRecord:
    """One pass that ran: its text form, seconds, and ops in the module after it."""

    spec: str
    seconds: float
    ops: int


Hook = Callable[[int, ModulePass, ModuleOp], None]
"""Called after a pass, with its position in the pipeline, the pass and the module."""


@dataclass
class PassManager:
    """Runs a pipeline over a module in place.

    `before` and `after` hooks see the module around every pass: dumps, progress and verification
    hang there. The IR is verified after every pass, or with `verify_ir_each` off after the last.
    """

    passes: Sequence[ModulePass]
    context: CompileContext
    before: list[Hook] = field(default_factory=list)
    after: list[Hook] = field(default_factory=list)
    records: list[PassRecord] = field(default_factory=list)
    verify_ir_each: bool = True

    def run(self, module: ModuleOp) -> None:
        for i, p in enumerate(self.passes):
            for hook in self.before:
                hook(i, p, module)
            start = time.perf_counter()
            p.apply(self.context, module)
            seconds = time.perf_counter() - start
            if self.verify_ir_each or i == len(self.passes) - 1:
                try:
                    module.verify()
                except VerifyException as e:
                    raise CompileError(f"the IR is invalid after pass '{p.name}': {e}") from e
            self.records.append(PassRecord(spec_of(p), seconds, count_ops(module)))
            for hook in self.after:
                hook(i, p, module)


def parse_pipeline(text: str) -> tuple[ModulePass, ...]:
    """Passes from ``a,b{option=1},c``; raises CompileError naming unknown passes and options."""
    passes = known_passes()
    try:
        return PassPipeline.parse_spec(passes, text).passes
    except CompileError:
        raise
    except Exception as e:  # xDSL raises plain exceptions of several kinds here
        known = ", ".join(sorted(passes))
        raise CompileError(f"bad pipeline '{text}': {e}. Known passes: {known}") from e


def known_passes() -> dict[str, Callable[[], type[ModulePass]]]:
    """The passes by name: aicc's own, and those of other packages."""
    added = {n: partial(plugins.load, p) for n, p in plugins.named(plugins.PASSES).items()}
    return {**added, **PASSES}


def spec_of(p: ModulePass) -> str:
    """The text form of a pass with its options."""
    return str(p.pipeline_pass_spec())


def count_ops(module: ModuleOp) -> int:
    return sum(1 for _ in module.walk()) - 1
