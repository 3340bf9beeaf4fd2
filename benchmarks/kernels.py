"""What the kernels of whole models take of a chip: registers, spills, shared memory.

kernels.py [MODEL …]: each model of `fusion.py`, in bfloat16, is compiled ahead of time for sm_80,
sm_90 and gfx942; no GPU is needed. Registers and spills are read off the cubins (NVIDIA only).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import fusion
import harness
import torch

ARCHS = ("sm_80", "sm_90", "gfx942")


def compiled(name: str) -> tuple[Any, Any]:
    """The compiled model in bfloat16, and its kernels imported."""
    import aicc
    from aicc.backends.triton.backend import import_source

    model, inputs = fusion.build(name)
    halves = tuple(x.bfloat16() if x.is_floating_point() else x for x in inputs)
    made = aicc.compile(model.to(torch.bfloat16), halves, target="triton", chips=ARCHS)
    return made, import_source(made.source)


def measure(name: str) -> dict[str, Any]:
    from aicc.backends.triton.aot import compile_kernel
    from aicc.ir import tile

    made, module = compiled(name)
    rows: dict[str, Any] = {}
    start = time.perf_counter()
    for kernel in made.module.ops:
        if not isinstance(kernel, tile.Kernel):
            continue
        for arch in ARCHS:
            binary = compile_kernel(module, kernel, arch)
            row: dict[str, Any] = {"shared": binary.shared, "schedule": kernel.schedule}
            if arch.startswith("sm_"):
                row |= vars(binary.resources())
            rows[f"{kernel.sym_name} {arch}"] = row
    return {"seconds": round(time.perf_counter() - start, 1), "kernels": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="default: all")
    args = parser.parse_args()
    results = {}
    for name in args.models or [*fusion.NAMES, *fusion.OTHERS]:
        found = results[name] = measure(name)
        rows = [r for r in found["kernels"].values() if "registers" in r]
        cores = sum(r["tensor_cores"] for r in rows)
        print(
            f"{name}: {len(found['kernels']) // len(ARCHS)} kernels for {', '.join(ARCHS)} in "
            f"{found['seconds']} s; at most {max(r['registers'] for r in rows)} registers and "
            f"{max(r['shared'] for r in rows)} bytes shared, {sum(r['spilled'] for r in rows)} "
            f"bytes spilled; {cores} of {len(rows)} cubins use tensor cores, "
            f"{sum(r['wgmma'] for r in rows)} of those for sm_90 wgmma"
        )
    harness.write("kernels", kernels=results)


if __name__ == "__main__":
    main()
