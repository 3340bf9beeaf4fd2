"""``torch.compile(model, backend="aicc")``: Dynamo and AOTAutograd graphs through aicc.

Options (``torch.compile(…, options={…})``): `target`, by default "triton" for tensors on a GPU,
else "cpp" (without a C++ compiler "numpy"); `dump_ir`, a folder that gets the IR of every graph
after every pass; `fallback`, "eager" (default: an operator that aicc lacks is called in torch, with
one warning that names it) or "error"; `pipeline`; `verify_each`; `tuning`, a record of `aicc tune`;
`verify`, True or a folder: the first call of each graph is compared with eager, and a difference
beyond rounding is an error that names the pass and the op (see `aicc.bisect`).

Products of float32 may be TF32 on a GPU where ``torch.set_float32_matmul_precision`` says so.

`cuda_graphs`: an inference graph's launches are recorded and replayed, once for each set of shapes
(see `aicc.backends.triton.graphs`); of training, where saved tensors come and go, none are.

`freeze`: parameters are constants of inference graphs on the CPU, which packs, folds and transforms
them once. A graph whose parameters are written to is compiled anew; writes that torch doesn't count
(through ``.data`` or NumPy) aren't seen. It costs a copy of the parameters.

`quantize`, a recipe of `aicc quantize`, is for inference: parameters become constants, as they are
when the graph is compiled. `samples` are what it calibrates on, a list of tuples of the tensors
that the model is called with.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func  # pyright: ignore[reportPrivateImportUsage]
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx import GraphModule

import aicc.api
from aicc.backends.interop import from_torch, to_torch
from aicc.errors import CompileError, InputError
from aicc.frontends.torch import (
    FxImporter,
    ImportedGraph,
    TorchImportError,
    decomposition_table,
)
from aicc.ir.asm import print_module
from aicc.targets import backend, host_target
from aicc.torch_freeze import Following, freeze, parameters_of, written

_warned: set[str] = set()
_numbers = itertools.count()


@dataclass
class Options:
    """What ``options={…}`` may hold."""

    target: str | None = None
    dump_ir: str | None = None
    fallback: str = "eager"
    pipeline: str | None = None
    verify_each: bool = False
    verify: bool | str = False
    tuning: str | None = None
    cuda_graphs: bool = False
    freeze: bool = False
    quantize: str | None = None
    samples: Sequence[Any] | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any] | None) -> Options:
        known = [f.name for f in fields(cls)]
        for name in given or {}:
            if name not in known:
                raise InputError(f"unknown option '{name}' (there are: {', '.join(known)})")
        made = cls(**(given or {}))
        if made.fallback not in ("eager", "error"):
            raise InputError(f"fallback must be 'eager' or 'error', not {made.fallback!r}")
        if made.samples is not None and made.quantize is None:
            raise InputError("samples are for quantize, which isn't given")
        return made


def aicc_backend(
    gm: GraphModule, example_inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """The entry point of torch.compile: compiles forward and backward graphs."""
    chosen = Options.parse(options)
    on_cpu = not any(isinstance(x, torch.Tensor) and x.is_cuda for x in example_inputs)
    if on_cpu:
        backend(chosen.target or host_target()).prepare()
    frozen: dict[int, torch.Tensor] = {}
    if chosen.quantize is not None and torch.is_grad_enabled():
        raise InputError("quantize is for inference: call the model under torch.no_grad()")
    if chosen.quantize is not None or (chosen.freeze and on_cpu):
        frozen = parameters_of(gm, example_inputs)

    def compiler(kind: str) -> Callable[..., Any]:
        def compile_graph(graph: GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
            constant = frozen if kind == "inference" else {}
            return make_boxed_func(compile_fx(graph, chosen, kind, constant))

        return compile_graph

    return aot_autograd(
        fw_compiler=compiler("forward"),
        bw_compiler=compiler("backward"),
        inference_compiler=compiler("inference"),
        decompositions=decomposition_table(),
        keep_inference_input_mutations=True,
    )(gm, example_inputs)


def compile_fx(
    gm: GraphModule,
    options: Options,
    kind: str,
    frozen: Mapping[int, torch.Tensor] | None = None,
) -> Callable[..., list[Any]]:
    """Compile one AOTAutograd graph to a function of its inputs.

    `frozen` are inputs, by position, that the compiled graph has as constants. Raises CompileError
    for what can't be compiled.
    """
    frozen = {i: t for i, t in (frozen or {}).items() if i not in written(gm)}
    with unset_fake_temporarily():
        if frozen and options.quantize is None:
            return Following(lambda now: _compile(gm, options, kind, now), frozen)
        return _compile(gm, options, kind, frozen)


def _compile(
    gm: GraphModule, options: Options, kind: str, frozen: Mapping[int, torch.Tensor]
) -> Callable[..., list[Any]]:
    try:
        views = options.quantize is None and not options.verify
        importer = FxImporter(gm, from_torch, options.fallback == "eager", views)
        imported = importer.run()
    except TorchImportError as e:
        if options.fallback == "error":
            raise CompileError(str(e)) from e
        report_fallbacks([f"a whole graph ({e})"])
        return gm
    report_fallbacks(imported.fallbacks)
    observer = None
    if options.dump_ir is not None:
        observer = dump_to(Path(options.dump_ir) / f"{next(_numbers):03d}-{kind}")
    module = imported.module
    if frozen:
        orders = {i: imported.orders.get(i, range(t.dim())) for i, t in frozen.items()}
        values = {i: t.detach().permute(*orders[i]) for i, t in frozen.items()}
        freeze(module, {i: from_torch(t) for i, t in values.items()})
    if options.quantize is not None:
        from aicc.torch_quantize import quantized

        module = quantized(module, options.quantize, options.samples)
    compiled = aicc.api.compile(
        module,
        target=options.target or ("triton" if on_gpu(gm) else host_target()),
        pipeline=options.pipeline,
        verify_each=options.verify_each,
        observer=observer,
        owned_outputs=True,
        custom_calls=torch_call,
        tuning=options.tuning,
        tf32=torch.get_float32_matmul_precision() != "highest",
    )
    replays = options.cuda_graphs and kind == "inference" and on_gpu(gm)
    run = runner(imported, compiled, frozen, replays)
    if options.verify:
        from aicc.torch_verify import verified

        return verified(gm, imported, compiled, run, options.verify, frozen)
    return run


def on_gpu(gm: GraphModule) -> bool:
    """Whether the graph's tensors are on a GPU."""
    values = (n.meta.get("val") for n in gm.graph.nodes if n.op == "placeholder")
    return any(isinstance(v, torch.Tensor) and v.device.type == "cuda" for v in values)


