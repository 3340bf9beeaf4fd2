"""Which pass, and which op, first changes a model's result.

Every level of the IR runs, so the module after each pass is run by the interpreter and compared
with what the model should give. The pass before and after which results differ is searched by
halves; then the model is reduced to the ops that this pass gets wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.api import to_numpy
from aicc.compare import differences
from aicc.dims import Range
from aicc.errors import AiccError, InputError
from aicc.failing import Finding, Setting, minimised, trouble
from aicc.ir import graph
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.op import GraphOp
from aicc.layers import first_divergence, place_of
from aicc.pipeline import PassManager, full_pipeline, parse_pipeline, spec_of
from aicc.reproducer import load_reproducer
from aicc.source_model import source_model
from aicc.sources import import_any
from aicc.targets import Backend, backend, default_target
from aicc.verify import sample_inputs

AGAINST = ("numpy", "eager")

PYTEST = '''"""{what}"""

from pathlib import Path

from aicc.bisect import recheck


def test_{name}():
    assert recheck(Path(__file__).parent / "{file}") is None
'''


@dataclass
class Bisection:
    """What was found: the stage that first changes the result, and the least that shows it.

    `stage` is "import" (the frontend), a pass with its options, or "target" (the kernels that are
    printed, and what launches them).
    """

    stage: str
    number: int
    """The pass's place in the pipeline, from 1; 0 for the frontend."""
    what: str
    ops: list[str] = field(default_factory=list)
    """The ops that are left, with their places in the source model."""
    finding: Finding | None = None

    def __str__(self) -> str:
        where = {"import": "the import", "target": "the target's kernels"}.get(self.stage)
        where = where or f"pass '{self.stage}' (number {self.number})"
        lines = [f"{where}: {self.what}"]
        lines += [f"  {op}" for op in self.ops]
        if self.finding is not None:
            lines.append(f"pipeline that is enough: {self.finding.setting.pipeline or '(none)'}")
        return "\n".join(lines)

    def save(self, folder: Path, name: str = "bisected") -> list[Path]:
        """Write ``NAME.mlir`` and ``test_NAME.py``; the paths (none without a reproducer)."""
        if self.finding is None:
            return []
        path = self.finding.save(folder, name)
        assert path is not None
        test = folder / f"test_{name}.py"
        test.write_text(PYTEST.format(what=self.what, name=name, file=path.name))
        return [path, test]


def recheck(path: Path, pipeline: str | None = None) -> str | None:
    """What is wrong with a reproducer now; None if it is mended.

    `pipeline` is what runs in place of the one that it names.
    """
    found = load_reproducer(path)
    target, reference = backend(found.about.get("target", "numpy")), backend("numpy")
    runs = backend(found.about["runs"]) if "runs" in found.about else None
    wanted = reference.run(found.module, found.inputs)
    passes = found.about.get("pipeline", "") if pipeline is None else pipeline
    setting = Setting(passes, target, reference, runs)
    return trouble(found.module, found.inputs, setting, wanted)


def bisect(
    model: Any,
    inputs: Sequence[Any] | None = None,
    *,
    against: str = "numpy",
    target: str | None = None,
    pipeline: str | None = None,
    dims: Mapping[str, Range] | None = None,
) -> Bisection | None:
    """Find the first stage that changes the result of `model` beyond rounding; None if none does.

    `against`: "numpy", what the graph interpreter gives for the imported model, or "eager", what
    the model gives in torch or ONNX Runtime. `inputs` in the order of the model's; by default those
    that come with a torch module, else random ones. Raises InputError for what can't be compared.
    """
    if against not in AGAINST:
        raise InputError(f"against must be one of {', '.join(AGAINST)}, not '{against}'")
    source = source_model(model, inputs, dims or {}) if against == "eager" else None
    module = import_any(model, inputs, dims or {}).module
    chosen = backend(target or default_target())
    given = inputs if inputs is not None else getattr(source, "example", None)
    arrays = [to_numpy(x) for x in given] if given is not None else sample_inputs(module)
    return Search(module, arrays, chosen, pipeline).run(source)


