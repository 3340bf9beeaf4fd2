"""How long compiling takes: synthetic graphs pass by pass, and whole models beside inductor.

compile_time.py [graphs] [models] [--runs N]
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
from harness import Times, ms

SIZES = (1_000, 10_000)
SHAPES = ("chain", "wide")
MODELS = ("gpt2", "resnet50")
SYSTEMS = ("aicc", "inductor", "aicc-onnx", "aicc-sm_90", "aicc-command")


# ---------------------------------------------------------------------- synthetic graphs


def synthetic(ops: int, shape: str) -> Any:
    """A module of about `ops` ops on tensors of 8×16 elements.

    Elementwise ops, products, reshapes, transposes, reductions; constants to fold, duplicates to
    merge, reshapes and transposes that cancel, and dead ends. In a "chain" each block feeds the
    next; in a "wide" graph all blocks read the input and are summed in the end.
    """
    from xdsl.dialects.builtin import ModuleOp

    from aicc.ir import graph
    from aicc.ir.builder import GraphBuilder, SymbolScope
    from aicc.ir.dtypes import f32
    from aicc.ir.module import finish_function, new_function
    from aicc.ir.types import tensor

    rng = np.random.default_rng(0)
    func = new_function("main", [("x", tensor([8, 16], f32))])
    emitted = 0

    def insert(op: Any) -> None:
        nonlocal emitted
        emitted += 1
        func.body.block.add_op(op)

    b = GraphBuilder(insert, scope=SymbolScope())
    start = func.body.block.args[0]
    weight = b.constant(rng.normal(0, 0.25, (16, 16)).astype(np.float32), name="weight")

    def block(x: Any, i: int) -> Any:
        # A constant to fold, different in each block, and one that is the same in all.
        folded = b.emit(graph.Exp, b.emit(graph.Add, b.constant(i * 1e-5, f32), b.constant(1, f32)))
        x = b.emit(graph.Div, x, folded)
        # Duplicates to merge.
        x = b.emit(graph.Add, b.emit(graph.Tanh, x), b.emit(graph.Tanh, x))
        x = b.emit(graph.MatMul, x, weight)
        # Reshapes and transposes that cancel, and one each that stays.
        t = b.transpose(b.transpose(x, [1, 0]), [1, 0])
        r = b.reshape(b.reshape(t, [4, 32]), [2, 64])
        x = b.reshape(b.emit(graph.Sigmoid, r), [8, 16])
        b.emit(graph.Relu, x)  # nobody uses it
        mean = b.emit(graph.ReduceMean, x, axes=[1], keepdims=True)
        return b.emit(graph.Sub, x, mean)

    value, parts = start, []
    i = 0
    while emitted < ops:
        value = block(value if shape == "chain" else start, i)
        parts.append(value)
        i += 1
    if shape == "wide":
        value = b.emit(graph.ReduceSum, b.emit(graph.Concat, parts, axis=0), axes=[0])
    finish_function(func, [("y", value)])
    return ModuleOp([func])


def phases(module: Any) -> dict[str, Any]:
    """Compile once; seconds of each pass by its position, and in all."""
    import aicc
    from aicc.pipeline import count_ops

    ops = count_ops(module)
    start = time.perf_counter()
    compiled = aicc.compile(module)
    total = time.perf_counter() - start
    records = compiled.report().passes
    passes = {f"{i:02d} {r.spec}": r.seconds for i, r in enumerate(records, 1)}
    rest = total - sum(passes.values())
    return {
        "ops": ops,
        "left": records[-1].ops,
        "total": total,
        "passes": passes | {"clone, verify, emit": rest},
    }


def graphs(runs: int) -> dict[str, Any]:
    """Both sizes in turns; medians of seconds, and µs per op."""
    made = {(s, n): synthetic(n, s) for s in SHAPES for n in SIZES}
    phases(made["chain", SIZES[0]])  # imports
    seen: dict[tuple[str, int], list[dict[str, Any]]] = {key: [] for key in made}
    for _ in range(runs):
        for key, module in made.items():
            seen[key].append(phases(module))
    results = {}
    for shape in SHAPES:
        sizes = {}
        for n in SIZES:
            found = seen[shape, n]
            ops = found[0]["ops"]
            total = Times.of([f["total"] for f in found])
            per_pass = {
                p: statistics.median(f["passes"][p] for f in found) for p in found[0]["passes"]
            }
            sizes[str(n)] = {
                "ops": ops,
                "ops_after": found[0]["left"],
                "seconds": total,
                "us_per_op": total.median / ops * 1e6,
                "seconds_per_pass": per_pass,
            }
        results[shape] = sizes
        show_growth(shape, sizes)
    return results


def show_growth(shape: str, sizes: dict[str, Any]) -> None:
    small, large = (sizes[str(n)] for n in SIZES)
    print(f"\n{shape}: µs per op at {small['ops']} and {large['ops']} ops, and their ratio")
    rows = {p: (small["seconds_per_pass"][p], s) for p, s in large["seconds_per_pass"].items()}
    rows["total"] = (small["seconds"].median, large["seconds"].median)
    for name, (a, b) in rows.items():
        a, b = a / small["ops"] * 1e6, b / large["ops"] * 1e6
        print(f"  {name:28s} {a:9.2f} {b:9.2f} {b / a:7.2f}")


# ---------------------------------------------------------------------- whole models


def cold(model_name: str, system: str) -> dict[str, Any]:
    """In a new process: seconds from `torch.compile` (or the ONNX file) to the first result.

    For "aicc-sm_90", which no machine without a GPU can run, to the last cubin. "aicc-command" is
    the command that writes an artifact with those from the ONNX file, and again from its cache.

    Building the model and importing torch don't count; importing aicc or inductor does.
    """
    import models
    import torch

    torch.set_num_threads(2)
    if system == "aicc-command":
        with tempfile.TemporaryDirectory() as folder:
            run = [sys.executable, "-m", "aicc", "compile", str(models.exported(model_name))]
            run += ["--target", "triton", "--arch", "sm_90", "-o", folder + "/out"]
            call = functools.partial(subprocess.run, run, check=True, capture_output=True)
            return {"seconds": harness.timed(call), "again": harness.timed(call)}
    if system == "aicc-onnx":
        path = models.exported(model_name)
        inputs = list(models.inputs_of(path).values())
        start = time.perf_counter()
        import aicc

        compiled = aicc.compile(path)
        ready = time.perf_counter()
        compiled.run(inputs)
        passes = sum(p.seconds for p in compiled.report().passes)
        return {
            "seconds": ready - start,
            "first_result": time.perf_counter() - start,
            "passes": passes,
        }
    model, example = models.torch_model(model_name)
    if system == "aicc-sm_90":
        start = time.perf_counter()
        import aicc

        seconds = []
        for _ in range(2):  # the second time, Triton's cache has the kernels
            compiled = aicc.compile(model, example, target="triton", chips=("sm_90",))
            files = compiled._program.files(("sm_90",))
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
        kernels = sum(name.endswith(".cubin") for name in files)
        return {"seconds": seconds[0], "again": seconds[1], "kernels": kernels}
    with torch.no_grad():
        expected = model(*example)
        start = time.perf_counter()
        options: dict[str, str | int | bool | Callable] = {"fallback": "error"}
        compiled = torch.compile(
            model, backend=system, options=options if system == "aicc" else None
        )
        got = compiled(*example)
        first = time.perf_counter() - start
        again = [harness.timed(lambda: compiled(*example)) for _ in range(5)]
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    # The first call compiles and runs once.
    return {"seconds": first - statistics.median(again), "first_result": first}


def whole_models(runs: int) -> dict[str, Any]:
    """Each system in a new process with empty caches, in turns."""
    import models

    results: dict[str, Any] = {}
    for name in MODELS:
        models.exported(name)
        seen: dict[str, list[dict[str, float]]] = {s: [] for s in SYSTEMS}
        for _ in range(runs):
            for system in SYSTEMS:
                with tempfile.TemporaryDirectory() as cache:
                    seen[system].append(
                        harness.fresh(
                            Path(__file__),
                            "--cold",
                            name,
                            system,
                            env={
                                "TORCHINDUCTOR_CACHE_DIR": cache,
                                "AICC_CACHE": cache,
                                "TRITON_CACHE_DIR": cache,
                                "TRITON_INTERPRET": "0",
                            },
                        )
                    )
        print(f"\n{name}: cold compile")
        results[name] = {}
        for system, found in seen.items():
            results[name][system] = {k: Times.of([f[k] for f in found]) for k in found[0]}
            t = results[name][system]["seconds"]
            print(f"  {system:10s} {ms(t.median)} ({ms(t.min)}–{ms(t.max)}, n={t.runs})")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help="graphs, models (default: both)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cold", nargs=2, metavar=("MODEL", "SYSTEM"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cold:
        print(json.dumps(cold(*args.cold)))
        return
    what = args.what or ["graphs", "models"]
    if "graphs" in what:
        harness.write("compile_time", graphs=graphs(args.runs))
    if "models" in what:
        harness.write("compile_time", models=whole_models(args.runs))


if __name__ == "__main__":
    sys.exit(main())
