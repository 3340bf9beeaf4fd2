"""The base of every graph op: declaration, text format, type inference, verification.

An op is declared once, as an IRDL class:

    @graph_op
    class ReduceSum(GraphOp):
        name = "graph.reduce_sum"
        input = operand_def(TENSOR)
        result = result_def(TENSOR)
        axes: tuple[int, ...] = param(INTS)
        keepdims: bool = param(bool, default=False)

        def infer(self, values): ...

and prints as ``%1 = graph.reduce_sum %0 {axes = [1]} : (tensor<2x3xf32>) -> tensor<2xf32>``.

A *structural parameter* (a shape, slice bounds, …) has two exclusive forms: an attribute that holds
symbolic dims (``shape``), or an operand (``dyn_shape``, a 1-D i64 tensor) where the value depends
on data. Symbols in an attribute must be bound by the arguments of the enclosing function.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, LocationAttr, TensorType
from xdsl.dialects.builtin import i32 as i32_type
from xdsl.interfaces import HasFolderInterface
from xdsl.ir import Attribute, Operation, Region, SSAValue
from xdsl.irdl import (
    AnyAttr,
    AttrSizedOperandSegments,
    BaseAttr,
    IRDLOperation,
    OptOperandDef,
    VarOperandDef,
    VarResultDef,
    irdl_op_definition,
)
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from aicc.ir.params import Param
from aicc.ir.symbols import Dim
from aicc.ir.types import compatible, tensor
from aicc.ir.values import NO_VALUES, SymbolicValues

TENSOR = BaseAttr(TensorType)
ANY = AnyAttr()

Operands = Sequence["SSAValue | Sequence[SSAValue] | None"]

_PLACEHOLDER = tensor((), "f32")
_SEGMENTS = "operandSegmentSizes"


class GraphOp(HasFolderInterface, IRDLOperation, ABC):
    """Base of the ops of the graph dialect."""

    PARAMS: ClassVar[dict[str, Param]] = {}
    STRUCTURAL: ClassVar[tuple[str, ...]] = ()
    """Names of structural parameters: `p` is the attribute form, `dyn_p` the operand form."""
    ROLE: ClassVar[str | None] = None
    """For ops from outside: the name of their role in kernels (see `aicc.ir.graph.roles`)."""

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        """The result types, from operand types and parameters.

        A dim that can't be named is None. `values` knows the symbolic elements of small integer
        tensors. Raises VerifyException where operands or parameters don't fit.
        """
        raise TypeError(f"{self.name}: result types must be given")

    def symbolic_results(self, values: SymbolicValues) -> Sequence[tuple[Dim | None, ...] | None]:
        """Symbolic elements of the results, where they are small integer tensors; else None."""
        return (None,) * len(self.results)

    def fold(self) -> Sequence[SSAValue | Attribute] | None:
        """An existing value or a constant's elements for each result, or None (see `folders`)."""
        from aicc.ir.graph.folders import FOLDERS

        folder = FOLDERS.get(type(self))
        folded = folder(self) if folder is not None else None
        if folded is None:
            return None
        if isinstance(folded, SSAValue) and folded.type != self.results[0].type:
            return None
        return [folded]

    def flops(self) -> Dim:
        """Arithmetic operations of one execution (a fused multiply-add counts as two)."""
        return 0

    @property
    def kind(self) -> str:
        """The name without the dialect's prefix."""
        return self.name.removeprefix("graph.")

    def param_values(self) -> dict[str, Any]:
        """All parameters as Python values, defaults included."""
        return {name: getattr(self, name) for name in self.PARAMS}

    def set_param(self, name: str, value: Any) -> None:
        """Set a parameter to a Python value (None or the default removes the property)."""
        spec = self.PARAMS[name]
        if value is None or (not spec.required and value == spec.default):
            self.properties.pop(name, None)
        else:
            self.properties[name] = spec.encode(value)

    def verify_(self) -> None:
        for p in self.STRUCTURAL:
            given = (getattr(self, p) is not None) + (getattr(self, "dyn_" + p) is not None)
            if given != 1:
                raise VerifyException(f"{self.name}: give either {p} or its operand form")
        self.verify_params()
        if type(self).infer is GraphOp.infer:
            return
        for i, (want, result) in enumerate(zip(self.infer(NO_VALUES), self.results, strict=True)):
            if not compatible(want, result.type):
                raise VerifyException(
                    f"{self.name}: result {i} should be {want}, but is {result.type}"
                )

    def verify_params(self) -> None:
        for name, spec in self.PARAMS.items():
            attr = self.properties.get(name)
            if attr is not None and spec.choices:
                spec.encode(spec.kind.decode(attr))

    # ------------------------------------------------------------------ construction

    @classmethod
    def make(
        cls,
        *operands: SSAValue | Sequence[SSAValue] | None,
        result_types: Sequence[Attribute] | None = None,
        regions: Sequence[Region] = (),
        location: LocationAttr | None = None,
        values: SymbolicValues = NO_VALUES,
        **params: Any,
    ) -> Self:
        """Create the op from operands and Python parameters; infer the result types.

        A structural parameter takes a sequence of dims or an SSA value under its own name. Unknown
        dims stay anonymous here (`GraphBuilder.emit` names them).
        """
        plain = len(cls.get_irdl_definition().operands) - len(cls.STRUCTURAL)
        if cls.STRUCTURAL and len(operands) < plain:
            operands = (*operands, *([None] * (plain - len(operands))))
        for p in cls.STRUCTURAL:
            if isinstance(params.get(p), SSAValue):
                operands = (*operands, params.pop(p))
            else:
                operands = (*operands, None)
        properties: dict[str, Attribute] = {}
        for name, value in params.items():
            spec = cls.PARAMS.get(name)
            if spec is None:
                raise TypeError(f"{cls.name} has no parameter {name!r}")
            if value is None or (not spec.required and _same(value, spec.default)):
                continue
            properties[name] = spec.encode(value)
        for name, spec in cls.PARAMS.items():
            if spec.required and name not in properties:
                raise TypeError(f"{cls.name} needs parameter {name!r}")
        flat, sizes = _flatten_operands(cls, operands)
        if _needs_segments(cls):
            properties[_SEGMENTS] = DenseArrayBase.from_list(i32_type, sizes)
        infer = result_types is None
        if result_types is None:
            result_types = [_PLACEHOLDER] * len(cls.get_irdl_definition().results)
        op = cls.create(
            operands=flat,
            result_types=result_types,
            properties=properties,
            regions=regions,
            location=location,
        )
        if infer:
            try:
                inferred = op.infer(values)
            except Exception:
                op.drop_all_references()
                raise
            for result, type in zip(op.results, inferred, strict=True):
                check_size(cls.name, type)
                result._type = type
        return op

    # ------------------------------------------------------------------ text

    def print(self, printer: Printer) -> None:
        groups = _operand_groups(self)
        while groups and groups[-1] is None:
            groups.pop()
        if groups:
            printer.print_string(" ")
            printer.print_list(
                groups,
                lambda g: printer.print_ssa_value(g) if g else printer.print_string("none"),
            )
        self._print_params(printer)
        extra = {k: v for k, v in self.attributes.items()}
        if extra:
            printer.print_string(" attributes")
            printer.print_attr_dict(extra)
        operand_types, result_types = self.operand_types, self.result_types
        if operand_types or result_types:
            printer.print_string(" : ")
            kinds = set(operand_types) | set(result_types)
            if len(kinds) == 1 and len(result_types) == 1:
                printer.print_attribute(next(iter(kinds)))
            else:
                printer.print_function_type(operand_types, result_types)
        for region in self.regions:
            printer.print_string(" ")
            printer.print_region(region)

    def _print_params(self, printer: Printer) -> None:
        shown = [(n, s) for n, s in self.PARAMS.items() if n in self.properties]
        if not shown:
            return
        printer.print_string(" {")
        for i, (name, spec) in enumerate(shown):
            if i:
                printer.print_string(", ")
            printer.print_string(f"{name} = ")
            spec.kind.print(printer, spec.kind.decode(self.properties[name]))
        printer.print_string("}")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        unresolved = _parse_operand_list(parser)
        raw = _parse_params(cls, parser)
        attributes: Mapping[str, Attribute] = {}
        if parser.parse_optional_keyword("attributes"):
            attributes = parser.parse_optional_attr_dict()
        present = [u for u in unresolved if u is not None]
        ins: Sequence[Attribute] = ()
        outs: Sequence[Attribute] = ()
        if parser.parse_optional_punctuation(":"):
            ins, outs = _parse_signature(parser, len(present))
        if len(ins) != len(present):
            parser.raise_error(f"{len(present)} operands but {len(ins)} operand types")
        resolved = iter(parser.resolve_operand(u, t) for u, t in zip(present, ins, strict=True))
        operands = [None if u is None else next(resolved) for u in unresolved]
        regions: list[Region] = []
        while (region := parser.parse_optional_region()) is not None:
            regions.append(region)
        properties: dict[str, Attribute] = {}
        for name, value in raw.items():
            try:
                properties[name] = cls.PARAMS[name].encode(value)
            except (VerifyException, TypeError, ValueError) as e:
                parser.raise_error(f"parameter '{name}': {e}")
        flat, sizes = _group_parsed(cls, parser, operands)
        if _needs_segments(cls):
            properties[_SEGMENTS] = DenseArrayBase.from_list(i32_type, sizes)
        return cls.create(
            operands=flat,
            result_types=outs,
            properties=properties,
            attributes=attributes,
            regions=regions,
        )