class Search:
    """The search for one module, target and pipeline."""

    def __init__(
        self, module: ModuleOp, inputs: list[np.ndarray], target: Backend, pipeline: str | None
    ):
        self.module, self.inputs, self.target = module, inputs, target
        text = full_pipeline(target.lowering) if pipeline is None else pipeline
        self.passes = parse_pipeline(text)
        self.reference: Any = backend("numpy")
        self.wanted = self.reference.run(module, inputs)

    def run(self, source: Any) -> Bisection | None:
        if source is not None and (said := self.differs(source.run(self.inputs))):
            return self.importing(source, said)
        snapshots, error = self.lowered()
        if error is not None:
            return self.narrowed(len(snapshots) + 1, error)
        told: dict[int, str | None] = {0: None}

        def said_after(i: int) -> str | None:
            if i not in told:
                told[i] = self.said(snapshots[i - 1], self.reference)
            return told[i]

        last = len(snapshots)
        said = self.said(snapshots[-1], self.target) if snapshots else None
        if said is None and said_after(last) is None:
            return None
        if said_after(last) is None:
            assert said is not None
            return self.narrowed(last + 1, said)
        low, high = 0, last
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if said_after(middle) is not None else (middle, high)
        return self.narrowed(high, str(said_after(high)))

    def differs(self, source: Sequence[np.ndarray]) -> str | None:
        """How the source's results differ from those of the imported module."""
        found = differences(self.reference, self.module, self.inputs, self.wanted, source)
        return found[0] if found else None

    def lowered(self) -> tuple[list[ModuleOp], str | None]:
        """The module after each pass, as far as they go, and why they go no further."""
        snapshots: list[ModuleOp] = []
        module = self.module.clone()
        context = CompileContext(evaluator=self.target, target=self.target.description)
        manager = PassManager(self.passes, context)
        manager.after.append(lambda i, p, m: snapshots.append(m.clone()))
        try:
            manager.run(module)
        except Exception as e:
            return snapshots, f"{type(e).__name__}: {e}"
        return snapshots, None

    def said(self, module: ModuleOp, runs: Backend) -> str | None:
        try:
            found = runs.load(module)(*self.inputs)
        except (AiccError, ValueError, RuntimeError, TypeError) as e:
            return f"{type(e).__name__}: {e}"
        said = differences(self.reference, self.module, self.inputs, self.wanted, found)
        return said[0] if said else None

    def narrowed(self, number: int, what: str) -> Bisection:
        """The stage of a number, with the fewest ops that it gets wrong.

        Passes are numbered from 1; one more than there are stands for the target.
        """
        on_target = number > len(self.passes)
        count = len(self.passes) if on_target else number
        passes = ",".join(spec_of(p) for p in self.passes[:count])
        runs = self.target if on_target else self.reference
        setting = Setting(passes, self.target, self.reference, runs)
        stage = "target" if on_target else spec_of(self.passes[number - 1])
        again = trouble(self.module, self.inputs, setting)
        if again is None:  # it fails by the interpreter on the way only, or not every time
            return Bisection(stage, number, what)
        found = minimised(Finding(again, setting, self.module, self.inputs))
        return Bisection(stage, number, found.what, described(found.module), found)

    def importing(self, source: Any, said: str) -> Bisection:
        layer = first_divergence(self.module, self.reference, source, self.inputs)
        ops = [] if layer is None else [str(layer)]
        return Bisection("import", 0, f"{said} ({source.name})", ops)


def described(module: ModuleOp) -> list[str]:
    """The ops of ``@main`` that are no constants, each with its type and place."""
    lines = []
    for op in main_of(module).body.block.ops:
        if isinstance(op, GraphOp) and not isinstance(op, graph.Constant):
            where = f" at {place}" if (place := place_of(op.location)) else ""
            lines.append(f"{op.name} -> {op.results[0].type}{where}")
    return lines
