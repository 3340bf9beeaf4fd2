"""The discrete Fourier transform (ONNX DFT)."""

from __future__ import annotations

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float


def dft(
    x: np.ndarray, *, axis: int, length, inverse: bool = False, onesided: bool = False
) -> np.ndarray:
    """x[..., 1|2] with real and imaginary part last; gives the same, or a real signal."""
    wide = x.astype(np.float32) if is_low_float(x.dtype) else x
    n = length[0]
    signal = wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + 1j * wide[..., 1]
    if inverse and onesided:
        return np.fft.irfft(signal, n, axis)[..., None].astype(x.dtype)
    if inverse:
        out = np.fft.ifft(signal, n, axis)
    else:
        out = np.fft.fft(signal, n, axis)
        if onesided:
            out = out.take(np.arange(n // 2 + 1), axis)
    return np.stack([out.real, out.imag], -1).astype(x.dtype)
