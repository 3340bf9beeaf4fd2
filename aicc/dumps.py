"""IR text between passes: dumps to files, printing, and the body of ``aicc opt``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import ParseError, VerifyException

from aicc.api import Observer
from aicc.errors import CompileError
from aicc.ir.asm import named_constants, parse_module, print_module
from aicc.ir.constants import DenseAttr
from aicc.ir.interfaces import CompileContext
from aicc.pipeline import PassManager, parse_pipeline
from aicc.targets import backend
from aicc.verify import VerifyEach
from aicc.weights import save_weights

Show = Callable[[str, int, int], None]


def observers(dump_ir: Path | None, print_after: str | None, show: Show | None) -> Observer | None:
    """What to do after each pass: write a numbered file, print, show progress."""
    if dump_ir is None and print_after is None and show is None:
        return None
    if dump_ir is not None:
        dump_ir.mkdir(parents=True, exist_ok=True)

    weights: dict[str, DenseAttr] = {}

    def observe(name: str, number: int, total: int, module: ModuleOp) -> None:
        if show is not None:
            show(name, number, total)
        if dump_ir is not None:
            (dump_ir / f"{number:02d}-{name}.mlir").write_text(print_module(module))
            weights.update(named_constants(module))
            if number in (0, total):
                save_weights(weights, dump_ir / "model.safetensors")
        if print_after in (name, "all"):
            print(f"// -----// IR after {name} //----- //")
            print(print_module(module, locations=False), end="")

    return observe


def run_passes(
    text: str,
    name: str,
    passes: str,
    target: str,
    *,
    verify_each: bool = False,
    print_after_all: bool = False,
    timing: bool = False,
    locations: bool = False,
    weights: Mapping[str, np.ndarray] | None = None,
    remarks: list[str] | None = None,
) -> str:
    """Parse, run a pipeline, print. Raises CompileError for text that is no valid IR.

    `remarks`: a list that takes the lines in which passes explain themselves.
    """
    chosen = backend(target)
    context = CompileContext(evaluator=chosen, target=chosen.description, remarks=remarks)
    try:
        module = parse_module(text, name, weights)
    except (ParseError, VerifyException, ValueError) as e:  # a number that Python can't read
        raise CompileError(f"{name}: {e}") from e
    except RecursionError:
        raise CompileError(f"{name}: nested too deeply") from None
    manager = PassManager(parse_pipeline(passes), context)
    out: list[str] = []
    if print_after_all:
        manager.after.append(
            lambda i, p, m: out.append(
                f"// -----// IR after {p.name} //----- //\n{print_module(m, locations)}"
            )
        )
    try:
        if verify_each:
            VerifyEach(chosen).attach(manager, module)
        manager.run(module)
    except (ValueError, RuntimeError) as e:
        raise CompileError(f"{name}: {e}") from e
    if timing:
        total = sum(r.seconds for r in manager.records)
        print("  seconds  share  pass", file=sys.stderr)
        for r in manager.records:
            share = r.seconds / total if total else 0.0
            print(f"  {r.seconds:7.4f}  {share:4.0%}   {r.spec}", file=sys.stderr)
    return "".join(out) if print_after_all else print_module(module, locations)
