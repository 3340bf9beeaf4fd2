"""Prints the function that launches a module's kernels, and what a C program needs to call it.

`model_run` takes weights, inputs and outputs as pointers, an arena for what lives between kernels,
and the sizes that the inputs' shapes leave open. A module with anything beside launches, constants,
reshapes, sizes and control flow has none: Python runs what stands between its kernels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, Operation, SSAValue

from aicc.backends.c_spellings import TYPES
from aicc.backends.c_text import Unprintable, cpp_name, dim_text, kernel_name
from aicc.backends.printing import name_constant, origin_text, plain
from aicc.ir import graph, tile
from aicc.ir.constants import DenseAttr
from aicc.ir.module import bound_symbols, functions, input_names, main_of, output_names, return_of
from aicc.ir.symbols import Dim
from aicc.ir.types import bytes_of, element_type, format_dims, shape_of

C_TYPES = {**TYPES, "ui8": "uint8_t", "ui16": "uint16_t", "ui32": "uint32_t", "ui64": "uint64_t"}
C_TYPES |= {"f16": "uint16_t", "bf16": "uint16_t", "f8E4M3FN": "uint8_t", "f8E5M2": "uint8_t"}
"""Element types of inputs and outputs in C; floats of 16 and 8 bits are their bits."""


Library = Mapping[type[Operation], Callable[["HostProgram", Operation], None]]
"""How ops are printed that have no kernel: lines that call a function of the runtime."""


class HostProgram:
    """The printed function, and the order of what it takes.

    With a `library`, where the host reads what kernels write, loops and branches are printed too,
    and calls of the ops that it has; then `model_run` gives 0, or 1 where an index is out of range.
    Raises Unprintable where Python must run something.
    """

    def __init__(self, module: ModuleOp, printed: Collection[str], library: Library | None = None):
        self.library = library
        self.func = main_of(module)
        if len(functions(module)) > 1:
            raise Unprintable("calls of other functions")
        bound = bound_symbols(self.func)
        if any(axis is None for _, axis in bound.values()):
            raise Unprintable("sizes that are inputs")
        self.sizes = list(bound)
        self.sources = [(i, axis) for i, axis in bound.values() if axis is not None]
        self.kernels = {k.sym_name: k for k in module.ops if isinstance(k, tile.Kernel)}
        self.kernel_sizes = {name: k.sizes for name, k in self.kernels.items()}
        if missing := self.kernels.keys() - set(printed):
            raise Unprintable(f"the kernel {min(missing)}")
        self.outputs = list(return_of(self.func).operands)
        self.constants: dict[str, DenseAttr] = {}
        self.places: dict[SSAValue, str] = {}
        self.results = self.result_buffers()
        self.lines: list[str] = []
        self.depth = 1
        self.names: Counter[str] = Counter()
        self.arena = tile.arena_bytes(self.func)
        for i, arg in enumerate(self.func.args):
            self.places[arg] = f"inputs[{i}]"
        for op in self.func.body.block.ops:
            self.op(op)
        self.copies()
        self.source = self.text()

    # ------------------------------------------------------------------ where values lie

    def result_buffers(self) -> dict[SSAValue, int]:
        """Buffers outside the arena, by the output that each is."""
        found: dict[SSAValue, int] = {}
        for i, value in enumerate(self.outputs):
            root = root_of(value)
            if not isinstance(root.owner, (Block, graph.Constant)):
                found.setdefault(root, i)
        return found

    def op(self, op: Operation) -> None:
        if isinstance(op, graph.Constant):
            self.constant(op)
        elif isinstance(op, tile.Launch):
            self.launch(op)
        elif isinstance(op, graph.Reshape) and op.dyn_shape is None:
            self.places[op.result] = self.places[op.input]
        elif isinstance(op, graph.ShapeExpr):
            self.shape(op)
        elif isinstance(op, graph.Loop) and self.library is not None:
            self.loop(op)
        elif isinstance(op, graph.If) and self.library is not None:
            self.conditional(op)
        elif self.library is not None and type(op) in self.library:
            self.library[type(op)](self, op)
        elif not isinstance(op, (tile.Alloc, ReturnOp, graph.Yield)):
            raise Unprintable(op.name)

    def shape(self, op: graph.ShapeExpr) -> None:
        name = self.fresh("shape")
        numbers = ", ".join([*map(self.dim, op.exprs), "0"])
        self.line(f"const int64_t {name}[] = {{{numbers}}};")
        self.places[op.result] = f"(void*){name}"

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    def fresh(self, name: str) -> str:
        self.names[name] += 1
        return f"{name}_{self.names[name]}" if self.names[name] > 1 else name

    def reserve(self, value: SSAValue) -> str:
        """Memory for what control flow gives: where it is asked for, or after the planned arena."""
        if value in self.results:
            return f"outputs[{self.results[value]}]"
        self.bytes(value)
        place = f"arena + {self.dim(self.arena)}"
        self.arena = self.arena + tile.padded_bytes(value)
        return place

    def bytes(self, value: SSAValue) -> str:
        size = bytes_of(value)
        if size is None:
            raise Unprintable("a size that isn't known before it runs")
        return self.dim(size)

    def copy(self, to: str, source: str, value: SSAValue) -> None:
        """A line that copies a value, if it isn't there."""
        size = self.bytes(value)
        if to != source and size != "0":
            self.line(f"std::memcpy({to}, {source}, {size});")

    # ------------------------------------------------------------------ control flow

    def inside(self, block: Block) -> graph.Yield:
        """Print a region's ops; where they end."""
        self.depth += 1
        for op in block.ops:
            self.op(op)
        self.depth -= 1
        end = block.last_op
        assert isinstance(end, graph.Yield)
        return end

    def conditional(self, op: graph.If) -> None:
        places = [self.reserve(v) for v in op.outputs]
        for head, region in (
            (f"if ({self.read('bool', op.condition)}) {{", op.then_region),
            ("} else {", op.else_region),
        ):
            self.line(head)
            end = self.inside(region.block)
            self.depth += 1
            for place, v in zip(places, end.inputs, strict=True):
                self.copy(place, self.places[v], v)
            self.depth -= 1
        self.line("}")
        self.places |= dict(zip(op.outputs, places, strict=True))

    def loop(self, op: graph.Loop) -> None:
        """Carried values have a place each, which what a round yields for them is copied to."""
        count, *carried = op.body.block.args
        state = [self.reserve(v) for v in op.outputs[: len(carried)]]
        stacks = [self.reserve(v) for v in op.outputs[len(carried) :]]
        for place, v in zip(state, op.carried, strict=True):
            self.copy(place, self.places[v], v)
        number = self.fresh("round")
        going = None if runs_to_the_end(op) else self.fresh("going")
        checks = [] if going is None else [going]
        if op.max_trips is not None:
            checks.append(f"{number} < {self.trips(op.max_trips)}")
        if stacks:
            rows = shape_of(op.outputs[-1])[0]
            if rows is None or going is not None:
                raise Unprintable("a loop of a length that isn't known before it runs")
            if checks != [f"{number} < {self.dim(rows)}"]:
                checks.append(f"{number} < {self.dim(rows)}")
        if going is not None:
            start = "true" if op.condition is None else self.read("bool", op.condition)
            self.line(f"bool {going} = {start};")
        self.line(f"for (int64_t {number} = 0; {' && '.join(checks)}; ++{number}) {{")
        self.places |= {count: f"(void*)&{number}", **dict(zip(carried, state, strict=True))}
        condition, *values = self.inside(op.body.block).inputs
        self.depth += 1
        for place, v in zip(stacks, values[len(state) :], strict=True):
            self.copy(f"(char*)({place}) + {number} * {self.bytes(v)}", self.places[v], v)
        if going is not None:
            self.line(f"{going} = {self.read('bool', condition)};")
        self.carry(state, values[: len(state)])
        self.depth -= 1
        self.line("}")
        self.places |= dict(zip(op.outputs, [*state, *stacks], strict=True))

    def trips(self, value: SSAValue) -> str:
        if isinstance(value.owner, graph.Constant):
            return str(int(value.owner.value.array))
        limit = self.fresh("limit")
        self.line(f"const int64_t {limit} = {self.read('int64_t', value)};")
        return limit

    def read(self, type: str, value: SSAValue) -> str:
        """A scalar that the host looks at."""
        return f"*(const {type}*)({self.places[value]})"

    def carry(self, state: list[str], values: list[SSAValue]) -> None:
        """Copy a round's values for the next one; first aside those in the place of another."""
        sources = [self.places[v] for v in values]
        for i, (source, v) in enumerate(zip(sources, values, strict=True)):
            if source in state and source != state[i]:
                sources[i] = self.reserve(v)
                self.copy(sources[i], source, v)
        for place, source, v in zip(state, sources, values, strict=True):
            self.copy(place, source, v)

    def constant(self, op: graph.Constant) -> None:
        key = name_constant(self.constants, op)
        self.places[op.result] = f"weights[{list(self.constants).index(key)}]"

    def launch(self, op: tile.Launch) -> None:
        kernel, own = self.kernels[op.kernel], self.kernel_sizes[op.kernel]
        buffers = op.buffers
        if len(buffers) != len(op.outputs):
            raise Unprintable("launches without buffers")
        for out, buffer in zip(op.outputs, buffers, strict=True):
            alloc = buffer.owner
            assert isinstance(alloc, tile.Alloc)
            if alloc.offset:
                self.places[out] = f"arena + {self.dim(alloc.offset[0])}"
            elif out in self.results:
                self.places[out] = f"outputs[{self.results[out]}]"
            elif bytes_of(out) == 0:
                self.places[out] = "arena"
            else:
                raise Unprintable("a buffer of its own that is no output")
        at = [*(self.places[v] for v in op.inputs), *(self.places[v] for v in op.outputs)]
        sizes = ", ".join(map(cpp_name, own)) or "0"
        if not set(own) <= set(self.sizes):
            raise Unprintable("a size that isn't known before it runs")
        name = kernel_name(kernel.sym_name)
        self.line(f"// {origin_text(op, kernel.sym_name)}")
        self.line("{")
        self.line(f"  void* const buffers[] = {{{', '.join(at)}}};")
        self.line(f"  const int64_t own[] = {{{sizes}}};")
        self.line(f"  {name}(buffers, own);")
        self.line("}")

    def copies(self) -> None:
        """Outputs that aren't written where they are asked for: inputs, constants, and others."""
        for i, value in enumerate(self.outputs):
            place = self.places[value]
            if place != f"outputs[{i}]":
                self.copy(f"outputs[{i}]", place, value)

    def dim(self, d: Dim) -> str:
        if not isinstance(d, int) and not d.symbols() <= set(self.sizes):
            raise Unprintable("a size that isn't known before it runs")
        return dim_text(d)

    # ------------------------------------------------------------------ text

    def text(self) -> str:
        """The functions `model_arena` and `model_run`."""
        names = [f"  const int64_t {cpp_name(s)} = sizes[{i}];" for i, s in enumerate(self.sizes)]
        result = "void" if self.library is None else "int"
        indent = " " * len(f'extern "C" {result} model_run(')
        used = "  (void)weights, (void)inputs, (void)outputs, (void)arena, (void)sizes;"
        return "\n".join(
            [
                "// Bytes that what lives between kernels takes.",
                'extern "C" int64_t model_arena(const int64_t* sizes) {',
                *names,
                "  (void)sizes;",
                f"  return {self.dim(self.arena)};",
                "}",
                "",
                f'extern "C" {result} model_run(void* const* weights, void* const* inputs,',
                f"{indent}void* const* outputs, char* arena,",
                f"{indent}const int64_t* sizes) {{",
                *names,
                used,
                *self.lines,
                *(["  return 0;"] if self.library is not None else []),
                "}",
                "",
            ]
        )

    def prototypes(self) -> str:
        """Declarations of the kernels, for a source of its own."""
        return "".join(
            f'extern "C" void {kernel_name(k)}(void* const*, const int64_t*);\n'
            for k in self.kernels
        )

    def table(self) -> str:
        """Names of the weights in their order, for the loader."""
        rows = "".join(f'    "{escaped(n)}",\n' for n in self.constants)
        return f"const char* const model_weights[] = {{\n{rows}    nullptr}};\n"

    def header(self) -> str:
        """The C header of the model."""
        return HEADER.format(signature="\n".join(f"// {line}" for line in self.signature()))

    def signature(self) -> list[str]:
        lines = ["Inputs, row-major:"]
        func = self.func
        for i, (name, arg) in enumerate(zip(input_names(func), func.args, strict=True)):
            lines.append(f"  {i}: {plain(name)}, {described(arg)}")
        lines.append("Outputs:")
        for i, (name, v) in enumerate(zip(output_names(func), self.outputs, strict=True)):
            lines.append(f"  {i}: {plain(name)}, {described(v)}")
        if self.sizes:
            lines.append(f"Sizes, in this order: {', '.join(self.sizes)}")
        return lines

    def example(self, sizes: Mapping[str, int], library: str) -> str:
        """A C program that runs the model on zeros, for the given sizes, with a library."""
        rows: list[str] = []

        def buffers(kind: str, values: Sequence[SSAValue]) -> None:
            names = []
            for i, v in enumerate(values):
                size = bytes_of(v)
                assert size is not None
                rows.append(f"  void* {kind}{i} = calloc({dim_text(size)} + 1, 1);")
                names.append(f"{kind}{i}")
            rows.append(f"  void* {kind}s[] = {{{', '.join([*names, 'NULL'])}}};")

        rows += [f"  const int64_t {cpp_name(s)} = {sizes[s]};" for s in self.sizes]
        rows.append(
            f"  const int64_t sizes[] = {{{', '.join([*map(cpp_name, self.sizes), '0'])}}};"
        )
        buffers("input", list(self.func.args))
        buffers("output", self.outputs)
        shown = next((i for i, v in enumerate(self.outputs) if element_type(v).name == "f32"), None)
        if shown is not None:
            rows.append(f"  const float first = ((const float*)output{shown})[0];")
        body = "\n".join(rows[: len(rows) - (shown is not None)])
        after = f'{rows[-1]}\n  printf("%g\\n", first);' if shown is not None else '  puts("done");'
        return EXAMPLE.format(library=library, body=body, after=after)


