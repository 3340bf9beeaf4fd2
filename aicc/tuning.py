"""Measured schedules, and the file that keeps them.

A record is JSON: for each kernel (by a hash of what it does) and chip the fastest schedule that was
measured, its seconds, and how many were tried. It can be carried to other machines, and compiling
with it needs no GPU.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import ModuleOp

from aicc.errors import CompileError, InputError
from aicc.ir import tile
from aicc.ir.chips import chip_of
from aicc.ir.interfaces import Tuned
from aicc.ir.tile.identity import kernel_key
from aicc.passes.schedules import ranked

if TYPE_CHECKING:
    from aicc.api import CompiledModel

FORMAT = 1
VARIABLE = "AICC_TUNING"
"""Names the record that is used where none is given."""

BEST = 8
"""How many of the schedules that the model ranks first are measured."""


@dataclass
class Entry:
    """The outcome for one kernel on one chip; `seconds` are medians, by schedule tried."""

    name: str
    schedule: dict[str, int]
    seconds: float
    tried: int
    library: dict[str, float] = field(default_factory=dict)
    """Seconds of library calls that do the same."""

    @property
    def winning_call(self) -> str:
        """The library call that is faster than the kernel; empty if none is."""
        fastest = min(self.library, key=self.library.__getitem__, default="")
        return fastest if fastest and self.library[fastest] < self.seconds else ""


@dataclass
class Record:
    """Entries by kernel key and chip."""

    path: Path | None = None
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Read a record; one that isn't there is empty. Raises InputError if it is damaged."""
        path = Path(path)
        if not path.exists():
            return cls(path)
        try:
            data = json.loads(path.read_text())
            if data["format"] != FORMAT:
                raise InputError(f"{path}: format {data['format']}, this aicc reads {FORMAT}")
            entries = {
                (key, chip): Entry(**{k: v for k, v in entry.items() if k != "winner"})
                for key, chips in data["kernels"].items()
                for chip, entry in chips.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise InputError(f"{path} is no tuning record: {e}") from None
        return cls(path, entries)

    @classmethod
    def default(cls, path: str | Path | Record | None) -> Record:
        """The record at `path`, else the one that `AICC_TUNING` names, else an empty one."""
        if isinstance(path, Record):
            return path
        path = path or os.environ.get(VARIABLE)
        return cls.load(path) if path else cls()

    def outcomes(self) -> dict[tuple[str, str], Tuned]:
        """What compiling takes from the record."""
        return {k: Tuned(e.schedule, e.winning_call) for k, e in self.entries.items()}

    def save(self) -> None:
        """Write the file, whole or not at all."""
        assert self.path is not None
        kernels: dict[str, dict[str, Any]] = {}
        for (key, chip), entry in sorted(self.entries.items()):
            kernels.setdefault(key, {})[chip] = {
                **asdict(entry),
                "winner": entry.winning_call or "kernel",
            }
        text = json.dumps({"format": FORMAT, "kernels": kernels}, indent=2) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, staged = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(staged, self.path)


Progress = Callable[[str, int, int], None]
"""Called with a kernel's name, its number, and how many there are."""


def tune(
    compiled: CompiledModel, record: Record, best: int = BEST, progress: Progress | None = None
) -> list[tuple[str, Entry]]:
    """Measure the kernels of a compiled model on the GPU that is there; the record takes them in.

    For each the `best` schedules of the roofline model and the one that it has are run. What the
    record has is skipped, and it is saved after each kernel: an interrupted run goes on where it
    was. Raises CompileError where nothing can be measured.
    """
    measure = getattr(compiled._program, "measure", None)
    if measure is None:
        raise CompileError(f"the {compiled.target} target has no schedules to tune")
    (chip,) = compiled._backend.chips()
    found: list[tuple[str, Entry]] = []
    kernels = tunable(compiled.module)
    for number, kernel in enumerate(kernels):
        if progress is not None:
            progress(kernel.sym_name, number, len(kernels))
        key = (kernel_key(kernel), chip)
        if key not in record.entries:
            schedules = first_of(kernel, chip, best)
            try:
                seconds = measure(kernel, schedules)
            except RuntimeError as e:
                raise CompileError(str(e)) from e
            fastest = min(range(len(schedules)), key=seconds.__getitem__)
            record.entries[key] = Entry(
                kernel.sym_name,
                schedules[fastest],
                seconds[fastest],
                len(schedules),
                compiled._program.measure_library(kernel),  # type: ignore[attr-defined]
            )
            if record.path is not None:
                record.save()
        found.append((kernel.sym_name, record.entries[key]))
    return found


def tunable(module: ModuleOp) -> Sequence[tile.Kernel]:
    """Kernels with a schedule; sizes that vary count as typical ones."""
    kernels = (k for k in module.ops if isinstance(k, tile.Kernel))
    return [k for k in kernels if k.schedule and 0 not in k.grid]


def first_of(kernel: tile.Kernel, chip: str, best: int) -> list[dict[str, int]]:
    """What is measured: the kernel's own schedule, and those that the model ranks first."""
    order = [s for _, s in ranked(kernel, [chip_of(chip)])]
    chosen = [dict(kernel.schedule)]
    chosen += [s for s in order if s != chosen[0]]
    return chosen[: best + 1]
