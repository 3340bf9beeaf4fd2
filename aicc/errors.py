"""Errors for users: each names the thing, what was expected, and what came."""

from __future__ import annotations


class AiccError(Exception):
    """Base of all errors that a user's input can cause. The CLI prints them without a traceback."""


class CompileError(AiccError):
    """A model that can't be compiled."""


class ArtifactError(AiccError):
    """An artifact that can't be read, or that was changed."""


class InputError(AiccError):
    """Arguments or options that don't fit the model."""
