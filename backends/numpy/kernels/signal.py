"""The discrete Fourier transform (ONNX DFT)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aicc.backends.numpy.kernels.elementwise import is_low_float


def dft(
    x: np.ndarray,
    *,
    axis: int,
    length: Sequence[int],
    inverse: bool = False,
    onesided: bool = False,
) -> np.ndarray:
    """The transform of x[..., 1 or 2] along `axis`, cropped or zero-padded to length[0].

    The last dim is real, or real and imaginary part. `onesided` keeps the first n/2 + 1 bins, or
    with `inverse` takes them and gives a real signal [..., 1]. ONNX DFT, aten.fft_fft.
    """
    wide = x.astype(np.float32) if is_low_float(x.dtype) else x
    n = length[0]
    real = x.shape[-1] == 1
    if real:
        signal = wide[..., 0]
    else:
        signal = np.ascontiguousarray(wide).view(np.result_type(wide, 1j))[..., 0]
    if inverse and onesided:
        return np.fft.irfft(signal, n, axis)[..., None].astype(x.dtype)
    if inverse:
        out = np.fft.ifft(signal, n, axis)
    elif onesided and real:
        out = np.fft.rfft(signal, n, axis)
    else:
        out = np.fft.fft(signal, n, axis)
        if onesided:
            out = out.take(np.arange(n // 2 + 1), axis)
    return np.stack([out.real, out.imag], -1).astype(x.dtype)
