"""What goes wrong around a compile: kills, full disks, damaged caches, several at once, threads."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import aicc
from aicc.backends.c_compiler import kept, usable

ROOT = Path(__file__).resolve().parents[2]
DIGITS = str(ROOT / "examples/digits/digits.onnx")


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "aicc", *args]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "AICC_CACHE": str(cache)}


def compiles(out: Path, cache: Path, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("compile", DIGITS, "--target", "cpp", "-o", str(out)),
        capture_output=True, text=True, env=environment(cache), cwd=ROOT, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def warm(tmp_path_factory) -> Path:
    """A cache in which everything is, made once."""
    cache = tmp_path_factory.mktemp("warm") / "cache"
    done = compiles(cache.parent / "out", cache)
    assert done.returncode == 0, done.stderr
    return cache


@pytest.fixture
def cache(warm, tmp_path) -> Path:
    """A copy that lacks the library and some objects, so that a compile has to build."""
    copy = tmp_path / "cache"
    shutil.copytree(warm, copy)
    forget(copy)
    return copy


def forget(cache: Path) -> None:
    objects = sorted((cache / "cpp").glob("*.o"))
    for entry in [*(cache / "cpp").glob("*.so"), *objects[:2]]:
        entry.unlink(missing_ok=True)


def check(out: Path, cache: Path) -> None:
    """The artifact loads, and its answers are those of the reference."""
    done = subprocess.run(
        command("run", str(out)), capture_output=True, text=True, env=environment(cache), cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def killed_compiles(tmp_path: Path, cache: Path, kills: int) -> None:
    """Compiles that are killed at random moments, each followed by nothing half-made."""
    out = tmp_path / "out"
    start = time.monotonic()
    assert compiles(tmp_path / "first", cache).returncode == 0
    whole = time.monotonic() - start
    draw = random.Random(1)
    for _ in range(kills):
        forget(cache)
        running = subprocess.Popen(
            command("compile", DIGITS, "--target", "cpp", "-o", str(out)),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(cache), cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip
        time.sleep(draw.uniform(0.02, whole))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        assert not out.exists() or (out / "manifest.json").is_file()
    done = compiles(out, cache)
    assert done.returncode == 0, done.stderr
    check(out, cache)


def test_killed_while_compiling(tmp_path, cache):
    killed_compiles(tmp_path, cache, 2)


@pytest.mark.slow
def test_killed_at_fifty_moments(tmp_path, cache):
    killed_compiles(tmp_path, cache, 50)


def test_a_damaged_cache_is_made_anew(tmp_path, warm):
    """Entries that lost their half, a bit, or all: nothing of them is taken."""
    cache = tmp_path / "cache"
    shutil.copytree(warm, cache)
    entries = sorted(p for p in (cache / "cpp").iterdir() if p.suffix in (".so", ".o"))
    assert len(entries) > 6
    for i, p in enumerate(entries):
        data = bytearray(p.read_bytes())
        if i % 3 == 0:
            data = data[: len(data) // 2]
        elif i % 3 == 1:
            data[len(data) // 3] ^= 0xFF
        else:
            data = bytearray()
        p.write_bytes(data)
    assert compiles(tmp_path / "out", cache).returncode == 0
    check(tmp_path / "out", cache)
    assert all(kept(p) for p in entries)


def test_a_cache_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.warns(UserWarning, match="can't be written"):
        spare = usable(blocked / "cache")
    assert spare.is_dir() and usable(blocked / "cache") == spare
    assert usable(tmp_path / "fine") == tmp_path / "fine"


@pytest.mark.slow
def test_compiling_without_a_cache(tmp_path, warm):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    done = compiles(tmp_path / "a", blocked / "cache")
    assert done.returncode == 0 and "can't be written" in done.stderr
    check(tmp_path / "a", warm)


def test_a_full_disk(tmp_path, cache):
    """Writes beyond a limit fail as they do on a full disk: one line says so, nothing stays."""
    out = tmp_path / "out"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = compiles(out, cache, preexec_fn=limit)
    assert done.returncode == 2 and done.stderr.count("\n") <= 3, done.stderr
    assert "Traceback" not in done.stderr and not out.exists()
    assert compiles(out, cache).returncode == 0
    check(out, cache)


def test_several_at_once(tmp_path, cache):
    outs = [tmp_path / f"out{i % 2}" for i in range(4)]  # pairs write to one place
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda out: compiles(out, cache), outs))
    assert all(d.returncode == 0 for d in done[:2]), [d.stderr for d in done]
    for out in set(outs):
        check(out, cache)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".out")]


SLOW = pytest.mark.slow


@pytest.mark.parametrize("target", ["numpy", "cpp", pytest.param("triton", marks=SLOW)])
def test_eight_threads_call_one_model(target):
    model = aicc.compile(DIGITS, target=target)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(0, 1, (n, 1, 8, 8)).astype(np.float32) for n in (1, 2, 3, 5)]
    wanted = [np.array(model(x)) for x in inputs]
    wrong: list[float] = []

    def work(i: int) -> None:
        for k in range(3 if target == "triton" else 40):
            at = (i + k) % len(inputs)
            gap = float(np.abs(model(inputs[at]) - wanted[at]).max())
            if gap > 1e-6:
                wrong.append(gap)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


@pytest.mark.parametrize("target", ["numpy", "cpp"])
def test_memory_is_flat(target):
    """Over 10,000 calls the process grows by less than a megabyte."""
    model = aicc.compile(DIGITS, target=target)
    x = np.zeros((2, 1, 8, 8), np.float32)
    for _ in range(200):
        model(x)
    before = resident()
    for _ in range(10_000):
        model(x)
    assert resident() - before < 1 << 20


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    pytest.skip("only Linux says how much memory a process holds")


TUNING = """
import os, random, signal, sys, time
from pathlib import Path
import torch, aicc
from aicc.tuning import Record, tune
from tests.driver.test_tuning import Stub

class Slow(Stub):
    def measure(self, kernel, schedules):
        time.sleep(0.004)
        return super().measure(kernel, schedules)

path, draw = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
layers = [m for n in range(4, 12) for m in (torch.nn.Linear(4 * n, 4 * n + 4), torch.nn.Tanh())]
model = aicc.compile(torch.nn.Sequential(*layers).eval(), (torch.zeros(5, 16),), target="triton")
model._program = Slow()
tune(model, Record.load(path))
every = len(Record.load(path).entries)
kept, unfinished = every, 0
for _ in range(int(sys.argv[3])):
    if kept == every:
        path.unlink()
        kept = 0
    child = os.fork()
    if child == 0:
        tune(model, Record.load(path))
        os._exit(0)
    time.sleep(draw.uniform(0, 0.006 * every))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    now = len(Record.load(path).entries)  # raises for a record that is damaged
    assert now >= kept, (now, kept)
    kept = now
    unfinished += now < every
tune(model, Record.load(path))
assert len(Record.load(path).entries) == every >= 8, every
left = [p.name for p in path.parent.iterdir() if p != path]
print(f"{unfinished} of {sys.argv[3]} unfinished; {len(left)} files left over")
"""


def test_killed_while_tuning(tmp_path):
    """At 50 moments: the record can be read, and no schedule that was measured is lost."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", TUNING, str(tmp_path / "record.json"), "3", "50"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    unfinished = int(done.stdout.split()[0])
    assert unfinished > 20, done.stdout