HEADER = """\
// A compiled model. Link with the kernels' library or its sources; needs no Python.
{signature}
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

typedef struct model model;

// Read the weights from model.safetensors; NULL where that fails.
model* model_open(const char* weights);

// Run the model; 0, or -1 without memory, or 1 where an index is out of range. One model may be
// called by several threads at once.
int model_call(const model* m, void* const* inputs, void* const* outputs, const int64_t* sizes);

void model_close(model* m);

#ifdef __cplusplus
}}
#endif
"""

EXAMPLE = """\
// Runs the model once on zeros: cc main.c {library} -Wl,-rpath,. -o model
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

int main(int argc, char** argv) {{
  model* m = model_open(argc > 1 ? argv[1] : "model.safetensors");
  if (!m) {{
    fprintf(stderr, "can't read the weights\\n");
    return 1;
  }}
{body}
  if (model_call(m, inputs, outputs, sizes)) return 1;
{after}
  model_close(m);
  return 0;
}}
"""


def described(value: SSAValue) -> str:
    dtype = element_type(value)
    return f"{C_TYPES.get(dtype.name, dtype.name)}[{format_dims(shape_of(value))}]"


def runs_to_the_end(op: graph.Loop) -> bool:
    """Whether nothing but `max_trips` ends a loop."""
    end = op.body.block.last_op
    assert isinstance(end, graph.Yield)
    conditions = [v for v in (op.condition, end.inputs[0]) if v is not None]
    return op.max_trips is not None and all(
        isinstance(v.owner, graph.Constant) and bool(v.owner.value.array.all()) for v in conditions
    )


def root_of(value: SSAValue) -> SSAValue:
    """The value that a reshape is of."""
    while not isinstance(value.owner, Block) and isinstance(value.owner, graph.Reshape):
        value = value.owner.input
    return value


def escaped(text: str) -> str:
    """What stands between the quotes of a string literal in C, in UTF-8."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
    return "".join(
        c if c.isprintable() else "".join(f"\\{b:03o}" for b in c.encode()) for c in quoted
    )


def arrays_of(constants: Mapping[str, DenseAttr]) -> list[np.ndarray]:
    """The constants' arrays in order: contiguous, and aligned to cache lines."""
    return [c.data.align() for c in constants.values()]
