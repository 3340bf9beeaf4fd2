"""What the benchmarks share: interleaved timing, fresh processes, results with their machine."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = ("numpy", "onnx", "onnxruntime", "torch", "transformers", "xdsl")


@dataclass
class Times:
    """Seconds of some runs."""

    median: float
    min: float
    max: float
    runs: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))

    def __str__(self) -> str:
        return f"{ms(self.median)} ({ms(self.min)}–{ms(self.max)}, n={self.runs})"


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.{0 if seconds >= 1 else 1 if seconds >= 0.01 else 3}f} ms"


def timed(f: Callable[[], Any]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def interleaved(
    candidates: Mapping[str, Callable[[], Any]],
    runs: int,
    fewer: Mapping[str, int] | None = None,
    warm_up: int = 1,
    settle: bool = False,
) -> dict[str, Times]:
    """Time the candidates in turns, so that what else the machine does hits all of them alike.

    `fewer` limits the runs of slow ones. The garbage collector is off meanwhile. With `settle` each
    timed run follows one that isn't: threads of the last candidate that wait busily have stopped
    by then.
    """
    limits = {name: min((fewer or {}).get(name, runs), runs) for name in candidates}
    for name, f in candidates.items():
        for _ in range(min(warm_up, limits[name])):
            f()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    gc.disable()
    try:
        for i in range(runs):
            for name, f in candidates.items():
                if i < limits[name]:
                    if settle:
                        time.sleep(0.01)
                        f()
                    seconds[name].append(timed(f))
    finally:
        gc.enable()
    return {name: Times.of(s) for name, s in seconds.items()}


def fresh(script: str | Path, *args: str, env: Mapping[str, str] | None = None) -> Any:
    """Run a script in a new process; the JSON in the last line that it prints."""
    done = subprocess.run(
        [sys.executable, str(script), *args],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{script} {' '.join(args)} failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(lines[-1])


def peak_rss() -> int:
    """The most bytes of memory that this process held at once, since its program began.

    (What `getrusage` says includes the process that started it.)
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status names no VmHWM")


def machine() -> dict[str, Any]:
    cpu = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            cpu.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    model = cpu.get("model name", platform.processor())
    if "cpu family" in cpu:
        model += f" (family {cpu['cpu family']}, model {cpu['model']})"
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    import aicc

    found = {"python": platform.python_version(), "aicc": aicc.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return done.stdout.strip()


def plain(value: Any) -> Any:
    """`Times` as dicts, floats to six significant digits."""
    if isinstance(value, Times):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write(name: str, **results: Any) -> Path:
    """Merge results into results/NAME.json: each key keeps its own machine, versions and date."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "load_before": round(os.getloadavg()[0], 2),
        "machine": machine(),
        "versions": versions(),
    }
    for key, value in results.items():
        known[key] = {**about, "results": plain(value)}
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    return path