def report_fallbacks(names: Sequence[str]) -> None:
    """Warn, once for each, of what runs eagerly in torch."""
    for name in sorted(set(names) - _warned):
        _warned.add(name)
        warnings.warn(f"aicc can't compile '{name}': it runs eagerly in torch", stacklevel=2)


def dump_to(folder: Path) -> Callable[..., None]:
    """An observer that writes the IR after each pass to a numbered file."""
    folder.mkdir(parents=True, exist_ok=True)

    def observe(name: str, number: int, total: int, module: Any) -> None:
        (folder / f"{number:02d}-{name}.mlir").write_text(print_module(module))

    return observe


def runner(
    imported: ImportedGraph,
    compiled: aicc.api.CompiledModel,
    frozen: Collection[int] = (),
    replays: bool = False,
) -> Callable[..., list[Any]]:
    """Torch values in, torch values out, in the order that the FX graph has.

    Inputs at the positions in `frozen` are constants of the compiled model. With `replays` its
    launches are a CUDA graph.
    """
    outputs, mutations = imported.outputs, imported.mutations
    program = compiled._program
    on_tensors = getattr(program, "on_tensors", None)  # of targets that run on torch's own memory
    if on_tensors is not None and replays:
        from aicc.backends.triton.graphs import Replayed

        on_tensors = Replayed(on_tensors)

    def run(*args: Any) -> list[Any]:
        device = next((a.device for a in args if isinstance(a, torch.Tensor)), None)
        given = [a for a in args if a is not None]
        for position, order in imported.orders.items():
            given[position] = given[position].detach().permute(order)
        passed = [a for i, a in enumerate(given) if i not in frozen] if frozen else given
        if on_tensors is not None:
            results = on_tensors(
                *(a.detach() if isinstance(a, torch.Tensor) else torch.tensor(a) for a in passed)
            )
        else:
            results = [to_torch(r) for r in program(*map(_array, passed))]
        for position, index in mutations:
            args[position].detach().copy_(results[index])
        out: list[Any] = []
        for o in outputs:
            if o.kind == "none":
                out.append(None)
            elif o.kind == "int":
                out.append(o.value if o.index < 0 else int(results[o.index]))
            else:
                t = given[o.index].detach() if o.kind == "input" else results[o.index]
                t = t if o.permutation is None else t.permute(o.permutation)
                out.append(t if device is None or device.type == "cpu" else t.to(device))
        return out

    return run


def _array(a: Any) -> np.ndarray:
    return from_torch(a) if isinstance(a, torch.Tensor) else np.array(a, np.int64)


def torch_call(target: str, payload: str) -> Callable[..., list[np.ndarray]]:
    """The callee of a ``custom_call`` to ``torch.<namespace>.<op>.<overload>``."""
    prefix, _, qualified = target.partition(".")
    if prefix != "torch":
        raise CompileError(f"nothing runs the custom call '{target}'")
    namespace, name, overload = qualified.split(".")
    op = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    spec = json.loads(payload)

    def call(*arrays: np.ndarray) -> list[np.ndarray]:
        def decode(a: Any) -> Any:
            if isinstance(a, list):
                return [decode(x) for x in a]
            if not isinstance(a, dict):
                return a
            ((kind, value),) = a.items()
            if kind == "tensor":
                return to_torch(np.asarray(arrays[value]))
            if kind == "int":
                return int(arrays[value])
            if kind == "torch":
                return getattr(torch, value)
            if kind == "device":
                return torch.device("cpu")
            if kind == "complex":
                return complex(*value)
            return float(value)

        with torch.no_grad():
            found = op(*decode(spec["args"]), **{k: decode(v) for k, v in spec["kwargs"].items()})
        many = found if isinstance(found, (list, tuple)) else [found]
        return [from_torch(t) for t in many if isinstance(t, torch.Tensor)]

    return call
