"""Modules as text, and the constants that stay outside the text."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.parser.generic_parser import ParserState
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError
from xdsl.utils.lexer import Input, Span, Token
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRToken, MLIRTokenKind

from aicc.ir.constants import DenseAttr
from aicc.ir.graph import Constant
from aicc.ir.interfaces import CompileContext


def print_module(module: Operation, locations: bool = True) -> str:
    """MLIR text of a module; with `locations`, each op's place in the source model too."""
    out = io.StringIO()
    Printer(stream=out, print_debuginfo=locations).print_op(module)
    text = out.getvalue() + "\n"
    # Line ends only: no string literal spans lines, so nothing else can match.
    return text.replace(" loc(unknown)\n", "\n") if locations else text


def parse_module(
    text: str,
    name: str = "<text>",
    weights: Mapping[str, np.ndarray] | None = None,
    context: CompileContext | None = None,
) -> ModuleOp:
    """Parse and verify MLIR text; `weights` gives the arrays of ``dense_resource<…>`` constants.

    Raises xDSL's ParseError or VerifyException on bad text.
    """
    check_text(text, name)
    context = context.clone() if context is not None else CompileContext()
    if weights is not None:
        context.weights = weights
    parser = Parser(context, "", name)
    parser._parser_state = ParserState(_Lexer(Input(text, name)))
    module = parser.parse_module()
    module.verify()
    return module


class _Lexer(MLIRLexer):
    """xDSL's, which takes every escaped string that is not ASCII for bytes, UTF-8 too."""

    def _lex_string_literal(self, start_pos: int) -> MLIRToken:
        token = super()._lex_string_literal(start_pos)
        if token.kind is MLIRTokenKind.BYTES_LIT:
            try:
                MLIRTokenKind.STRING_LIT.get_string_literal_value(token.span)
            except UnicodeDecodeError:
                return token
            return Token(MLIRTokenKind.STRING_LIT, token.span)
        return token


_STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|"|(?:(?<![\w%@#^!.])|(?<=x))[su]?i(\d{6,})\b')
WIDEST = 2**24 - 1
"""Bits of the widest integer type that MLIR has."""


def check_text(text: str, name: str) -> None:
    """Raise ParseError for what xDSL would take endless time or memory for.

    Those are strings without an end and integer types of billions of bits.
    """
    for found in _STRINGS.finditer(text):
        what = None
        if found[0] == '"':
            what = "a string without an end"
        elif found[1] and (len(found[1]) > 8 or int(found[1]) > WIDEST):
            what = f"an integer type of more than {WIDEST} bits"
        if what is not None:
            raise ParseError(Span(found.start(), found.end(), Input(text, name)), what)


def named_constants(module: Operation) -> dict[str, DenseAttr]:
    """The constants that print by name, in order of first use.

    Raises ValueError if one name stands for two different tensors.
    """
    found: dict[str, DenseAttr] = {}
    for op in module.walk():
        if isinstance(op, Constant) and (name := op.value.resource) is not None:
            seen = found.setdefault(name, op.value)
            if seen is not op.value and seen != op.value:
                raise ValueError(f"two different constants are both named '{name}'")
    return found
