"""Prints a module as one Python file: kernels, then a function that launches them.

The file needs torch and triton only.
"""

from __future__ import annotations

import keyword
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.printing import fresh_name, name_constant, plain
from aicc.backends.triton.kernels import KernelPrinter
from aicc.backends.triton.library import LIBRARY
from aicc.backends.triton.spellings import helper_sources
from aicc.backends.triton.text import (
    Unprintable,
    dim_text,
    kernel_name,
    product_text,
    python_name,
    torch_name,
)
from aicc.ir import graph, tile
from aicc.ir.constants import DenseAttr
from aicc.ir.module import (
    bound_symbols,
    input_names,
    main_of,
    output_names,
    return_of,
    symbol_arguments,
)
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim
from aicc.ir.tile.types import bind
from aicc.ir.types import element_type, format_dims, shape_of

HEADER = '''\
"""Kernels of a model and `call`, which runs them. Needs torch and triton only.

    weights = load(device="cuda")
    outputs = call(weights, *inputs)

{signature}
"""

import json
from pathlib import Path

import torch
import triton
import triton.language as tl
'''


LOAD = '''\
def load(folder=Path(__file__).parent, device="cuda"):
    """The constants by name, from model.safetensors in a folder."""
    with open(Path(folder) / "model.safetensors", "rb") as file:
        places = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    weights = {}
    for name, (dtype, shape) in WEIGHTS.items():
        first, end = places[name]["data_offsets"]
        if first == end:
            weights[name] = torch.empty(shape, dtype=dtype, device=device)
            continue
        part = torch.frombuffer(data, dtype=torch.uint8, offset=first, count=end - first)
        weights[name] = part.clone().view(dtype).view(shape).to(device)
    return weights
'''


PART = '''\
def part(arena, offset, shape, dtype):
    """The tensor in the arena that begins at a byte."""
    size = torch.Size(shape).numel() * dtype.itemsize
    return arena[offset : offset + size].view(dtype).view(shape)
'''


CALL_DOC = (
    ['    """The outputs, from the inputs and the constants by name."""'],
    [
        '    """The outputs, from the inputs and the constants by name.',
        "",
        "    `buffers`, from `workspace`, may be kept for calls that run one after another.",
        '    """',
    ],
)
"""What `call` says of itself without buffers and with them."""

OWN_NAMES = {
    *("torch", "triton", "tl", "weights", "device", "arena", "buffers"),
    *("load", "part", "workspace", "call"),
}
"""Names in the printed module that aren't the model's."""


