"""Small helpers for parsing bracketed raw text inside MLIR."""

from __future__ import annotations

from xdsl.parser import AttrParser
from xdsl.utils.exceptions import ParseError

_PAIRS = {"(": ")", "[": "]", "<": ">", "{": "}"}


def raw_group(parser: AttrParser, opening: str, closing: str) -> str:
    """Consume a balanced group that starts at the current token; return the text between.

    The text is taken as it stands in the source, so its grammar need not be MLIR's.
    """
    token = parser._current_token
    source = token.span.input.content
    start = token.span.start
    if not source.startswith(opening, start):
        raise ParseError(token.span, f"expected '{opening}'")
    depth = 0
    for i in range(start, len(source)):
        c = source[i]
        if c == opening:
            depth += 1
        elif c == closing:
            depth -= 1
            if depth == 0:
                parser._resume_from(i + 1)
                return source[start + 1 : i]
    raise ParseError(token.span, f"'{opening}' is never closed")


def split_top_level(text: str) -> list[str]:
    """Split at commas outside any bracket; empty text gives an empty list."""
    parts: list[str] = []
    depth = 0
    start = 0
    for i, c in enumerate(text):
        if c in _PAIRS:
            depth += 1
        elif c in _PAIRS.values():
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    if last or parts:
        parts.append(last)
    return parts
