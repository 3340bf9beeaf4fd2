"""The Python API: `compile`, `load` and what they give."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from aicc.artifact import load_artifact, save_artifact
from aicc.dims import DimSpec, Range, parse_dims
from aicc.errors import CompileError, InputError
from aicc.ir.asm import print_module
from aicc.ir.interfaces import CompileContext, Tuned
from aicc.ir.module import main_of
from aicc.pipeline import PassManager, PassRecord, full_pipeline, parse_pipeline
from aicc.report import Summary, summarize
from aicc.sources import import_any
from aicc.targets import Backend, Program, backend, default_target
from aicc.tuning import Record
from aicc.verify import VerifyEach

Inputs = Sequence[Any] | Mapping[str, Any]
Observer = Callable[[str, int, int, ModuleOp], None]
"""Called with the name of what just ran, its number, how many there are, and the module."""


class CompiledModel:
    """A compiled model: call it with NumPy arrays or torch tensors.

    Positional arguments in the order of `input_names`, or keyword arguments by name. The result is
    one array for one output, else a tuple; torch tensors if the arguments are torch tensors (both
    without a copy). Raises InputError where arguments don't fit.
    """

    def __init__(
        self,
        module: ModuleOp,
        target: Backend,
        program: Program,
        records: Sequence[PassRecord] = (),
        imported: ModuleOp | None = None,
        pipeline: str = "",
        specialized: Mapping[str, Any] | None = None,
        respecialize: Callable[[Inputs], CompiledModel] | None = None,
        declared: Sequence[str] = (),
    ):
        self.module = module
        self.target = target.name
        self._backend = target
        self._program = program
        self._records = list(records)
        self._imported = imported
        self._pipeline = pipeline
        self._specialized = dict(specialized or {})
        self._respecialize = respecialize
        self._declared = list(declared)
        self._variants: list[CompiledModel] = []

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in the order of positional arguments."""
        if self._specialized and self._declared:
            return list(self._declared)
        return [*self._specialized, *self._program.input_names]

    @property
    def output_names(self) -> list[str]:
        return list(self._program.output_names)

    @property
    def source(self) -> str:
        """The code that the target runs."""
        return self._program.source

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._specialized:
            return self._call_specialized(args, kwargs)
        arrays = self._bind(args, kwargs)
        torch_like = any(type(a).__module__.startswith("torch") for a in arrays)
        results = self.run([to_numpy(a) for a in arrays])
        if torch_like:
            from aicc.backends.interop import to_torch

            results = [to_torch(r) for r in results]
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run on NumPy arrays in the order of the inputs; a list of arrays."""
        try:
            return self._program(*arrays)
        except (ValueError, RuntimeError) as e:
            raise InputError(str(e)) from e

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        names = self._program.input_names
        if not kwargs:
            if len(args) != len(names):
                raise InputError(
                    f"expected {len(names)} inputs ({', '.join(names)}), got {len(args)}"
                )
            return list(args)
        unknown = sorted(set(kwargs) - set(names))
        if unknown:
            raise InputError(f"no input '{unknown[0]}' (there are: {', '.join(names)})")
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        missing = [n for n in names if n not in given]
        if missing:
            raise InputError(f"input '{missing[0]}' is missing")
        return [given[n] for n in names]

    def _call_specialized(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The structure depends on some inputs' values: pick, or compile, the fitting variant."""
        if not kwargs and len(args) != len(self.input_names):
            raise InputError(f"expected {len(self.input_names)} inputs, got {len(args)}")
        given = dict(zip(self.input_names, args, strict=False)) | dict(kwargs)
        for variant in (self, *self._variants):
            if all(
                n in given and _same_value(given[n], v) for n, v in variant._specialized.items()
            ):
                chosen = variant
                break
        else:
            if self._respecialize is None:
                raise InputError(
                    f"compiled for fixed values of {', '.join(self._specialized)}: others came"
                )
            chosen = self._respecialize(given)
            self._variants.append(chosen)
        rest = [given[n] for n in chosen._program.input_names]
        results = chosen.run([to_numpy(a) for a in rest])
        return results[0] if len(results) == 1 else tuple(results)

    def ir(self, after: str | None = None) -> str:
        """The final IR as text, or the IR right after the last run of the pass `after`.

        ``after="import"`` gives what the frontend made. Raises InputError for a pass that the
        pipeline doesn't have.
        """
        if after is None:
            return print_module(self.module)
        if self._imported is None:
            raise InputError("a loaded artifact has only its final IR")
        module = self._imported.clone()
        if after == "import":
            return print_module(module)
        passes = parse_pipeline(self._pipeline)
        at = [i for i, p in enumerate(passes) if p.name == after]
        if not at:
            names = ", ".join(dict.fromkeys(p.name for p in passes))
            raise InputError(f"the pipeline has no pass '{after}' (it has: import, {names})")
        context = CompileContext(evaluator=self._backend, target=self._backend.description)
        PassManager(passes[: at[-1] + 1], context).run(module)
        return print_module(module)

    def report(self) -> Summary:
        """Inputs, outputs, ops by kind, parameters, FLOPs, bytes, and seconds per pass."""
        return summarize(self.module, self._records)

    def save(self, path: str | Path, archs: Sequence[str] = (), form: str | None = None) -> Path:
        """Write an artifact to the folder `path` (see `aicc.artifact`).

        `archs`: chips that its kernels are compiled for as well (``sm_90``, ``gfx942``); no GPU is
        needed. `form`: the kind of project, for targets with several: ``custom_op`` for Ascend C.
        Raises CompileError for those that the target doesn't know.
        """
        if self._specialized:
            fixed = ", ".join(self._specialized)
            raise CompileError(
                f"the structure depends on the values of {fixed}: they are fixed now"
            )
        try:
            program = in_form(self._program, form)
            return save_artifact(self.module, self.target, program, path, archs)
        except (ValueError, RuntimeError) as e:
            raise CompileError(str(e)) from e


