"""How fast compiled models run on the numpy target, beside other ways to run them.

numpy_latency.py [MODEL …] [--runs N]: the light models of the onnx package with random weights
(224×224 images), and GPT-2 (128 tokens); beside torch eager, onnxruntime and onnx.reference, all in
one process, in turns, each with two threads. Outputs are compared before anything is timed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads would slow the next candidate

import argparse
import math
from collections.abc import Callable

import harness
import models
import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from torch_eager import torch_runner

import aicc

SLOW = {"onnx.reference": 3}
"""onnx.reference takes seconds per run: fewer of them."""


def systems(name: str) -> dict[str, Callable[[], list[np.ndarray]]]:
    """What runs the model, by name of the system."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    gpt2 = name == "gpt2"
    path = models.exported(name) if gpt2 else models.light(name)
    inputs = models.inputs_of(path)
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    compiled = aicc.compile(path)
    reference = ReferenceEvaluator(onnx.load(path))
    found: dict[str, Callable[[], list[np.ndarray]]] = {
        "aicc": lambda: compiled.run(list(inputs.values())),
        "onnxruntime": lambda: session.run(None, inputs),  # type: ignore[dict-item]
        "onnx.reference": lambda: reference.run(None, inputs),  # type: ignore[dict-item]
    }
    if gpt2:
        model, _ = models.torch_model(name)
        ids = torch.from_numpy(next(iter(inputs.values())))

        def eager() -> list[np.ndarray]:
            with torch.inference_mode():
                return [model(ids).numpy()]

        found["torch eager"] = eager
    else:
        run = torch_runner(path)
        found["torch eager"] = lambda: run(inputs)
    return found


def check(found: dict[str, Callable[[], list[np.ndarray]]]) -> list[str]:
    """Systems whose output isn't that of onnxruntime; aicc's must be."""
    want = found["onnxruntime"]()
    bad = []
    for name, run in found.items():
        try:
            for a, b in zip(run(), want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())
        except AssertionError:
            if name == "aicc":
                raise
            print(f"  {name}: another output")
            bad.append(name)
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="default: all")
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(2)
    results, ratios = {}, {}
    for name in args.models or [*models.light_names(), "gpt2"]:
        print(f"\n{name}", flush=True)
        found = systems(name)
        other = check(found)
        times = harness.interleaved(found, args.runs, SLOW)
        results[name] = {"seconds": times, "other_output": other}
        for system, t in times.items():
            relative = t.median / times["aicc"].median
            ratios.setdefault(system, []).append(relative)
            print(f"  {system:15s} {t}   {relative:.2f} × aicc's time", flush=True)
    means = {s: math.exp(sum(map(math.log, r)) / len(r)) for s, r in ratios.items()}
    print("\ngeometric means of time ÷ aicc's:", {s: round(m, 3) for s, m in means.items()})
    harness.write("numpy_latency", latency={"models": results, "time_over_aicc": means})


if __name__ == "__main__":
    main()
