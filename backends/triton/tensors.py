"""NumPy arrays to torch tensors on the device that kernels run on, and back."""

from __future__ import annotations

import os
import sys
import warnings

import numpy as np
import torch

from aicc.backends.interop import to_torch
from aicc.ir.dtypes import dtype_of


def default_device() -> str:
    """Where kernels run: a CUDA device, or the CPU in Triton's interpreter.

    Without a device the interpreter is turned on, with a warning; that takes effect only before
    triton is imported, so RuntimeError is raised after that.
    """
    if interpreted():
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if "triton.runtime.jit" in sys.modules:
        raise RuntimeError(
            "no CUDA device is visible, and triton is loaded already: set TRITON_INTERPRET=1 "
            "before the start to run kernels in its interpreter"
        )
    os.environ["TRITON_INTERPRET"] = "1"
    warnings.warn(
        "no CUDA device is visible: kernels run in Triton's interpreter, slowly", stacklevel=2
    )
    return "cpu"


def interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def device_chip() -> str | None:
    """The architecture of the GPU that is there: ``sm_90``, ``gfx942``; None without one."""
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    if torch.version.hip:
        return properties.gcnArchName.partition(":")[0]
    return f"sm_{properties.major}{properties.minor}"


def current_stream() -> int:
    """The stream that kernels are launched on: those of one run in order."""
    return torch.cuda.current_stream().cuda_stream if default_device() == "cuda" else 0


def to_tensor(x: np.ndarray, device: str) -> torch.Tensor:
    """An array on a device; raises ValueError where torch has no such dtype."""
    try:
        return to_torch(x).to(device)
    except TypeError:
        raise ValueError(f"torch has no {dtype_of(x.dtype)}") from None