_OpT = TypeVar("_OpT", bound=type[GraphOp])


MAX_ELEMENTS = 2**60


def check_size(name: str, type: Attribute) -> None:
    """Raise VerifyException for tensors that no memory can hold: their sizes would overflow."""
    if isinstance(type, TensorType):
        count = 1
        for d in type.get_shape():
            count *= d if d >= 0 else 1  # a dynamic dim
        if count > MAX_ELEMENTS:
            raise VerifyException(f"{name}: a result of type {type} is too large")


def graph_op(cls: _OpT) -> _OpT:
    """Define a graph op: IRDL's definition, with parameters read as Python values."""
    params: dict[str, Param] = {}
    for base in reversed(cls.__mro__):
        for key, field in vars(base).items():
            spec = getattr(field, "graph_param", None)
            if isinstance(spec, Param):
                params[key] = spec
    defined = irdl_op_definition(cls)
    for key, spec in params.items():
        setattr(defined, key, _accessor(key, spec))
    defined.PARAMS = params
    operands = [n for n, _ in defined.get_irdl_definition().operands]
    defined.STRUCTURAL = tuple(n[4:] for n in operands if n.startswith("dyn_"))
    return defined


def _accessor(name: str, spec: Param) -> property:
    decode = spec.kind.decode
    default = None if spec.required else spec.default

    def get(self: Operation) -> Any:
        attr = self.properties.get(name)
        return default if attr is None else decode(attr)

    return property(get)


