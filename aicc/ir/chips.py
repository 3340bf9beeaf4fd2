"""What passes know of chips: rates and capacities, from the vendors' documents.

Rates are per clock of one core (streaming multiprocessor or compute unit), or of the whole chip
where it says so. Sources: NVIDIA A100 and H100 whitepapers and the CUDA programming guide's table
of compute capabilities; AMD Instinct MI300X data sheet and CDNA 3 whitepaper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Chip:
    """A GPU. `clock` in Hz, `memory` in bytes a second, `shared` and `block_shared` in bytes.

    `dot` gives the operations a clock of one core's matrix units by element type of the operands,
    `scalar` those of its f32 lanes; `cache` is what all cores together read from the L2 cache a
    clock. `shared` is a core's shared memory, `block_shared` what one program may have of it.
    """

    name: str
    cores: int
    clock: float
    memory: float
    cache: float
    shared: int
    block_shared: int
    registers: int
    warps: int
    warp_size: int
    scalar: float
    dot: Mapping[str, float] = field(default_factory=dict)
    wide_dots: bool = False
    """Whether the fastest dots are of tiles with 64 rows or more (`wgmma`)."""

    def dot_rate(self, dtype: str) -> float:
        """Operations a clock of one core for a product of such elements."""
        return self.dot.get(dtype, self.scalar)


def _dots(half: float, tf32: float, byte: float, double: float) -> dict[str, float]:
    return {"f16": half, "bf16": half, "tf32": tf32, "i8": byte, "f64": double}


CHIPS = {
    c.name: c
    for c in (
        Chip(
            "sm_80",  # A100 SXM 80 GB
            cores=108,
            clock=1.41e9,
            memory=2.039e12,
            cache=5120,
            shared=164 << 10,
            block_shared=163 << 10,
            registers=65536,
            warps=64,
            warp_size=32,
            scalar=128,
            dot=_dots(2048, 1024, 4096, 128),
        ),
        Chip(
            "sm_90",  # H100 SXM
            cores=132,
            clock=1.83e9,
            memory=3.35e12,
            cache=5120,
            shared=228 << 10,
            block_shared=227 << 10,
            registers=65536,
            warps=64,
            warp_size=32,
            scalar=256,
            dot={**_dots(4096, 2048, 8192, 256), "f8E4M3FN": 8192, "f8E5M2": 8192},
            wide_dots=True,
        ),
        Chip(
            "gfx942",  # MI300X
            cores=304,
            clock=2.1e9,
            memory=5.3e12,
            cache=16384,
            shared=64 << 10,
            block_shared=64 << 10,
            registers=131072,
            warps=32,
            warp_size=64,
            scalar=256,
            dot={**_dots(2048, 1024, 4096, 256), "f8E4M3FN": 4096, "f8E5M2": 4096},
        ),
    )
}

DEFAULT_CHIP = "sm_90"
"""What kernels are scheduled for where nothing says for which chip."""


def chip_of(arch: str) -> Chip:
    """The chip of an architecture's name, or the nearest known one: ``sm_90a``, ``sm_86``."""
    if arch in CHIPS:
        return CHIPS[arch]
    if arch.startswith("gfx"):
        return CHIPS["gfx942"]
    digits = "".join(c for c in arch.removeprefix("sm_") if c.isdigit())
    return CHIPS["sm_90" if digits and int(digits) >= 90 else "sm_80"]
