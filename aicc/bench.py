"""`aicc bench`: a model by aicc and by its own framework, timed in turns in one process.

Medians come with 95% confidence intervals from order statistics, which assume nothing of how times
are distributed (Hollander, Wolfe and Chicken 2014, section 3.6). Kernels are timed one by one and
set beside a roofline (Williams et al. 2009) whose rates are measured here: the bandwidth of a copy,
and the rate of the fastest matrix product.
"""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import aicc
from aicc.api import compile, to_numpy
from aicc.dims import Range
from aicc.errors import InputError
from aicc.ir import tile
from aicc.ir.symbols import evaluate, total
from aicc.source_model import OnnxSource, TorchSource, source_model
from aicc.targets import backend
from aicc.verify import sample_inputs

Call = Callable[[], Any]

SETTLE = 0.01
"""Seconds before a candidate's turn, and an untimed run: threads that wait busily have stopped."""


@dataclass
class Timing:
    """Seconds a call. `low` and `high` bound the median with 95% confidence."""

    median: float
    low: float
    high: float
    best: float
    runs: int
    per_second: float
    """Samples a second: the first input's first dim over the median."""
    peak_bytes: int | None
    """The most memory beyond what was held before that the first call took; Linux only."""

    @classmethod
    def of(cls, seconds: Sequence[float], batch: int, peak: int | None) -> Timing:
        ordered = sorted(seconds)
        n = len(ordered)
        reach = 1.96 * math.sqrt(n) / 2
        low = ordered[max(0, math.floor(n / 2 - reach))]
        high = ordered[min(n - 1, math.ceil(n / 2 + reach))]
        middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
        return cls(middle, low, high, ordered[0], n, batch / middle, peak)


@dataclass
class KernelTime:
    """One kernel: seconds a call of the model, over all launches; FLOPs and bytes as planned."""

    name: str
    launches: int
    seconds: float
    flops: float
    bytes: float
    roofline: float
    """The part of the roofline's rate that it reaches, 0 to 1 and more for what lies in caches."""
    bound: str
    """What the roofline says limits it: "memory" or "arithmetic"."""


@dataclass
class Roofline:
    """Measured rates: bytes a second of a copy (read and written), FLOP/s of a product."""

    bandwidth: float
    flops: float

    @classmethod
    def measured(cls) -> Roofline:
        """Of this machine, by torch on all its threads: the best of some tries."""
        import torch

        x = torch.zeros(32 << 20, dtype=torch.float32)
        y = torch.empty_like(x)
        copy = min(_timed(lambda: y.copy_(x)) for _ in range(5))
        a = torch.randn(1024, 1024)
        product = min(_timed(lambda: a @ a) for _ in range(8))
        return cls(2 * x.numel() * 4 / copy, 2 * 1024**3 / product)

    def seconds(self, flops: float, moved: float) -> float:
        return max(flops / self.flops, moved / self.bandwidth)


@dataclass
class Benchmark:
    """What `bench` measured."""

    model: str
    target: str
    timings: dict[str, Timing]
    kernels: list[KernelTime]
    roofline: Roofline | None
    machine: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """One call's launches as Chrome trace events."""

    def to_json(self) -> str:
        found = asdict(self)
        del found["events"]
        return json.dumps(found, indent=1) + "\n"

    def trace(self) -> str:
        """One call for chrome://tracing or Perfetto."""
        return json.dumps({"traceEvents": self.events, "displayTimeUnit": "ms"}) + "\n"

    def __str__(self) -> str:
        lines = [f"{self.model} on {self.machine['cpu']}, {self.machine['cores']} cores"]
        lines.append(f"{'':16}{'median':>11}{'95% interval':>24}{'samples/s':>12}{'peak':>12}")
        own = self.timings["aicc"].median
        for name, t in self.timings.items():
            interval = f"{_ms(t.low)} to {_ms(t.high)}"
            peak = "" if t.peak_bytes is None else f"{t.peak_bytes / 2**20:.1f} MiB"
            ratio = "" if name == "aicc" else f"  aicc takes {own / t.median:.2f} of it"
            lines.append(
                f"{name:16}{_ms(t.median):>11}{interval:>24}{t.per_second:12.1f}{peak:>12}{ratio}"
            )
        lines += self.notes
        if self.kernels and self.roofline is not None:
            r = self.roofline
            lines.append(
                f"kernels, beside {r.bandwidth / 1e9:.1f} GB/s of a copy and "
                f"{r.flops / 1e9:.0f} GFLOP/s of a product, measured here:"
            )
            whole = sum(k.seconds for k in self.kernels)
            for k in self.kernels:
                moved, computed = (n / k.seconds / 1e9 for n in (k.bytes, k.flops))
                lines.append(
                    f"  {_ms(k.seconds):>10} {k.seconds / whole:5.0%} {k.launches:4d}× "
                    f"{moved:7.1f} GB/s {computed:8.1f} GFLOP/s "
                    f"{k.roofline:5.0%} of the {k.bound} roof  {k.name}"
                )
        return "\n".join(lines)


