"""Whether a GPU may be there, told without importing torch."""

from __future__ import annotations

import os

GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Files that a driver of GPUs makes."""


def may_have_gpu() -> bool:
    """Whether torch need be asked for a GPU."""
    return any(os.path.exists(p) for p in GPU_DEVICES)
