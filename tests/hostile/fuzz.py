"""Coverage-guided fuzzing of the readers, by atheris: a campaign over one kind of input.

    python -m tests.hostile.fuzz mlir --inputs 100000 --seed 1 --findings found

An input is a finding if reading it raises what no user should see, takes over ten seconds, or takes
more memory than four times the input and 256 MB. (Memory is bounded by RLIMIT_AS around each
read, so that the allocation that is too much fails, whoever makes it.) One input for each place
that raised is kept in the folder of findings; what ends the process ends the campaign.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import os
import random
import resource
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 256 * 2**20
LONGEST = 10


@contextlib.contextmanager
def bounded(length: int):
    """Fail allocations beyond what an input of `length` bytes may take."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    limit = pages * resource.getpagesize() + 4 * length + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, unlimited)


def place(e: BaseException) -> str:
    """What an exception is told apart by: its type, and the frames it came through last."""
    frames = traceback.extract_tb(e.__traceback__)[-3:]
    return f"{type(e).__name__} " + " < ".join(f"{f.filename}:{f.name}" for f in reversed(frames))


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz one kind of reader.")
    parser.add_argument("kind")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("found"))
    options = parser.parse_args()

    # The module's threads and arenas would count as the input's memory.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"):
        os.environ.setdefault(name, "1")
    atheris: Any = importlib.import_module("atheris")  # for Linux only, and without types

    with atheris.instrument_imports(include=["aicc", "xdsl"]):
        from tests.hostile import readers

    kind = options.kind
    reader = readers.READERS[kind]
    seeds = reader.seeds()
    for data in seeds[:20]:
        with contextlib.suppress(Exception):
            readers.read(kind, data)  # what is imported late and kept is not the inputs'

    def mutator(data: bytes, longest: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.15:
            return atheris.Mutate(data, longest)
        made = reader.mutate(data, draw)
        return made if len(made) <= longest else data

    seen: set[str] = set()

    def one(data: bytes) -> None:
        try:
            with bounded(len(data)):
                readers.read(kind, data)
        except Exception as e:
            if (where := place(e)) not in seen:
                seen.add(where)
                name = hashlib.sha256(where.encode()).hexdigest()[:12]
                (options.findings / f"{kind}-{name}").write_bytes(data)
                (options.findings / f"{kind}-{name}.txt").write_text(
                    "".join(traceback.format_exception(e))
                )
                print(f"FINDING {name}: {where}", flush=True)

    options.findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for i, data in enumerate(seeds):
            (Path(corpus) / str(i)).write_bytes(data)
        arguments = [
            sys.argv[0],
            corpus,
            f"-runs={options.inputs}",
            f"-seed={options.seed}",
            f"-timeout={LONGEST}",
            "-rss_limit_mb=0",
            f"-max_len={max(map(len, seeds)) * 2}",
            f"-artifact_prefix={options.findings}/{kind}-",
            "-print_final_stats=1",
        ]
        atheris.Setup(arguments, one, custom_mutator=mutator)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
