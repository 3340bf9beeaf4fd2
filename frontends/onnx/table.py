"""The table of ONNX importers: operator name and opset range → the function that lowers a node.

An importer takes a `NodeContext` and returns the node's outputs: one SSA value, or a sequence of
them with None for outputs that it doesn't give.

    @onnx_op("Softmax", since=13)
    def softmax(c): return c.emit(graph.Softmax, c[0], axis=c.axis(-1))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Importer = Callable[[Any], Any]


@dataclass(frozen=True)
class Row:
    """An importer for opsets `since` ≤ version < `until`."""

    importer: Importer
    since: int
    until: int | None

    def covers(self, version: int) -> bool:
        return self.since <= version and (self.until is None or version < self.until)


IMPORTERS: dict[tuple[str, str], list[Row]] = {}


def onnx_op(
    *names: str, since: int = 1, until: int | None = None, domain: str = ""
) -> Callable[[Importer], Importer]:
    """Enter the decorated importer into the table for operators `names`."""

    def enter(importer: Importer) -> Importer:
        for name in names:
            IMPORTERS.setdefault((domain, name), []).append(Row(importer, since, until))
        return importer

    return enter


def find_importer(domain: str, name: str, version: int) -> Importer | None:
    """The importer for an operator at an opset version, or None."""
    for row in IMPORTERS.get((domain, name), ()):
        if row.covers(version):
            return row.importer
    return None
