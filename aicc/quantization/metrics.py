"""How well a model answers: against labels, or against another model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aicc.quantization.samples import Samples

Results = Sequence[Sequence[np.ndarray]]
"""The outputs of each call."""

Metric = Callable[[Results, Samples], float]
"""A number for a model's results on samples; more is better."""


def scores(result: np.ndarray) -> np.ndarray | None:
    """The classes' scores ``[rows, classes]`` in a model's first output, if it has the form."""
    if result.ndim < 2 or result.dtype.kind != "f" or result.shape[-1] < 2:
        return None
    return result.reshape(-1, result.shape[-1])


def accuracy(results: Results, samples: Samples) -> float:
    """Percent of rows whose largest score is the label's."""
    right = total = 0
    for outputs, labels in zip(results, samples.labels or (), strict=True):
        rows = scores(outputs[0])
        assert rows is not None
        right += int((rows.argmax(-1) == labels.reshape(-1)).sum())
        total += len(rows)
    return 100 * right / max(total, 1)


def perplexity(results: Results, samples: Samples) -> float:
    """exp of the labels' mean negative log-likelihood; scores are logits, or probabilities."""
    lost, total = 0.0, 0
    for outputs, labels in zip(results, samples.labels or (), strict=True):
        rows = scores(outputs[0])
        assert rows is not None
        rows = rows.astype(np.float64)
        picked = rows[np.arange(len(rows)), labels.reshape(-1)]
        if (rows >= 0).all() and np.allclose(rows.sum(-1), 1, atol=1e-3):
            lost -= np.log(np.maximum(picked, 1e-30)).sum()
        else:
            top = rows.max(-1)
            lost -= (picked - top - np.log(np.exp(rows - top[:, None]).sum(-1))).sum()
        total += len(rows)
    return float(np.exp(lost / max(total, 1)))


def agreement(results: Results, wanted: Results) -> float:
    """Percent of rows whose largest score is the other model's."""
    same = total = 0
    for ours, theirs in zip(results, wanted, strict=True):
        a, b = scores(ours[0]), scores(theirs[0])
        if a is None or b is None:
            return float("nan")
        same += int((a.argmax(-1) == b.argmax(-1)).sum())
        total += len(a)
    return 100 * same / max(total, 1)


def signal_to_noise(results: Results, wanted: Results) -> float:
    """Power of the wanted results over that of the difference, in dB, all outputs together."""
    signal = noise = 0.0
    for ours, theirs in zip(results, wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            signal += float(np.square(b, dtype=np.float64).sum())
            noise += float(np.square(a.astype(np.float64) - b).sum())
    return decibels(signal, noise)


def decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(max(signal, 1e-300) / noise))
