"""Codes of a weight, each making up for what the rounding of those before it lost.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers":
row after row of the weight is rounded, and the error is spread over the rows still to come by the
inverse of the inputs' second moments, so that the layer's result on the samples changes least.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aicc.passes.quantization.schemes import Parameters, fitted

DAMPING = 0.01
"""Added to the moments' diagonal, as a part of its mean."""


def gptq(
    weight: np.ndarray, start: Parameters, products: np.ndarray, damping: float = DAMPING
) -> tuple[Parameters, np.ndarray]:
    """Parameters and codes of a weight [K, N], given the inputs' summed outer products [K, K].

    Rows are taken in falling order of their moments where scales are not in groups. In groups,
    scales are chosen anew when their first row's turn comes, of what the weights are by then.
    """
    w = weight.astype(np.float64).copy()
    k = len(w)
    moments = products.copy()
    unseen = np.diag(moments) == 0
    moments[unseen, unseen] = 1
    moments[np.diag_indices(k)] += damping * np.diag(moments).mean()
    scheme = start.scheme
    order = np.arange(k) if scheme.group else np.argsort(-np.diag(moments), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T
    w = w[order]
    scale, zero = start.scale.copy(), None if start.zero is None else start.zero.copy()
    codes = np.zeros(weight.shape, scheme.dtype.np)
    for i in range(k):
        row = order[i]
        if scheme.group and row % scheme.group == 0:
            rows = w[i : i + scheme.group].astype(np.float32)
            fresh = fitted(rows, replace(scheme, group=len(rows)), search=True)
            scale[row // scheme.group] = fresh.scale[0]
            if zero is not None and fresh.zero is not None:
                zero[row // scheme.group] = fresh.zero[0]
        one = row_parameters(Parameters(scheme, scale, zero), row)
        code = one.quantize(w[i : i + 1].astype(np.float32))
        codes[row] = code[0]
        error = (w[i] - one.dequantize(code)[0]) / upper[i, i]
        w[i:] -= np.outer(upper[i, i:], error)
    return Parameters(scheme, scale, zero), codes


def row_parameters(parameters: Parameters, row: int) -> Parameters:
    """The parameters of one row [1, N]."""
    scheme = parameters.scheme
    if not scheme.group:
        return parameters
    scale, zero = parameters.scale, parameters.zero
    group = row // scheme.group
    return Parameters(
        replace(scheme, axis=1, group=0), scale[group], None if zero is None else zero[group]
    )
