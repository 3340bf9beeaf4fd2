"""Compile a module once into flat Python code over bound NumPy kernels, then run it.

Each function becomes one Python function: one call a line, values deleted right after their last
use, so that peak memory follows liveness. Symbols of dims are read from the arguments' shapes.
The source is kept (`Executable.source`) and reads like the IR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp, TensorType, UnknownLoc
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.numpy.runtime import (
    RunError,
    Workspace,
    as_ints,
    check_argument,
    part,
    run_loop,
    truth,
)
from aicc.backends.numpy.table import bind
from aicc.backends.numpy.tiles import KernelRunner
from aicc.backends.numpy.uses import alias_root, last_uses_of
from aicc.backends.recycled import RECYCLER
from aicc.backends.tile_targets import Launcher
from aicc.ir import graph, tile
from aicc.ir.constants import DenseAttr
from aicc.ir.module import (
    bound_symbols,
    functions,
    input_names,
    output_names,
    return_of,
    symbol_ranges,
)
from aicc.ir.op import GraphOp, operand_groups
from aicc.ir.symbols import Dim, SymExpr, sym
from aicc.ir.types import dtype_of, element_type, shape_of

CustomCalls = Callable[[str, str], Callable[..., Sequence[np.ndarray]]]
"""Finds the callee of a custom_call by target and payload."""

Wrap = Callable[[GraphOp, Callable[..., Any]], Callable[..., Any]]
"""Given an op and the function that computes it, what is called in its place."""

SOURCE_NAME = "<aicc program>"


class Executable:
    """A compiled function: call it with arrays, get a list of arrays.

    Raises ValueError where an argument doesn't fit the declared type, RunError where an op fails.
    """

    def __init__(
        self, source: str, run: Callable[..., tuple], func: FuncOp, labels: Mapping[int, str]
    ):
        self.source = source
        self.source_name = "program.py"
        self.constants: dict[str, DenseAttr] = {}
        self._run = run
        self._labels = labels
        self.input_names = input_names(func)
        self.output_names = output_names(func)

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        if len(inputs) != len(self.input_names):
            raise ValueError(f"expected {len(self.input_names)} inputs, got {len(inputs)}")
        try:
            with np.errstate(all="ignore"):
                return [np.asarray(r) for r in self._run(*inputs)]
        except (ArithmeticError, IndexError, MemoryError, TypeError, ValueError) as e:
            label = self._label_of(e)
            if label is None:
                raise
            raise RunError(f"{label}: {e}") from e

    def files(self, archs: Sequence[str]) -> dict[str, bytes]:
        """Nothing is compiled for chips."""
        if archs:
            raise ValueError("the numpy target runs on any chip: it takes no --arch")
        return {}

    def _label_of(self, error: Exception) -> str | None:
        """The op whose line in the generated code the error came through."""
        tb, found = error.__traceback__, None
        while tb is not None:
            if tb.tb_frame.f_code.co_filename == SOURCE_NAME:
                found = self._labels.get(tb.tb_lineno, found)
            tb = tb.tb_next
        return found


class _Emitter:
    """Writes the Python source of a module's functions."""

    def __init__(
        self,
        custom_calls: CustomCalls | None,
        owned_outputs: bool,
        launchers: Mapping[str, Launcher],
        wrap: Wrap | None,
    ):
        self.launchers = launchers
        self.wrap = wrap
        self.workspace = ""
        self.lines: list[str] = []
        self.labels: dict[int, str] = {}
        self.globals: dict[str, Any] = {
            "np": np,
            "empty": RECYCLER.empty,
            "as_ints": as_ints,
            "truth": truth,
            "run_loop": run_loop,
            "check_argument": check_argument,
            "array": np.array,
            "int64": np.int64,
            "part": part,
        }
        self.names: dict[SSAValue, str] = {}
        self.symbols: dict[str, str] = {}
        self.custom_calls = custom_calls
        self.owned_outputs = owned_outputs
        self.counter = 0
        self.kernels: dict[str, tile.Kernel] = {}
        self.runners: dict[tile.Kernel, str] = {}

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def unique(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def bind_global(self, prefix: str, value: Any) -> str:
        name = self.unique(prefix)
        self.globals[name] = value
        return name

    def name(self, value: SSAValue) -> str:
        if value not in self.names:
            self.names[value] = self.unique("v")
        return self.names[value]

    # ------------------------------------------------------------------ functions

    def function(self, func: FuncOp, module: ModuleOp) -> None:
        block = func.body.block
        args = [self.name(a) for a in block.args]
        self.line(0, f"def {_identifier(func.sym_name.data)}({', '.join(args)}):")
        self.symbols = {}
        self.arguments(func, symbol_ranges(module))
        if any(tile.planned(func)):
            self.workspace = self.bind_global("workspace", Workspace())
            self.line(1, f"arena = {self.workspace}.take({self.dim(tile.arena_bytes(func))})")
        self.body(block, 1, ends=self.returned)
        self.workspace = ""

    def returned(self, op: Operation, depth: int) -> None:
        values = []
        seen: set[SSAValue] = set()
        for v in op.operands:
            root = alias_root(v)
            outside = not isinstance(root.owner, Operation) or isinstance(
                root.owner, graph.Constant
            )
            copy = self.owned_outputs and (outside or root in seen)
            seen.add(root)
            values.append(f"array({self.name(v)})" if copy else self.name(v))
        if self.workspace:
            self.line(depth, f"{self.workspace}.give(arena)")
        self.line(depth, f"return ({', '.join(values)}{',' if values else ''})")

    def arguments(self, func: FuncOp, ranges: Mapping[str, tuple[int, int | None]]) -> None:
        """Check the arguments' dtypes and sizes and read the symbols off them."""
        names = input_names(func)
        bound = bound_symbols(func)
        for symbol, (i, axis) in bound.items():
            low, high = ranges.get(symbol, (0, None))
            arg = self.name(func.args[i])
            var = self.symbols[symbol] = _identifier("s_" + symbol)
            if axis is None:
                self.line(1, f"{var} = int({arg})")
            else:
                rank = len(shape_of(func.args[i]))
                self.line(1, f"{var} = {arg}.shape[{axis}] if {arg}.ndim == {rank} else -1")
            self.globals.setdefault("RANGES", {})[symbol] = (low, high)
        for i, arg in enumerate(func.args):
            type = arg.type
            if not isinstance(type, TensorType):
                raise TypeError(f"argument {names[i]} is {type}, not a tensor")
            sizes = [
                self.dim(d) if d is not None and self.is_known(d) else "None"
                for d in shape_of(type)
            ]
            shape = f"({', '.join(sizes)}{',' if sizes else ''})"
            dtype = self.bind_global("dtype", dtype_of(type.element_type).np)
            label = self.bind_global("label", (names[i], type))
            n = self.name(arg)
            self.line(1, f"if {n}.dtype != {dtype} or {n}.shape != {shape}:")
            self.line(2, f"check_argument({n}, {dtype}, {shape}, {label})")
        for symbol in bound:
            low, high = ranges.get(symbol, (0, None))
            if low > 0 or high is not None:
                var, limit = self.symbols[symbol], "" if high is None else f" <= {high}"
                self.line(1, f"if not {low} <= {var}{limit}:")
                self.line(
                    2,
                    f"raise ValueError(f'dim {symbol} is {{{var}}}, outside its range "
                    f"{low}..{'' if high is None else high}')",
                )

    def is_known(self, d: Dim) -> bool:
        return isinstance(d, int) or d.symbols() <= self.symbols.keys()

    def dim(self, d: Dim) -> str:
        if isinstance(d, int):
            return str(d)
        missing = d.symbols() - self.symbols.keys()
        if missing:
            raise ValueError(f"symbol {min(missing)} isn't defined by the function's arguments")
        return d.python(self.symbols.__getitem__)

    # ------------------------------------------------------------------ blocks

    def body(
        self,
        block: Block,
        depth: int,
        ends: Callable[[Operation, int], None],
        kept: Sequence[SSAValue] = (),
    ) -> None:
        """Write a block's ops; `kept` values live on after it, sizes read off tensors don't."""
        last_uses = last_uses_of(block)
        known = dict(self.symbols)
        for op in block.ops:
            if isinstance(op, (ReturnOp, graph.Yield)):
                ends(op, depth)
                self.symbols = known
                return
            first = len(self.lines) + 1
            self.op(op, depth)
            for number in range(first, len(self.lines) + 1):
                self.labels.setdefault(number, label_of(op))
            dead = [
                self.names[v] for v in last_uses.get(op, ()) if v in self.names and v not in kept
            ]
            if dead:
                self.line(depth, f"del {', '.join(dead)}")
        raise ValueError("a block has no terminator")

    def op(self, op: Operation, depth: int) -> None:
        if isinstance(op, graph.Constant):
            self.names[op.result] = self.bind_global("c", op.value.array)
        elif isinstance(op, graph.ShapeExpr):
            items = ", ".join(self.dim(d) for d in op.exprs)
            self.line(depth, f"{self.name(op.result)} = array([{items}], int64)")
        elif isinstance(op, graph.ShapeOf):
            shape = f"{self.name(op.input)}.shape"
            self.line(depth, f"{self.name(op.result)} = array({shape}, int64)")
        elif isinstance(op, graph.If):
            self.conditional(op, depth)
        elif isinstance(op, graph.Loop):
            self.loop(op, depth)
        elif isinstance(op, graph.CustomCall):
            self.custom_call(op, depth)
        elif isinstance(op, graph.Fused):
            self.fused(op, depth)
        elif isinstance(op, tile.Launch):
            self.launch(op, depth)
        elif isinstance(op, tile.Alloc):
            self.alloc(op, depth)
        elif isinstance(op, CallOp):
            callee = _identifier(op.callee.root_reference.data)
            args = ", ".join(self.name(v) for v in op.operands)
            self.assign(op, f"{callee}({args})", depth, always_tuple=True)
        elif isinstance(op, GraphOp):
            self.kernel_call(op, depth)
        else:
            raise RunError(f"the NumPy backend has no kernel for {op.name}")

    def kernel_call(self, op: GraphOp, depth: int) -> None:
        static: dict[str, tuple[int, ...]] = {}
        late: list[str] = []
        for p in op.STRUCTURAL:
            dims = getattr(op, p)
            operand = getattr(op, "dyn_" + p)
            if dims is None and operand is None:
                continue
            if dims is None:
                late.append(f"{p}=as_ints({self.name(operand)})")
            elif all(isinstance(d, int) for d in dims):
                static[p] = dims
            else:
                late.append(f"{p}=({', '.join(map(self.dim, dims))},)")
        fn = bind(op, static)
        if self.wrap is not None:
            fn = self.wrap(op, fn)
        kernel = self.bind_global(op.kind + "_", fn)
        args = ["None" if v is None else self.name(v) for v in operand_groups(op)]
        while args and args[-1] == "None":
            args.pop()
        self.assign(op, f"{kernel}({', '.join(args + late)})", depth)

    def assign(self, op: Operation, call: str, depth: int, always_tuple: bool = False) -> None:
        if len(op.results) == 1 and not always_tuple:
            self.line(depth, f"{self.name(op.results[0])} = {call}")
            return
        if not op.results:
            self.line(depth, call)
            return
        targets = [self.name(r) if r.first_use is not None else "_" for r in op.results]
        self.line(depth, f"{', '.join(targets)}{',' if len(targets) == 1 else ''} = {call}")

    # ------------------------------------------------------------------ regions

    def lasting(self, value: SSAValue) -> str:
        """A value that enters or leaves a region, copied from where the next launch may write."""
        root = alias_root(value)
        owner = root.owner
        if not isinstance(owner, tile.Launch) or not owner.buffers:
            return self.name(value)
        alloc = owner.buffers[owner.outputs.index(root)].owner
        planned = isinstance(alloc, tile.Alloc) and alloc.offset
        return f"{self.name(value)}.copy()" if planned else self.name(value)

    def conditional(self, op: graph.If, depth: int) -> None:
        targets = [self.name(r) for r in op.outputs]

        def ends(end: Operation, inner: int) -> None:
            for t, v in zip(targets, end.operands, strict=True):
                self.line(inner, f"{t} = {self.lasting(v)}")
            if not targets:
                self.line(inner, "pass")

        self.line(depth, f"if truth({self.name(op.condition)}):")
        self.body(op.then_region.block, depth + 1, ends)
        self.line(depth, "else:")
        self.body(op.else_region.block, depth + 1, ends)

    def fused(self, op: graph.Fused, depth: int) -> None:
        """The body's ops, one after another: what is inside one kernel elsewhere."""
        block = op.body.block
        for arg, value in zip(block.args, op.inputs, strict=True):
            self.names[arg] = self.name(value)
        self.line(depth, f"# {op.role} kernel{' ' + op.label if op.label else ''}")

        def ends(end: Operation, inner: int) -> None:
            taken: set[str] = {self.name(a) for a in block.args}
            for result, value in zip(op.outputs, end.operands, strict=True):
                if (name := self.name(value)) in taken or isinstance(value.owner, graph.Constant):
                    self.line(inner, f"{self.name(result)} = {name}")
                else:
                    self.names[result] = name
                taken.add(name)

        self.body(block, depth, ends, kept=block.args)

    def launch(self, op: tile.Launch, depth: int) -> None:
        """A kernel of the tile dialect, run program by program."""
        kernel = self.kernels[op.kernel]
        for symbol, (value, axis) in op.size_sources().items():
            if symbol not in self.symbols:
                self.symbols[symbol] = _identifier("s_" + symbol)
                self.line(depth, f"{self.symbols[symbol]} = {self.name(value)}.shape[{axis}]")
        placed = {o: b for o, b in zip(op.outputs, op.buffers, strict=False) if b in self.names}
        made = [self.name(placed[v]) if v in placed else self.empty(v) for v in op.outputs]
        sizes = ", ".join(f"{s!r}: {self.dim(sym(s))}" for s in kernel.sizes)
        if kernel not in self.runners:
            name = _identifier(op.kernel) + "_"
            launch = self.launchers.get(op.kernel) or KernelRunner(kernel).launch
            self.runners[kernel] = self.bind_global(name, launch)
        args = ", ".join(self.name(v) for v in op.inputs)
        call = f"{self.runners[kernel]}([{args}], [{', '.join(made)}], {{{sizes}}})"
        self.assign(op, call, depth, always_tuple=True)

    def empty(self, value: SSAValue) -> str:
        """A new array for a value."""
        return f"empty({self.shape(value)}, {self.dtype(value)})"

    def shape(self, value: SSAValue) -> str:
        dims = ", ".join(self.dim(d) for d in shape_of(value) if d is not None)
        return f"({dims}{',' if dims else ''})"

    def dtype(self, value: SSAValue) -> str:
        return self.bind_global("dtype", element_type(value).np)

    def alloc(self, op: tile.Alloc, depth: int) -> None:
        """A part of the arena; a buffer outside of it is made where it is written."""
        if op.offset:
            place = f"{self.dim(op.offset[0])}, {self.shape(op.result)}, {self.dtype(op.result)}"
            self.line(depth, f"{self.name(op.result)} = part(arena, {place})")

    def loop(self, op: graph.Loop, depth: int) -> None:
        block = op.body.block
        fn = self.unique("body")
        self.line(depth, f"def {fn}({', '.join(self.name(a) for a in block.args)}):")

        def ends(end: Operation, inner: int) -> None:
            values = ", ".join(self.lasting(v) for v in end.operands)
            self.line(inner, f"return ({values},)")

        self.body(block, depth + 1, ends)
        n = len(op.carried)
        empties = []
        for out in op.outputs[n:]:
            shape = tuple(d if isinstance(d, int) else 0 for d in shape_of(out))
            empties.append((shape[1:], dtype_of(out.type.element_type).np))  # type: ignore
        spec = self.bind_global("scans", tuple(empties))
        trips = "None" if op.max_trips is None else self.name(op.max_trips)
        condition = "None" if op.condition is None else self.name(op.condition)
        carried = "".join(self.lasting(v) + ", " for v in op.carried)
        call = f"run_loop({fn}, {trips}, {condition}, ({carried}), {spec})"
        self.assign(op, call, depth, always_tuple=True)

    def custom_call(self, op: graph.CustomCall, depth: int) -> None:
        if self.custom_calls is None:
            raise RunError(f"nothing here runs the custom call '{op.target}'")
        fn = self.bind_global("call_", self.custom_calls(op.target, op.payload))
        args = ", ".join(self.name(v) for v in op.inputs)
        self.assign(op, f"{fn}({args})", depth, always_tuple=True)


def _identifier(name: str) -> str:
    return (
        "".join(c if (c.isalnum() and c.isascii()) or c == "_" else f"_{ord(c):x}_" for c in name)
        or "_"
    )


def label_of(op: Operation) -> str:
    """The op's name, and its place in the source model where it has one."""
    if isinstance(op.location, UnknownLoc):
        return op.name
    return f"{op.name} at {op.location}"


def compile_module(
    module: ModuleOp,
    function: str = "main",
    custom_calls: CustomCalls | None = None,
    owned_outputs: bool = False,
    launchers: Mapping[str, Launcher] | None = None,
    wrap: Wrap | None = None,
) -> Executable:
    """Compile every function of a module; give the one named `function`.

    With `owned_outputs`, no output shares memory with an input, a constant or another output.
    `launchers` run kernels by name, the interpreter those that they lack. `wrap` sees every op that
    is one call (not control flow itself, constants and shapes) and may change what it computes.
    """
    emitter = _Emitter(custom_calls, owned_outputs, launchers or {}, wrap)
    found = functions(module)
    emitter.kernels = {k.sym_name: k for k in module.ops if isinstance(k, tile.Kernel)}
    for func in found.values():
        emitter.function(func, module)
        emitter.line(0, "")
    source = "\n".join(emitter.lines)
    code = compile(source, SOURCE_NAME, "exec")
    exec(code, emitter.globals)
    run = emitter.globals[_identifier(function)]
    return Executable(source, run, found[function], emitter.labels)


__all__ = ["Executable", "SymExpr", "compile_module", "return_of"]
