"""The `verify` option of torch.compile: the first call of a graph beside eager."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule

from aicc.api import CompiledModel
from aicc.backends.interop import from_torch
from aicc.bisect import Search
from aicc.compare import differences
from aicc.errors import CompileError
from aicc.frontends.torch import ImportedGraph
from aicc.targets import backend

Call = Callable[..., list[Any]]


def verified(
    gm: GraphModule,
    imported: ImportedGraph,
    compiled: CompiledModel,
    run: Call,
    folder: bool | str,
    frozen: Collection[int] = (),
) -> Call:
    """`run`, whose first call is compared with the graph in eager mode.

    Raises CompileError from that call where results differ beyond rounding, with the stage that
    makes them differ; a reproducer is written if `folder` is one. `frozen` are inputs, by position,
    that the compiled graph has as constants.
    """
    checked = False

    def call(*args: Any) -> list[Any]:
        nonlocal checked
        if checked:
            return run(*args)
        checked = True
        given = [a for a in args if a is not None]
        arrays = [_array(a) for i, a in enumerate(given) if i not in frozen]
        with torch.no_grad():
            eager = gm(*(a.clone() if isinstance(a, torch.Tensor) else a for a in args))
        found = run(*args)
        pairs = [
            (from_torch(e.detach()), from_torch(f.detach()))
            for e, f in zip(eager, found, strict=True)
            if isinstance(e, torch.Tensor) and isinstance(f, torch.Tensor)
        ]
        explain(imported, compiled, arrays, pairs, folder)
        return found

    return call


def _array(a: Any) -> np.ndarray:
    """A copy: what is written in place later must not change it."""
    return np.array(from_torch(a.detach())) if isinstance(a, torch.Tensor) else np.array(a)


def explain(
    imported: ImportedGraph,
    compiled: CompiledModel,
    inputs: list[np.ndarray],
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    folder: bool | str,
) -> None:
    """Raise CompileError if a pair of eager's and the compiled graph's results differs."""
    from aicc.torch_backend import torch_call

    reference: Any = backend("numpy", torch_call)
    module = imported.module
    positions = [o.index for o in imported.outputs if o.kind == "tensor"]
    wanted = reference.run(module, inputs)

    def said(results: Sequence[np.ndarray]) -> list[str]:
        """What is wrong with results that take the places of the module's own."""
        given = list(wanted)
        for position, result in zip(positions, results, strict=True):
            given[position] = np.asarray(result).reshape(wanted[position].shape)
        return differences(reference, module, inputs, wanted, given)

    wrong_import = said([e for e, _ in pairs])
    wrong = said([f for _, f in pairs])
    if not wrong_import and not wrong:
        return
    if wrong_import:
        raise CompileError(f"the imported graph differs from eager: {wrong_import[0]}")
    search = Search(module, inputs, backend(compiled.target, torch_call), compiled._pipeline)
    search.reference = reference
    result = search.run(None)
    if result is None:
        raise CompileError(f"the compiled graph differs from eager: {wrong[0]}")
    written = [] if isinstance(folder, bool) else result.save(Path(folder))
    paths = "".join(f"\n  {p}" for p in written)
    raise CompileError(f"the compiled graph differs from eager in {result}{paths}")
