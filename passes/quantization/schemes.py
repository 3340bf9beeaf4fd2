"""How real numbers become codes: a type, scales and zero points, and what shares them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aicc.ir.dtypes import DType, dtype_of

LEAST_SCALE = np.float32(2.0**-126)
"""Scales stay normal numbers: those of tensors that are zero too."""


ALL_BITS = 24
"""Significant bits of a float32."""


def check_scale_bits(bits: int) -> None:
    """Raise ValueError for a number of significant bits that scales can't have."""
    if not 1 <= bits <= ALL_BITS:
        raise ValueError(f"scales of {bits} bits: write a number from 1 to {ALL_BITS}")


@dataclass(frozen=True)
class Scheme:
    """What a tensor is quantized to.

    ``x ≈ (q − zero_point) · scale`` with q of `dtype`. One scale serves the whole tensor, with an
    `axis` each index along it, and with a `group` besides each run of so many elements along
    `axis`, at every place of the other axes. A symmetric scheme has no zero point and, if it is of
    integers, leaves out the least one, so that both ends are equally far; unless it is `signed`:
    then the number of largest magnitude has the least code, and the scale is negative where that
    number is positive. With 4 bits that makes steps an eighth smaller. `scale_dtype` is what scales
    are rounded to; with fewer than 24 `scale_bits` they are rounded away from zero to that many
    significant bits.
    """

    dtype: DType
    symmetric: bool = True
    axis: int | None = None
    group: int = 0
    scale_dtype: str = "f32"
    signed: bool = False
    scale_bits: int = ALL_BITS

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest code."""
        if self.dtype.is_float:
            top = self.dtype.largest
            return -top, top
        if self.dtype.kind == "uint":
            return 0, 2**self.dtype.bits - 1
        top = 2 ** (self.dtype.bits - 1)
        return (1 - top if self.symmetric and not self.signed else -top), top - 1

    def parameters(self, low: np.ndarray, high: np.ndarray) -> Parameters:
        """Scales and zero points that cover [low, high], zero included, for each of the arrays'.

        The zero point is the code of 0.0 exactly: padding and ReLU lose nothing.
        """
        first, last = self.limits
        low, high = (np.asarray(v, np.float64) for v in (low, high))
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        if self.symmetric and self.signed:
            scale = np.where(high > -low, high, low) / first
            scale = self.rounded_scale(scale)
            return Parameters(self, scale, None)
        if self.symmetric:
            middle = (first + last + 1) // 2 if self.dtype.kind == "uint" else 0
            scale = np.maximum(high / (last - middle), low / (first - middle))
        else:
            scale = (high - low) / (last - first)
        scale = self.rounded_scale(np.maximum(scale, LEAST_SCALE))
        if self.symmetric:
            zero = np.full(low.shape, middle) if self.dtype.kind == "uint" else None
        else:
            zero = np.clip(np.rint(first - low / scale), first, last)
        return Parameters(self, scale, None if zero is None else zero.astype(self.dtype.np))

    def rounded_scale(self, scale: np.ndarray) -> np.ndarray:
        """Scales as `scale_dtype`, in float32; powers of two are taken upwards."""
        if self.scale_bits < ALL_BITS:
            part, exponent = np.frexp(scale)
            digits = np.ldexp(np.abs(part), self.scale_bits)
            scale = np.ldexp(np.copysign(np.ceil(digits), part), exponent - self.scale_bits)
        if self.scale_dtype == "f8E8M0FNU":
            return np.exp2(np.ceil(np.log2(scale))).astype(np.float32)
        kept = scale.astype(dtype_of(self.scale_dtype).np).astype(np.float32)
        return np.where(np.abs(kept) < LEAST_SCALE, LEAST_SCALE, kept)


@dataclass(frozen=True)
class Parameters:
    """The scales and zero points of one tensor: arrays of one shape, or no zero points."""

    scheme: Scheme
    scale: np.ndarray
    zero: np.ndarray | None

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Codes of x: ``saturate(round(x / scale) + zero_point)``, halves to even, in float32."""
        first, last = self.scheme.limits
        ratio = x.astype(np.float32) / self.spread(self.scale, x)
        if self.scheme.dtype.is_float:
            return np.clip(ratio, first, last).astype(self.scheme.dtype.np)
        codes = np.rint(ratio)
        if self.zero is not None:
            codes += self.spread(self.zero, x).astype(np.float32)
        codes = np.clip(codes, first, last)
        narrow = codes.astype(np.int16)
        return (
            narrow.astype(np.int8).astype(self.scheme.dtype.np)
            if self.is_nibbles
            else narrow.astype(self.scheme.dtype.np)
        )

    @property
    def is_nibbles(self) -> bool:
        return self.scheme.dtype.bits < 8

    def dequantize(self, codes: np.ndarray) -> np.ndarray:
        """What codes stand for, in float32."""
        x = codes.astype(np.float32)
        if self.zero is not None:
            x -= self.spread(self.zero, codes).astype(np.float32)
        return x * self.spread(self.scale, codes)

    def rounded(self, x: np.ndarray) -> np.ndarray:
        """x as it comes back."""
        return self.dequantize(self.quantize(x))

    def spread(self, parameter: np.ndarray, x: np.ndarray) -> np.ndarray:
        """A parameter as it is broadcast against x."""
        axis, group = self.scheme.axis, self.scheme.group
        if axis is None:
            return parameter.reshape(())
        if group:
            wide = np.repeat(parameter, group, axis)
            return wide[(slice(None),) * axis + (slice(x.shape[axis]),)]
        return parameter.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def extremes(x: np.ndarray, scheme: Scheme) -> tuple[np.ndarray, np.ndarray]:
    """The least and largest of all elements that share a scale; the last group may be cut short."""
    axis = scheme.axis
    if axis is None:
        return x.min(initial=0), x.max(initial=0)
    if not scheme.group:
        others = tuple(i for i in range(x.ndim) if i != axis)
        return x.min(others), x.max(others)
    starts = np.arange(0, x.shape[axis], scheme.group)
    return np.minimum.reduceat(x, starts, axis), np.maximum.reduceat(x, starts, axis)