def _ms(seconds: float) -> str:
    digits = 1 if seconds >= 0.1 else 3
    return f"{seconds * 1e3:.{digits}f} ms"


def _timed(f: Call) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def bench(
    model: Any,
    inputs: Sequence[Any] | None = None,
    *,
    target: str | None = None,
    dims: Mapping[str, Range] | None = None,
    seconds: float = 10.0,
    peers: Sequence[str] | None = None,
) -> Benchmark:
    """Measure a model for about so many seconds beside its framework.

    `peers`: of "eager", "torch.compile" (for torch models) and "onnxruntime" (for ONNX models); by
    default all that fit and are installed. `inputs` in the order of the model's, by default those
    that come with it, else random ones. Raises InputError for peers that don't fit.
    """
    try:
        source: Any = source_model(model, inputs, dims or {})
    except InputError:
        source = None  # graph IR: there is nobody to compare with
    given = inputs if inputs is not None else getattr(source, "example", None)
    compiled = compile(model, given, target=target, dims=dims)
    arrays = [to_numpy(x) for x in (given or sample_inputs(compiled.module))]
    candidates: dict[str, Call] = {"aicc": lambda: compiled.run(arrays)}
    known = _peers(source, arrays)
    for name in peers if peers is not None else known:
        if name not in known:
            raise InputError(f"no peer '{name}' for this model (there are: {', '.join(known)})")
        candidates[name] = known[name]
    batch = arrays[0].shape[0] if arrays and arrays[0].ndim else 1
    timings, notes = measured(candidates, batch, seconds)
    roofline = None
    kernels: list[KernelTime] = []
    events: list[dict[str, Any]] = []
    if getattr(compiled._program, "launchers", None):
        roofline = Roofline.measured()
        kernels, events = profiled(compiled, arrays, roofline)
    name = model if isinstance(model, (str, Path)) else type(model).__name__
    return Benchmark(
        str(name), compiled.target, timings, kernels, roofline, machine(), notes, events
    )


def _peers(source: Any, arrays: Sequence[np.ndarray]) -> dict[str, Call]:
    if isinstance(source, OnnxSource):
        if not source.name.startswith("onnxruntime"):
            return {}
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.force_spinning_stop", "1")
        at = source.path if source.path is not None else source.proto.SerializeToString()
        session = onnxruntime.InferenceSession(at, options, providers=["CPUExecutionProvider"])
        feed = dict(zip(source.inputs, arrays, strict=True))
        return {"onnxruntime": lambda: session.run(None, feed)}
    if isinstance(source, TorchSource):
        import torch

        from aicc.backends.interop import to_torch

        module = source.model if source.model is not None else source.program.module()
        tensors = [to_torch(np.array(a)) for a in arrays]
        fast = torch.compile(module)

        def run(f: Any) -> Call:
            def call() -> Any:
                with torch.no_grad():
                    return f(*tensors)

            return call

        return {"eager": run(module), "torch.compile": run(fast)}
    return {}


