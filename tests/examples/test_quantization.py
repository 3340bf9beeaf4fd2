"""The trained examples: what quantization may cost them, trained here in minutes."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")

import aicc
from examples.quantization.models import PLANS, trained
from examples.quantization.quantize import exported, rows

pytestmark = [pytest.mark.models, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("name", PLANS)
def test_int8_keeps_the_accuracy(name):
    plain, *quantized = rows(trained(name), ("int8", "int8-smooth", "int8-dynamic"))
    for row in quantized:
        assert row.accuracy >= plain.accuracy - 0.5, row


def test_int4_keeps_the_perplexity():
    plain, nearest, gptq, awq = rows(trained("text"), ("int4-rtn", "int4-gptq", "int4-awq"))
    for row in (gptq, awq):
        assert row.perplexity <= 1.03 * plain.perplexity, row
        assert row.perplexity < nearest.perplexity, row


def theory(shape: tuple[int, ...], recipe: str) -> float:
    """Bytes of a matmul's weight: codes, and an f32 scale a group or a column."""
    k, n = shape
    if recipe == "int8":
        return k * n + 4 * n
    return k * n / 2 + 4 * n * -(-k // 32)


@pytest.mark.parametrize("recipe", ["int8", "int4-gptq"])
def test_sizes_are_those_of_theory(recipe):
    model = trained("text")
    made = aicc.quantize(exported(model), recipe, model.samples)
    widths = {"qkv": (128, 384), "out": (128, 128), "up": (128, 512), "down": (512, 128)}
    for layer in made.report.layers:
        kind = layer.name.rpartition(".")[2]
        shape = (128, 128) if kind == "head" else widths[kind]
        assert layer.bytes_before == 4 * shape[0] * shape[1]
        assert abs(layer.bytes_after / theory(shape, recipe) - 1) < 0.05