def _same(value: Any, default: Any) -> bool:
    if isinstance(default, (tuple, list)) or isinstance(value, (tuple, list)):
        return default is not None and tuple(value) == tuple(default)
    return type(value) is type(default) and value == default


def _needs_segments(cls: type[GraphOp]) -> bool:
    return any(isinstance(o, AttrSizedOperandSegments) for o in cls.get_irdl_definition().options)


def _flatten_operands(cls: type[GraphOp], groups: Operands) -> tuple[list[SSAValue], list[int]]:
    defs = cls.get_irdl_definition().operands
    groups = [*groups, *([None] * (len(defs) - len(groups)))]
    if len(groups) > len(defs):
        raise TypeError(f"{cls.name} takes {len(defs)} operands, got {len(groups)}")
    flat: list[SSAValue] = []
    sizes: list[int] = []
    for (name, d), g in zip(defs, groups, strict=True):
        if isinstance(d, VarOperandDef) and not isinstance(d, OptOperandDef):
            group = list(g) if isinstance(g, Sequence) else []
        elif g is None:
            if not isinstance(d, OptOperandDef):
                raise TypeError(f"{cls.name} needs operand {name!r}")
            group = []
        else:
            assert isinstance(g, SSAValue), f"{cls.name}: operand {name!r} is {type(g)}"
            group = [g]
        flat += group
        sizes.append(len(group))
    return flat, sizes


