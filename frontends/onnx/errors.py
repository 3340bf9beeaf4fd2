"""Errors of the ONNX frontend."""

from __future__ import annotations


class ImportError_(ValueError):
    """A model, graph or node that can't be imported; the message names it."""


class UnsupportedOps(ImportError_):
    """Operators without an importer: all of a model's, reported at once."""


class NeedsValue(ImportError_):
    """The structure of a node depends on the value of an input that is known only at run time.

    `argument` is the name of the model input that it comes from, if it is one.
    """

    def __init__(self, what: str, argument: str | None):
        self.what = what
        self.argument = argument
        hint = (
            f"it is model input '{argument}': give its value when compiling"
            if argument
            else "it is computed by the model"
        )
        super().__init__(f"'{what}' must be known at compile time; {hint}")


class Unavailable:
    """Stands for the outputs of an unsupported node, so that the rest is still looked at."""


class UnavailableBody(Exception):
    """A subgraph whose results an unsupported node gives: its own node gives none either."""