SHRUNK = np.linspace(1.0, 0.5, 26)
"""Parts of the whole range that a search for the least error tries."""


def fitted(
    x: np.ndarray, scheme: Scheme, search: bool = False, importance: np.ndarray | None = None
) -> Parameters:
    """Parameters for a known tensor: its whole range, or with `search` the part of least error.

    The search is for the least sum of squared errors, for each scale by itself, each error times
    its `importance` where that is given (an array that broadcasts against x).
    """
    low, high = extremes(x, scheme)
    best = scheme.parameters(low, high)
    if not search:
        return best
    least = errors(x, best, importance)
    scale = best.scale.copy()
    zero = None if best.zero is None else best.zero.copy()
    for part in SHRUNK[1:]:
        tried = scheme.parameters(low * part, high * part)
        found = errors(x, tried, importance)
        better = found < least
        least = np.where(better, found, least)
        scale = np.where(better, tried.scale, scale)
        if zero is not None and tried.zero is not None:
            zero = np.where(better, tried.zero, zero)
    return Parameters(scheme, scale, zero)


def errors(
    x: np.ndarray, parameters: Parameters, importance: np.ndarray | None = None
) -> np.ndarray:
    """The squared errors, times importance, of all elements that share a scale, summed."""
    gap = np.square(parameters.rounded(x) - x, dtype=np.float64)
    if importance is not None:
        gap *= importance
    scheme = parameters.scheme
    if scheme.axis is None:
        return gap.sum()
    if not scheme.group:
        return gap.sum(tuple(i for i in range(x.ndim) if i != scheme.axis))
    return np.add.reduceat(gap, np.arange(0, x.shape[scheme.axis], scheme.group), scheme.axis)
