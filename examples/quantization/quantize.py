"""Trains the three models (once), quantizes each in several ways, and prints what that cost.

examples/quantization/run.sh
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch

import aicc
from aicc.quantization import metrics
from aicc.quantization.samples import Samples
from examples.quantization.models import PLANS, Trained, trained

BATCH = 16
RECIPES = ("int8", "int8-dynamic", "int8-weights", "int4-rtn", "int4-gptq", "int4-awq", "fp8")


@dataclass
class Row:
    """A model in one form: accuracy in percent and perplexity on held-out samples, and bytes."""

    recipe: str
    accuracy: float
    perplexity: float
    bytes: int


def exported(model: Trained) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model.model, model.example, dynamic_shapes=({0: batch},))


def judged(model: Trained, compiled: aicc.CompiledModel, recipe: str, size: int) -> Row:
    parts = [slice(i, i + BATCH) for i in range(0, len(model.test_samples), BATCH)]
    results = [compiled.run([model.test_samples[p]]) for p in parts]
    samples = Samples([], [model.test_labels[p] for p in parts], len(model.test_samples))
    accuracy = metrics.accuracy(results, samples)
    return Row(recipe, accuracy, metrics.perplexity(results, samples), size)


def rows(model: Trained, recipes: tuple[str, ...] = RECIPES) -> list[Row]:
    """The float model first, then one row a recipe."""
    program = exported(model)
    size = sum(4 * p.numel() for p in model.model.parameters())
    found = [judged(model, aicc.compile(program), "float", size)]
    for recipe in recipes:
        made = aicc.quantize(program, recipe, model.samples)
        found.append(judged(model, made.compile(), recipe, made.report.bytes_after))
    return found


def main() -> None:
    for name in PLANS:
        print(f"\n{name:14} accuracy  perplexity    bytes")
        for row in rows(trained(name)):
            print(f"{row.recipe:14} {row.accuracy:7.2f}%  {row.perplexity:10.4f}  {row.bytes:7}")


if __name__ == "__main__":
    main()