def _operand_groups(op: GraphOp) -> list[SSAValue | None]:
    """Operands in declared order, None for an absent optional one."""
    groups: list[SSAValue | None] = []
    for name, d in op.get_irdl_definition().operands:
        g = getattr(op, name)
        if isinstance(d, VarOperandDef) and not isinstance(d, OptOperandDef):
            groups += list(g)
        else:
            groups.append(g)
    return groups


def operand_groups(op: GraphOp) -> list[SSAValue | None]:
    """Operands in declared order with None for absent ones; structural operands left out."""
    skip = len(op.STRUCTURAL)
    groups = _operand_groups(op)
    return groups[: len(groups) - skip] if skip else groups


def _parse_operand_list(parser: Parser) -> list[UnresolvedOperand | None]:
    found: list[UnresolvedOperand | None] = []
    while True:
        u = parser.parse_optional_unresolved_operand()
        if u is None and not parser.parse_optional_keyword("none"):
            return found
        found.append(u)
        if not parser.parse_optional_punctuation(","):
            return found


def _parse_params(cls: type[GraphOp], parser: Parser) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    if not parser.parse_optional_punctuation("{"):
        return raw
    if parser.parse_optional_punctuation("}"):
        return raw
    while True:
        name = parser.parse_identifier()
        if name not in cls.PARAMS:
            parser.raise_error(f"{cls.name} has no parameter '{name}'")
        if name in raw:
            parser.raise_error(f"parameter '{name}' is given twice")
        parser.parse_punctuation("=")
        try:
            raw[name] = cls.PARAMS[name].kind.parse(parser)
        except (TypeError, ValueError) as e:
            parser.raise_error(f"parameter '{name}': {e}")
        if parser.parse_optional_punctuation("}"):
            return raw
        parser.parse_punctuation(",")


def _parse_signature(parser: Parser, n: int) -> tuple[Sequence[Attribute], Sequence[Attribute]]:
    if not parser.parse_optional_punctuation("("):
        type = parser.parse_type()
        return [type] * n, [type]
    ins = (
        parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_type)
        if not parser.parse_optional_punctuation(")")
        else None
    )
    if ins is not None:
        parser.parse_punctuation(")")
    parser.parse_punctuation("->")
    outs = parser.parse_optional_comma_separated_list(parser.Delimiter.PAREN, parser.parse_type)
    if outs is None:
        outs = [parser.parse_type()]
    return ins or [], outs


def _group_parsed(
    cls: type[GraphOp], parser: Parser, operands: list[SSAValue | None]
) -> tuple[list[SSAValue], list[int]]:
    defs = cls.get_irdl_definition().operands
    groups: list[Any] = []
    rest = list(operands)
    for _, d in defs:
        if isinstance(d, VarOperandDef) and not isinstance(d, OptOperandDef):
            taken = [r for r in rest if r is not None]
            rest = []
            groups.append(taken)
        else:
            groups.append(rest.pop(0) if rest else None)
    if rest:
        parser.raise_error(f"{cls.name} takes {len(defs)} operands, got {len(operands)}")
    try:
        return _flatten_operands(cls, groups)
    except TypeError as e:
        parser.raise_error(str(e))


def int_value(attr: Attribute) -> int:
    assert isinstance(attr, IntegerAttr)
    return attr.value.data


def has_variadic_results(cls: type[GraphOp]) -> bool:
    return any(isinstance(d, VarResultDef) for _, d in cls.get_irdl_definition().results)
