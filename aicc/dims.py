"""Sizes of named dims as users give them: ``batch=1..64``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aicc.errors import InputError

Range = tuple[int, int | None]
DimSpec = int | str | Sequence[int | None]


def parse_range(text: str) -> Range:
    """``4`` is exactly 4, ``1..64`` a range, ``1..`` one without an end."""
    low, dots, high = text.partition("..")
    try:
        first = int(low)
        last = first if not dots else int(high) if high else None
    except ValueError:
        raise InputError(f"'{text}' is no size: write 4, 1..64 or 1..") from None
    if first < 0 or (last is not None and last < first) or first >= 2**47:
        raise InputError(f"'{text}' is no range of sizes")
    return first, last


def parse_dims(dims: Mapping[str, DimSpec] | None) -> dict[str, Range]:
    """Ranges by name from ints, texts or pairs. Raises InputError for anything else."""
    found: dict[str, Range] = {}
    for name, spec in (dims or {}).items():
        if isinstance(spec, int):
            found[name] = parse_range(str(spec))
        elif isinstance(spec, str):
            found[name] = parse_range(spec)
        elif len(spec) == 2 and isinstance(spec[0], int):
            found[name] = (spec[0], spec[1])
        else:
            raise InputError(f"dim '{name}': {spec!r} is no range of sizes")
    return found


def parse_dim_options(options: Sequence[str]) -> dict[str, Range]:
    """Ranges from texts like ``batch=1..64``."""
    found: dict[str, Range] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or not name:
            raise InputError(f"'{option}' is no dim: write name=4 or name=1..64")
        found[name] = parse_range(text)
    return found
