"""The most memory that a process holds that runs a model: an artifact of aicc, or onnxruntime.

    python benchmarks/memory.py [MODEL …]

The light ONNX models and those that `cpu.py` has exported, batch 1, two threads. Each candidate
loads and runs the model three times in a new process of its own, in turns; what Python and NumPy
take before counts too. Results go to results/memory.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import harness

SYSTEMS = ("aicc", "onnxruntime")
RUNS = 3


def measured(system: str, path: str, arrays: str) -> dict[str, int]:
    """In a new process: bytes at most, after three runs."""
    import numpy as np

    with np.load(arrays) as file:
        feeds = {name: file[name] for name in file.files}
    if system == "aicc":
        import aicc

        model = aicc.load(path)
        for _ in range(3):
            model.run(list(feeds.values()))
    else:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        session = onnxruntime.InferenceSession(path, options)
        for _ in range(3):
            session.run(None, feeds)
    return {"peak": harness.peak_rss()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="default: all that there are")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(*args.measure)))
        return
    import models
    import numpy as np

    import aicc

    paths = {name: models.light(name) for name in models.light_names()}
    paths |= {p.stem.removeprefix("cpu_"): p for p in sorted(models.CACHE.glob("cpu_*.onnx"))}
    results: dict[str, Any] = {}
    for name in args.models or paths:
        with tempfile.TemporaryDirectory() as folder:
            arrays = Path(folder) / "inputs.npz"
            feeds = models.inputs_of(paths[name])
            for key, x in feeds.items():
                if x.dtype.kind == "i":  # ids that every vocabulary has
                    feeds[key] = x % 500
            np.savez(arrays, **feeds)  # type: ignore[arg-type]
            aicc.compile(str(paths[name]), target="cpp").save(Path(folder) / "artifact")
            where = {"aicc": str(Path(folder) / "artifact"), "onnxruntime": str(paths[name])}
            found: dict[str, list[int]] = {s: [] for s in SYSTEMS}
            for _ in range(RUNS):
                for s in SYSTEMS:
                    one = harness.fresh(__file__, "--measure", s, where[s], str(arrays))
                    found[s].append(one["peak"])
        results[name] = {s: sorted(f)[RUNS // 2] for s, f in found.items()}
        print(f"{name:16s}", *(f"{s} {b / 2**20:.0f} MiB" for s, b in results[name].items()))
    harness.write("memory", memory=results)


if __name__ == "__main__":
    main()
