"""NumPy arrays and torch tensors over the same memory."""

from __future__ import annotations

import numpy as np
import torch

from aicc.ir.dtypes import dtype_from_torch, dtype_of


def from_torch(t: torch.Tensor) -> np.ndarray:
    """The tensor's memory as an array; a copy only if it isn't on the CPU or is lazy."""
    t = t.detach()
    if t._is_zerotensor():
        t = torch.zeros_like(t, device="cpu").clone()
    if t.device.type != "cpu":
        t = t.cpu()
    if t.is_conj() or t.is_neg():
        t = t.resolve_conj().resolve_neg()
    try:
        return t.numpy()
    except TypeError:
        row = dtype_from_torch(str(t.dtype).removeprefix("torch."))
        if row is None:
            raise
        carrier = {1: torch.uint8, 2: torch.int16}[row.np.itemsize]
        return t.view(carrier).numpy().view(row.np)


def to_torch(a: np.ndarray) -> torch.Tensor:
    """The array's memory as a tensor; a copy only of read-only memory."""
    row = dtype_of(a.dtype)
    if not a.flags.writeable or any(s < 0 for s in a.strides):
        a = a.copy()
    try:
        return torch.from_numpy(a)
    except TypeError:
        if row.torch is None:
            raise
        carrier = {1: np.uint8, 2: np.int16}[a.dtype.itemsize]
        return torch.from_numpy(a.view(carrier)).view(getattr(torch, row.torch))