class Program:
    """The source of a module, and the constants that it reads.

    `constants` maps the names in the source to their values. Raises Unprintable naming every op
    that the target can't run.
    """

    def __init__(self, module: ModuleOp):
        self.func = main_of(module)
        self.kernels = {k.sym_name: k for k in module.ops if isinstance(k, tile.Kernel)}
        self.constants: dict[str, DenseAttr] = {}
        self.names: dict[SSAValue, str] = {}
        self.taken = {*keyword.kwlist, *OWN_NAMES}
        self.taken |= {kernel_name(k) for k in self.kernels.values()}
        self.bound: set[str] = set()
        for kernel in self.kernels.values():
            self.taken |= {python_name(s) for s in kernel.sizes}
        self.taken |= {python_name(s) for s in bound_symbols(self.func)}
        self.depth = 1
        self.lines: list[str] = []
        self.missing: list[str] = []
        helpers: set[str] = set()
        kernels = [KernelPrinter(k, helpers).source() for k in self.kernels.values()]
        self.arguments = self.argument_names()
        workspace = self.workspace()
        call = self.call()
        if self.missing:
            raise Unprintable("the triton target has no " + "; no ".join(self.missing))
        head = HEADER.format(signature=self.signature())
        parts = [head, self.weights(), LOAD, helper_sources(helpers), *kernels, *workspace, call]
        self.source = "\n\n".join(p.strip("\n") + "\n" for p in parts if p)

    def signature(self) -> str:
        lines = ["Inputs:"]
        for name, arg in zip(input_names(self.func), self.func.args, strict=True):
            lines.append(f"  {plain(name)}: {element_type(arg)}[{format_dims(shape_of(arg))}]")
        lines.append("Outputs:")
        results = return_of(self.func).operands
        for name, value in zip(output_names(self.func), results, strict=True):
            lines.append(f"  {plain(name)}: {element_type(value)}[{format_dims(shape_of(value))}]")
        return "\n".join(lines)

    def weights(self) -> str:
        """The table of constants: dtype and shape by name."""
        rows = []
        for name, attr in self.constants.items():
            dtype, shape = element_type(attr.type), shape_of(attr.type)
            rows.append(f"    {name!r}: ({torch_name(dtype)}, {self.shape(shape)}),\n")
        return f"WEIGHTS = {{\n{''.join(rows)}}}\n" if rows else "WEIGHTS = {}\n"

    # ------------------------------------------------------------------ the host function

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def fresh(self, hint: str | None) -> str:
        return fresh_name(hint, self.taken)

    def name(self, value: SSAValue) -> str:
        if value not in self.names:
            self.names[value] = self.fresh(value.name_hint)
        return self.names[value]

    def dim(self, d: Dim | None) -> str:
        if d is None:
            raise Unprintable("a size that isn't known before it runs")
        return dim_text(d, "triton.cdiv")

    def shape(self, dims: Sequence[Dim | None]) -> str:
        inner = ", ".join(self.dim(d) for d in dims)
        return f"({inner},)" if len(dims) == 1 else f"({inner})"

    def argument_names(self) -> list[str]:
        for given, arg in zip(input_names(self.func), self.func.args, strict=True):
            self.names[arg] = self.fresh(given)
        return ["weights", *(self.names[a] for a in self.func.args)]

    @property
    def size_arguments(self) -> bool:
        """Whether some inputs are sizes themselves."""
        return bool(symbol_arguments(self.func))

    def workspace(self) -> list[str]:
        """A function that makes the buffers which lie in the arena, where there are any."""
        buffers = list(tile.planned(self.func))
        if not buffers:
            return []
        total = tile.arena_bytes(self.func)
        self.line('"""Buffers for what lives between kernels, all in one arena."""')
        self.prologue()
        self.line(f"arena = torch.empty({self.shape([total])}, dtype=torch.uint8, device=device)")
        self.line("return (")
        for a in buffers:
            self.names[a.result] = self.fresh(a.result.name_hint)
            dtype, offset = torch_name(element_type(a.result)), self.dim(a.offset[0])
            steps = f"{self.names[a.result]}: steps {a.live[0]} to {a.live[1]}"
            place = f"{offset}, {self.shape(shape_of(a.result))}, {dtype}"
            self.line(f"    part(arena, {place}),  # {steps}")
        self.line(")")
        text = "\n".join([f"def workspace({', '.join(self.arguments)}):", *self.lines]) + "\n"
        self.lines, self.bound = [], set()
        return [PART, text]

    def prologue(self) -> None:
        """Read sizes and the device off the arguments."""
        self.sizes(self.func)
        sizes = symbol_arguments(self.func)
        tensors = [n for i, n in enumerate(self.arguments[1:]) if i not in sizes]
        if tensors:
            self.line(f"device = {tensors[0]}.device")
        else:
            self.line('device = next(iter(weights.values())).device if weights else "cpu"')

    def call(self) -> str:
        func, arguments = self.func, list(self.arguments)
        buffers = [self.names[a.result] for a in tile.planned(func)]
        if buffers:
            arguments.append("buffers=None")
        self.lines += CALL_DOC[bool(buffers)]
        self.prologue()
        if buffers:
            self.line("if buffers is None:")
            self.line(f"    buffers = workspace({', '.join(self.arguments)})")
            self.line(f"{', '.join(buffers)}{',' if len(buffers) == 1 else ''} = buffers")
        for op in func.body.block.ops:
            self.op(op)
        results, seen = [], set[SSAValue]()
        for v in return_of(func).operands:
            root = v
            while isinstance(root.owner, graph.Reshape):
                root = root.owner.input
            shared = isinstance(root.owner, (Block, graph.Constant)) or root in seen
            seen.add(root)
            results.append(f"{self.name(v)}.clone()" if shared else self.name(v))
        self.line(f"return ({', '.join(results)}{',' if len(results) == 1 else ''})")
        return "\n".join([f"def call({', '.join(arguments)}):", *self.lines]) + "\n"

    def sizes(self, func: FuncOp) -> None:
        for symbol, (i, axis) in bound_symbols(func).items():
            if axis is None:
                self.bound.add(symbol)
                self.line(f"{python_name(symbol)} = int({self.names[func.args[i]]})")
            else:
                self.size(symbol, func.args[i], axis)

    def size(self, symbol: str, value: SSAValue, axis: int) -> None:
        """Read a size off a tensor, where it isn't known yet."""
        if symbol not in self.bound:
            self.bound.add(symbol)
            self.line(f"{python_name(symbol)} = {self.name(value)}.shape[{axis}]")

    def op(self, op: Operation) -> None:
        if isinstance(op, tile.Launch):
            self.launch(op)
        elif isinstance(op, graph.Constant):
            self.constant(op)
        elif isinstance(op, graph.If):
            self.conditional(op)
        elif isinstance(op, graph.Loop):
            self.loop(op)
        elif isinstance(op, (graph.Yield, tile.Alloc)) or op.name == "func.return":
            pass  # buffers outside the arena are made where they are written
        elif isinstance(op, GraphOp) and type(op) in LIBRARY:
            try:
                LIBRARY[type(op)](self, op)
            except Unprintable as e:
                self.missing.append(f"{e} at {op.location}")
        else:
            what = f"kernel for {op.role} {op.label}" if isinstance(op, graph.Fused) else op.name
            self.missing.append(f"{what} at {op.location}")

    # ------------------------------------------------------------------ control flow

    def inside(self, block: Block) -> list[str]:
        """Print a block one level deeper; the names of what it yields.

        Sizes that are read off tensors in there aren't known after it.
        """
        known = set(self.bound)
        self.depth += 1
        for op in block.ops:
            self.op(op)
        self.depth -= 1
        self.bound = known
        end = block.last_op
        assert end is not None
        return [self.name(v) for v in end.operands]

    def assign(self, targets: Sequence[str], values: Sequence[str]) -> None:
        if targets:
            self.line(f"{', '.join(targets)} = {', '.join(values)}")
        else:
            self.line("pass")

    def conditional(self, op: graph.If) -> None:
        targets = [self.name(r) for r in op.outputs]
        for head, region in (
            (f"if {self.name(op.condition)}:", op.then_region),
            ("else:", op.else_region),
        ):
            self.line(head)
            values = self.inside(region.block)
            self.depth += 1
            self.assign(targets, values)
            self.depth -= 1

    def loop(self, op: graph.Loop) -> None:
        """Carried values by name; what each round adds to scan outputs goes to lists."""
        block = op.body.block
        count, *carried = block.args
        state = [self.name(a) for a in carried]
        going, number = self.fresh("going"), self.fresh("round")
        scans = [self.fresh("scan") for _ in op.outputs[len(carried) :]]
        self.assign([*state, *scans], [*map(self.name, op.carried), *(["[]"] * len(scans))])
        start = "True" if op.condition is None else f"bool({self.name(op.condition)})"
        self.line(f"{going}, {number} = {start}, 0")
        limit = self.fresh("limit")
        most = 'float("inf")' if op.max_trips is None else f"int({self.name(op.max_trips)})"
        self.line(f"{limit} = {most}")
        self.line(f"while {going} and {number} < {limit}:")
        self.depth += 1
        self.line(f"{self.name(count)} = torch.tensor({number}, device=device)")
        self.depth -= 1
        condition, *values = self.inside(block)
        self.depth += 1
        for scan, value in zip(scans, values[len(state) :], strict=True):
            self.line(f"{scan}.append({value})")
        self.assign([going, *state], [f"bool({condition})", *values[: len(state)]])
        self.line(f"{number} += 1")
        self.depth -= 1
        for result, value in zip(op.outputs, state, strict=False):
            self.line(f"{self.name(result)} = {value}")
        for result, scan in zip(op.outputs[len(state) :], scans, strict=True):
            shape = self.shape([d if isinstance(d, int) else 0 for d in shape_of(result)][1:])
            dtype = torch_name(element_type(result))
            none = f"torch.empty((0, *{shape}), dtype={dtype}, device=device)"
            self.line(f"{self.name(result)} = torch.stack({scan}) if {scan} else {none}")

    def constant(self, op: graph.Constant) -> None:
        key = name_constant(self.constants, op)
        self.names[op.result] = f"weights[{key!r}]"

    def empty(self, value: SSAValue) -> str:
        """A new tensor for a result."""
        shape, dtype = self.shape(shape_of(value)), torch_name(element_type(value))
        return f"torch.empty({shape}, dtype={dtype}, device=device)"

    def launch(self, op: tile.Launch) -> None:
        kernel = self.kernels[op.kernel]
        for symbol, (value, axis) in op.size_sources().items():
            self.size(symbol, value, axis)
        for buffer, out in zip(op.buffers, op.outputs, strict=False):
            if buffer in self.names:
                self.names[out] = self.names[buffer]
        outputs = [self.name(v) for v in op.outputs]
        for name, out, buffer in zip_longest(outputs, op.outputs, op.buffers):
            if buffer not in self.names:
                self.line(f"{name} = {self.empty(out)}")
        if kernel.library:
            args = ", ".join(self.operand(v) for v in op.inputs)
            self.line(f"{kernel.library}({args}, out={outputs[0]})")
            return
        sizes = [bind(d, kernel.schedule) for d in kernel.grid]
        grid = product_text(sizes, "triton.cdiv")
        if grid == "0" or 0 in sizes:
            return
        inputs = [self.operand(v) for v in op.inputs]
        options = [f"{k}={v}" for k, v in kernel.schedule.items()]
        args = ", ".join([*inputs, *outputs, *map(python_name, kernel.sizes), *options])
        text = f"{kernel_name(kernel)}[({grid},)]({args})"
        self.line(text if grid.isdigit() else f"if {grid}: {text}")

    def operand(self, value: SSAValue) -> str:
        """A tensor that is contiguous: what kernels compute is, and so are constants."""
        owner = value.owner
        made_here = isinstance(owner, (tile.Launch, graph.Constant))
        return self.name(value) if made_here else f"{self.name(value)}.contiguous()"


def constant_arrays(program: Program) -> dict[str, np.ndarray]:
    return {n: np.ascontiguousarray(attr.array) for n, attr in program.constants.items()}
