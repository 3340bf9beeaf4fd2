"""Kernels and models on a CUDA device, beside eager and Inductor.

gpu.py [--smoke]: one process, everything in turns, medians; ceilings first (copy bandwidth, bf16
matmul). Each row says what a candidate reaches: GB/s for kernels bound by memory, TFLOP/s for
products, milliseconds for models. `--smoke` runs tiny sizes once, aicc in Triton's interpreter, to
see that everything works on a machine without a GPU; nothing is written then.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from typing import Any

import harness
import torch
import torch.nn.functional as F

ROUNDS, WARM = 30, 5
Case = tuple[str, Callable[..., Any], tuple[torch.Tensor, ...], float, str]
"""Name, function, arguments, work (bytes or operations) and its unit."""


def seconds(run: Callable[[], Any], flush: torch.Tensor | None) -> float:
    """One run, by CUDA events, the L2 cache emptied before; by the clock on a CPU."""
    if flush is None:
        return harness.timed(run)
    flush.zero_()
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    run()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1000


def candidates(f: Callable[..., Any], smoke: bool) -> dict[str, Callable[..., Any]]:
    options: Any = {"target": "triton", "fallback": "error"}
    found = {"eager": f, "aicc": torch.compile(f, backend="aicc", options=options)}
    if not smoke:
        found["inductor"] = torch.compile(f)
        found["max-autotune"] = torch.compile(f, mode="max-autotune-no-cudagraphs")
    return found


def cases(device: str, smoke: bool) -> list[Case]:
    rows, width = (8, 64) if smoke else (16384, 4096)
    dtype = torch.float32 if smoke else torch.bfloat16

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=device, dtype=dtype)

    x, y, w, b = tensor(rows, width), tensor(rows, width), tensor(width), tensor(width)
    size = x.nbytes
    found: list[Case] = [
        ("copy", lambda x: x.clone(), (x,), 2 * size, "B"),
        ("gelu_bias", lambda x, b: F.gelu(x + b), (x, b), 2 * size, "B"),
        ("glu", lambda x, y: F.silu(x) * y, (x, y), 3 * size, "B"),
        ("softmax", lambda x: torch.softmax(x, -1), (x,), 2 * size, "B"),
        (
            "layer_norm",
            lambda x, w, b: F.layer_norm(x, (width,), w, b),
            (x, w, b),
            2 * size,
            "B",
        ),
        (
            "rms_norm_residual",
            lambda x, y, w: F.rms_norm(x + y, (width,), w),
            (x, y, w),
            3 * size,
            "B",
        ),
    ]
    for n in (64,) if smoke else (4096, 8192):
        a, c = tensor(n, n), tensor(n, n)
        found.append((f"matmul_{n}", torch.matmul, (a, c), 2 * n**3, "F"))
        found.append(
            (f"matmul_{n}_gelu", lambda a, c: F.gelu(a @ c), (a, c), 2 * n**3, "F"),
        )
    for n in (64,) if smoke else (1024, 4096, 16384):
        for depth in (64, 128):
            if smoke and depth == 128:
                continue
            heads = 2 if smoke else 16
            q, k, v = (tensor(1, heads, n, depth) for _ in range(3))
            for causal in (False, True):
                work = 4 * heads * n * n * depth / (2 if causal else 1)
                name = f"attention_{n}_{depth}{'_causal' if causal else ''}"
                found.append((name, attention(causal), (q, k, v), work, "F"))
    return found


def attention(causal: bool) -> Callable[..., Any]:
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def measure(case: Case, smoke: bool, flush: torch.Tensor | None) -> dict[str, Any]:
    name, function, args, work, unit = case
    row: dict[str, Any] = {}
    runs: dict[str, Callable[[], Any]] = {}
    want = function(*args)
    for who, f in candidates(function, smoke).items():
        try:
            got = f(*args)
            torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-2)
            runs[who] = lambda f=f: f(*args)
        except Exception as e:  # a candidate that fails is a result too
            row[who] = {"error": f"{type(e).__name__}: {e}"[:300]}
    times: dict[str, list[float]] = {who: [] for who in runs}
    for i in range(1 if smoke else ROUNDS + WARM):
        for who, run in runs.items():
            took = seconds(run, flush)
            if smoke or i >= WARM:
                times[who].append(took)
    scale, label = (1e9, "GB/s") if unit == "B" else (1e12, "TFLOP/s")
    for who, found in times.items():
        median = statistics.median(found)
        row[who] = {"ms": median * 1e3, label: work / median / scale, "runs": len(found)}
    shown = ", ".join(
        f"{who} {r.get(label, 0):.1f}" if "error" not in r else f"{who} failed"
        for who, r in row.items()
    )
    print(f"{name:28s} {label}: {shown}", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU, once")
    smoke = parser.parse_args().smoke
    if smoke:
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
    device = "cpu" if smoke else "cuda"
    flush = None if smoke else torch.empty(256 << 20, dtype=torch.int8, device=device)
    torch._dynamo.config.recompile_limit = 64
    with torch.no_grad():
        results = {c[0]: measure(c, smoke, flush) for c in cases(device, smoke)}
    failed = [n for n, row in results.items() if "error" in row.get("aicc", {})]
    if smoke:
        raise SystemExit(f"failed: {failed}" if failed else 0)
    harness.write("gpu", gpu={"device": torch.cuda.get_device_name(), "kernels": results})


if __name__ == "__main__":
    main()
