"""Recipes by name: each is a pipeline of passes, and any other pipeline is one too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from xdsl.passes import ModulePass

from aicc.errors import CompileError, InputError
from aicc.passes import PASSES
from aicc.pipeline import parse_pipeline, spec_of

PREPARE = (
    "canonicalize,shape-simplify,constant-fold,batch-norm-fold,scale-fold,"
    "canonicalize,constant-fold,cse,dce"
)
"""What runs before any recipe: batch norms and scales are in the weights, subgraphs are shared."""


@dataclass(frozen=True)
class Recipe:
    """A pipeline of passes that quantize, and what it is good for."""

    pipeline: str
    what: str


_STATIC = "quantize-activations{observer=mse},quantize-biases"
_W8 = "quantize-weights{search=true correct-bias=true}"
_CONV8 = "quantize-weights{search=true kinds=conv}"
_GROUPS = "dtype=i4 group=32 kinds=matmul"
_INT4 = "int8 weights of convolutions, int4 ones of matmuls in groups of 32"

RECIPES = {
    "int8": Recipe(
        f"{_W8},{_STATIC}",
        "int8 weights and activations, activations' scales from samples",
    ),
    "int8-equalized": Recipe(
        f"equalize-weights,{_W8},{_STATIC}",
        "the same, channels between convolutions evened out first",
    ),
    "int8-smooth": Recipe(
        f"smooth-activations,{_W8},{_STATIC}",
        "the same, outliers of activations moved into weights first (SmoothQuant)",
    ),
    "int8-dynamic": Recipe(
        "quantize-weights{search=true},quantize-dynamically",
        "int8 weights and activations, a scale a row as the model runs; needs no samples",
    ),
    "int8-weights": Recipe(
        "quantize-weights{search=true}",
        "int8 weights only; needs no samples",
    ),
    "int4-rtn": Recipe(
        f"{_CONV8},quantize-weights{{{_GROUPS} search=true}}",
        f"{_INT4}, rounded to nearest by scales of least squared error; needs no samples",
    ),
    "int4-gptq": Recipe(
        f"{_CONV8},quantize-weights{{{_GROUPS} search=true gptq=true}}",
        f"{_INT4}, each making up for the error of those before it",
    ),
    "int4-awq": Recipe(
        f"{_CONV8},scale-salient-channels,quantize-weights{{{_GROUPS} search=true weigh=true}}",
        f"{_INT4}, channels that matter made larger, ranges cut for them",
    ),
    "fp8": Recipe(
        "quantize-weights{dtype=f8E4M3FN},quantize-activations{dtype=f8E4M3FN}",
        "e4m3 weights and activations, activations' scales from samples",
    ),
    "fp8-dynamic": Recipe(
        "quantize-weights{dtype=f8E4M3FN},quantize-dynamically{dtype=f8E4M3FN}",
        "e4m3 weights and activations, a scale a row as the model runs; needs no samples",
    ),
    "mxfp4": Recipe(
        "quantize-weights{dtype=f4E2M1FN group=32 scales=f8E8M0FNU}",
        "e2m1 weights in groups of 32 that share a power of two; needs no samples",
    ),
    "nvfp4": Recipe(
        "quantize-weights{dtype=f4E2M1FN group=16 scales=f8E4M3FN}",
        "e2m1 weights in groups of 16 that share an e4m3 scale, one more for all; needs no samples",
    ),
}
"""One row a recipe."""

CALIBRATED = ("quantize-activations", "smooth-activations", "scale-salient-channels")
"""Passes that can't do without samples."""


def recipe_passes(text: str, settings: Mapping[str, Any] | None = None) -> tuple[ModulePass, ...]:
    """The passes of a recipe's name, or of a pipeline.

    `settings` overrule options wherever a pass has them (``{"group": 64, "observer": "entropy"}``).
    Raises InputError for an unknown recipe, and a setting or value that no pass of it takes.
    """
    known = RECIPES.get(text)
    if known is None and "," not in text and text.partition("{")[0] not in PASSES:
        raise InputError(f"no recipe '{text}' (there are: {', '.join(RECIPES)}; or write passes)")
    try:
        passes = parse_pipeline(known.pipeline if known else text)
        used: set[str] = set()
        made = []
        for p in passes:
            own = {f.name for f in fields(p)} if settings else set()  # type: ignore[arg-type]
            given = {k: v for k, v in (settings or {}).items() if k in own}
            used |= set(given)
            for key, value in given.items():
                _check_type(text, key, value, getattr(p, key))
            made.append(replace(p, **given) if given else p)  # type: ignore[type-var]
    except (CompileError, ValueError) as e:
        raise InputError(f"recipe '{text}': {e}") from e
    for name in settings or {}:
        if name not in used:
            raise InputError(f"recipe '{text}' has no setting '{name}'")
    return tuple(made)


def _check_type(recipe: str, name: str, value: Any, default: Any) -> None:
    fits = isinstance(value, type(default)) or (isinstance(default, float) and type(value) is int)
    if not fits or (isinstance(value, bool) and not isinstance(default, bool)):
        raise InputError(f"recipe '{recipe}': {name} can't be {value!r}, it is {default!r} else")


def parse_settings(options: Sequence[str]) -> dict[str, Any]:
    """Settings from texts like ``group=64``, ``observer=entropy``, ``symmetric=false``."""
    found: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or not name:
            raise InputError(f"'{option}' is no setting: write group=64")
        found[name.replace("-", "_")] = _value(text)
    return found


def _value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def skipping(passes: Sequence[ModulePass], layers: Sequence[str]) -> tuple[ModulePass, ...]:
    """The same passes, which leave some layers in float."""
    return tuple(
        replace(p, skip=(*p.skip, *layers))  # type: ignore[attr-defined,type-var]
        if layers and hasattr(p, "skip")
        else p
        for p in passes
    )


def needs_samples(passes: Sequence[ModulePass]) -> bool:
    return any(p.name in CALIBRATED or getattr(p, "uses_samples", False) for p in passes)


def pipeline_text(passes: Sequence[ModulePass]) -> str:
    return ",".join(spec_of(p) for p in passes)