def in_form(program: Program, form: str | None) -> Program:
    """A program as another kind of project. Raises ValueError where there is none."""
    if form is None:
        return program
    if not hasattr(program, "in_form"):
        raise ValueError(f"only Ascend C projects have forms, such as '{form}'")
    return program.in_form(form)  # type: ignore[attr-defined]


def to_numpy(value: Any) -> np.ndarray:
    """An array, or a torch tensor's memory as one."""
    if isinstance(value, np.ndarray):
        return value
    if type(value).__module__.startswith("torch"):
        from aicc.backends.interop import from_torch

        return from_torch(value)
    return np.asarray(value)


def _same_value(a: Any, b: Any) -> bool:
    if isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_same_value(x, y) for x, y in zip(a, b, strict=True))
    return (a is None) == (b is None) and (b is None or bool(np.array_equal(a, b)))


def compile(
    model: Any,
    inputs: Inputs | None = None,
    *,
    target: str | None = None,
    dims: Mapping[str, DimSpec] | None = None,
    pipeline: str | None = None,
    verify_each: bool = False,
    observer: Observer | None = None,
    owned_outputs: bool = False,
    custom_calls: Callable[..., Any] | None = None,
    remarks: list[str] | None = None,
    chips: Sequence[str] = (),
    tuning: str | Path | Record | None = None,
    layout: str = "auto",
    exact: bool = False,
    tf32: bool = False,
) -> CompiledModel:
    """Compile a model.

    `model`: a path (.onnx, .pt2, .mlir), ``"package.module:factory"``, an ONNX ModelProto, a torch
    module, ExportedProgram or fx.GraphModule, a graph module, or what `quantize` gives. `inputs`:
    example inputs, needed for torch modules, and for ONNX models whose structure depends on an
    input's value. `target`: by default "triton" where there is a GPU, else "cpp", or "numpy"
    without a C++ compiler. `dims`: sizes of named dims (``{"batch": (1, 64)}``). `verify_each` runs
    the module before and after each pass and stops at the first that changes the result. `remarks`:
    a list that takes the lines in which passes explain their decisions (what `fuse` fused, and why
    not the rest). `chips`: what kernels are scheduled for (``["sm_90"]``), by default the GPU that
    is there. `tuning`: a record that `aicc.tune` wrote, by default the one that AICC_TUNING names.
    `layout`: where images' channels lie: "auto" (what costs the target least), "nchw", "nhwc", or
    "none".
    `exact` leaves out the passes that change results in their last bits (`aicc.pipeline.INEXACT`).
    `tf32` lets a GPU round operands of f32 products to TF32 (see the pass `allow-tf32`).

    Raises CompileError naming what can't be compiled, InputError for arguments that don't fit.
    """
    chosen = backend(target or default_target(), custom_calls)
    chosen.prepare()  # first: what it starts goes on while passes and frontends are imported
    if pipeline is None:
        pipeline = full_pipeline(chosen.lowering, layout, exact, tf32)
    request = _Request(
        chosen,
        pipeline,
        parse_pipeline(pipeline),
        parse_dims(dims),
        verify_each,
        observer,
        owned_outputs,
        remarks,
        tuple(chips) or chosen.chips(),
        Record.default(tuning).outcomes(),
    )
    with collector_paused():
        return _compile(model, inputs, request)


@dataclass(frozen=True)
class _Request:
    """What `compile` was asked for, beside the model."""

    backend: Backend
    pipeline: str
    passes: Sequence[ModulePass]
    ranges: Mapping[str, Range]
    verify_each: bool
    observer: Observer | None
    owned_outputs: bool
    remarks: list[str] | None
    chips: tuple[str, ...]
    tuned: Mapping[tuple[str, str], Tuned]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the cyclic garbage collector: every full collection walks the whole IR, in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _compile(model: Any, inputs: Inputs | None, request: _Request) -> CompiledModel:
    target = request.backend
    imported = import_any(model, inputs, request.ranges)
    module = imported.module
    original = module.clone()
    context = CompileContext(
        evaluator=target,
        target=target.description,
        remarks=request.remarks,
        chips=request.chips,
        tuned=request.tuned,
    )
    manager = PassManager(request.passes, context, verify_ir_each=request.verify_each)
    if (observer := request.observer) is not None:
        total = len(request.passes)
        observer("import", 0, total, module)
        manager.after.append(lambda i, p, m: observer(p.name, i + 1, total, m))
    if request.verify_each:
        example = None if isinstance(inputs, Mapping) or imported.specialized else inputs
        VerifyEach(target, example).attach(manager, module)
    try:
        main_of(module)
        manager.run(module)
        program = target.load(module, request.owned_outputs)
    except (ValueError, RuntimeError) as e:
        raise CompileError(str(e)) from e

    def respecialize(given: Inputs) -> CompiledModel:
        quiet = replace(request, verify_each=False, observer=None, remarks=None)
        with collector_paused():
            return _compile(model, given, quiet)

    return CompiledModel(
        module,
        target,
        program,
        manager.records,
        original,
        request.pipeline,
        imported.specialized,
        respecialize if imported.specialized else None,
        imported.declared,
    )


def load(path: str | Path) -> CompiledModel:
    """Load an artifact. Raises ArtifactError if it is damaged or was changed."""
    artifact = load_artifact(path)
    chosen = backend(artifact.target)
    program = in_form(chosen.load(artifact.module), artifact.manifest.get("form"))
    return CompiledModel(artifact.module, chosen, program)