def measured(
    candidates: Mapping[str, Call], batch: int, seconds: float
) -> tuple[dict[str, Timing], list[str]]:
    """Time candidates in turns; one whose first call fails is left out, with a note."""
    peaks: dict[str, int | None] = {}
    notes: list[str] = []
    once: dict[str, float] = {}
    for name, f in candidates.items():
        try:
            peaks[name] = peak_of(f)
            once[name] = min(_timed(f) for _ in range(2))
        except Exception as e:
            if name == "aicc":
                raise
            notes.append(f"{name} doesn't run: {str(e).splitlines()[0] if str(e) else e!r}")
    turns = int(min(max(seconds / (2 * sum(once.values()) + SETTLE * len(once)), 5), 500))
    times: dict[str, list[float]] = {name: [] for name in once}
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(turns):
            for name in once:
                time.sleep(SETTLE)
                candidates[name]()
                times[name].append(_timed(candidates[name]))
    finally:
        if enabled:
            gc.enable()
    return {n: Timing.of(s, batch, peaks[n]) for n, s in times.items()}, notes


def peak_of(f: Call) -> int | None:
    """The bytes by which the process grows at most while `f` runs; None where nobody says."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        f()
        return None
    before = _status("VmRSS")
    f()
    return max(_status("VmHWM") - before, 0)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


RUNS = 20
"""Calls that kernels are profiled over; their medians count."""


LaunchTime = tuple[str, float, float, Mapping[str, int]]
"""A kernel's name, when it was launched, for how long (both in seconds), and for which sizes."""


def watched(compiled: aicc.CompiledModel, log: list[LaunchTime]) -> Callable[..., Any]:
    """The model on arrays, with a row in `log` for each launch of a kernel."""

    def timed(name: str, launch: Any) -> Any:
        def run(inputs: Any, outputs: Any, sizes: Mapping[str, int]) -> Any:
            start = time.perf_counter()
            found = launch(inputs, outputs, sizes)
            log.append((name, start, time.perf_counter() - start, dict(sizes)))
            return found

        return run

    program: Any = compiled._program
    reference: Any = backend("numpy")
    launchers = {name: timed(name, launch) for name, launch in program.launchers.items()}
    return reference.load(compiled.module, launchers=launchers)


def profiled(
    compiled: aicc.CompiledModel, arrays: Sequence[np.ndarray], roofline: Roofline
) -> tuple[list[KernelTime], list[dict[str, Any]]]:
    """Each kernel's time in a call of the model, slowest first, and one call as trace events."""
    kernels = {k.sym_name: k for k in compiled.module.ops if isinstance(k, tile.Kernel)}
    log: list[LaunchTime] = []
    host = watched(compiled, log)
    calls: list[list[LaunchTime]] = []
    for i in range(RUNS + 1):
        log.clear()
        host(*arrays)
        if i:
            calls.append(list(log))
    found: list[KernelTime] = []
    for name, kernel in kernels.items():
        launches = [(i, sizes) for i, (n, _, _, sizes) in enumerate(calls[0]) if n == name]
        if not launches:
            continue
        per_call = sorted(sum(call[i][2] for i, _ in launches) for call in calls)
        spent = per_call[len(per_call) // 2]
        flops = float(sum(evaluate(total(kernel.work), s) for _, s in launches))
        moved = float(sum(evaluate(total(kernel.moved), s) for _, s in launches))
        bound = "arithmetic" if flops / roofline.flops > moved / roofline.bandwidth else "memory"
        part = roofline.seconds(flops, moved) / spent
        found.append(KernelTime(name, len(launches), spent, flops, moved, part, bound))
    first = calls[-1][0][1] if calls[-1] else 0.0
    events = [
        {
            "name": name,
            "cat": "kernel",
            "ph": "X",
            "pid": 1,
            "tid": 1,
            "ts": (start - first) * 1e6,
            "dur": spent * 1e6,
            "args": {
                "flops": evaluate(total(kernels[name].work), sizes),
                "bytes": evaluate(total(kernels[name].moved), sizes),
                "schedule": dict(kernels[name].schedule),
            },
        }
        for name, start, spent, sizes in calls[-1]
    ]
    return sorted(found, key=lambda k: -k.seconds), events


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import importlib.metadata

    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    versions = {"aicc": aicc.__version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "onnxruntime", "triton"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }
