"""torch tensors as NumPy arrays over the same memory."""

from __future__ import annotations

import numpy as np
import torch

from aicc.ir.dtypes import dtype_from_torch


def to_array(t: torch.Tensor) -> np.ndarray:
    """The memory of a CPU tensor as an array, dtypes that NumPy lacks included."""
    t = t.detach().resolve_conj().resolve_neg()
    row = dtype_from_torch(str(t.dtype).removeprefix("torch."))
    if row is None:
        raise TypeError(f"tensors of {t.dtype} are not supported")
    if t.device.type != "cpu":
        t = t.cpu()
    if row.np.num < 256 and row.np.kind != "V":
        return t.numpy()
    carrier = {1: torch.uint8, 2: torch.int16}[row.np.itemsize]
    return t.view(carrier).numpy().view(row.np)
