"""NumPy arrays to torch tensors on the device that kernels run on, and back."""

from __future__ import annotations

import os
import sys
import warnings

import numpy as np
import torch

from aicc.ir.dtypes import dtype_from_torch, dtype_of


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


def to_tensor(x: np.ndarray, device: str) -> torch.Tensor:
    row = dtype_of(x.dtype)
    if not x.flags.writeable or any(s < 0 for s in x.strides):
        x = x.copy()
    try:
        tensor = torch.from_numpy(x)
    except TypeError:
        if row.torch is None:
            raise ValueError(f"torch has no {row}") from None
        carrier = {1: np.uint8, 2: np.int16}[x.dtype.itemsize]
        tensor = torch.from_numpy(x.view(carrier)).view(getattr(torch, row.torch))
    return tensor.to(device)


def from_tensor(t: torch.Tensor) -> np.ndarray:
    t = t.detach().cpu()
    try:
        return t.numpy()
    except TypeError:
        row = dtype_from_torch(str(t.dtype).removeprefix("torch."))
        assert row is not None
        carrier = {1: torch.uint8, 2: torch.int16}[row.np.itemsize]
        return t.view(carrier).numpy().view(row.np)
