"""A module as a project that builds with the vendor's compiler, or against the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from aicc.backends.ascendc.indices import HELPER_SOURCE
from aicc.backends.ascendc.kernels import KernelPrinter
from aicc.backends.ascendc.locals import UB_BYTES
from aicc.backends.c_host import HostProgram, arrays_of, escaped
from aicc.backends.c_text import Unprintable, cpp_name, dim_text
from aicc.backends.printing import origin_text
from aicc.ir import graph, tile
from aicc.ir.module import functions, input_names, output_names, symbol_ranges
from aicc.ir.symbols import Dim
from aicc.ir.types import bytes_of

TEMPLATE = Path(__file__).parent / "template"
SHARED = Path(__file__).parents[1] / "c_sources"

SYNC = """\
// One pipe has another wait until what it was given before is done.
template <HardEvent event>
__aicore__ inline void Sync() {
  const event_t id = static_cast<event_t>(GetTPipePtr()->FetchEventID(event));
  SetFlag<event>(id);
  WaitFlag<event>(id);
}

"""

HEADER = """\
// Kernels of a model in Ascend C, and `model_run`, which launches them one after another.
#include "acl/acl.h"
#include "kernel_operator.h"
#include "lib/matmul_intf.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifndef AICC_CORES
#define AICC_CORES 40  // vector cores that a kernel is spread over
#endif

#if defined(AICC_EMULATED)
#define AICC_LAUNCH(kernel, cores, ...) \\
  AscendC::emulator::launch(#kernel, cores, kernel, __VA_ARGS__)
#define AICC_LAUNCH_MIX AICC_LAUNCH
#else
using namespace AscendC;
#define AICC_LAUNCH(kernel, cores, ...) kernel<<<cores, 0, model_stream>>>(__VA_ARGS__)
// One cube core with two vector cores is a block.
#define AICC_LAUNCH_MIX(kernel, cores, ...) kernel<<<(cores) / 2, 0, model_stream>>>(__VA_ARGS__)
#endif

#ifndef AICC_UB_BYTES
#define AICC_UB_BYTES CAPACITY  // of the unified buffer that kernels may use
#endif

// A kernel whose tiles the unified buffer has no room for isn't launched.
inline void model_refuse(const char* kernel) {
  std::fprintf(stderr, "%s: its tiles don't fit into %d bytes\\n", kernel, AICC_UB_BYTES);
  std::abort();
}

aclrtStream model_stream;  // what kernels are launched on

"""


class Project:
    """The source of a module. Raises Unprintable naming every op that can't be expressed."""

    def __init__(self, module: ModuleOp):
        self.printers: dict[str, KernelPrinter] = {}
        missing: list[str] = []
        for kernel in [k for k in module.ops if isinstance(k, tile.Kernel)]:
            try:
                self.printers[kernel.sym_name] = KernelPrinter(kernel)
            except Unprintable as e:
                missing.append(f"{kernel.sym_name}: {e}")
        for func in functions(module).values():
            for op in func.walk():
                known = isinstance(op, (graph.Constant, graph.Reshape, tile.Launch, tile.Alloc))
                if op.name.startswith("graph.") and not known:
                    missing.append(f"{op.name} at {getattr(op, 'location', '')}")
        if missing:
            raise Unprintable("the ascendc target has no " + "; no ".join(missing))
        self.host = HostProgram(module, self.printers)
        parts = [p.source() for p in self.printers.values()]
        self.ranges = symbol_ranges(module)
        self.source_name = "model.asc"
        header = HEADER.replace("CAPACITY", str(UB_BYTES)) + SYNC
        self.source = "\n".join([header + self.helpers(), *parts, self.host.source, self.tables()])

    @staticmethod
    def helpers() -> str:
        """Functions that kernels and tilings call."""
        return HELPER_SOURCE + "\n"

    def emulated(self) -> str:
        """What the emulator is built with: the source, as it stands."""
        return self.source

    def files(self) -> dict[str, bytes]:
        """The program around the kernels, its build, and what they say of themselves."""
        files = {p.name: p.read_text() for p in TEMPLATE.iterdir() if p.is_file()}
        files["README.md"] = files["README.md"].format(
            signature="\n".join(self.host.signature()),
            capacity=UB_BYTES,
            kernels="\n".join(
                f"- `{p.entry}`: {p.budget.total}"
                + (f" ({origin_text(p.kernel, p.kernel.sym_name)})")
                for p in self.printers.values()
            ),
        )
        files["safetensors.h"] = (SHARED / "safetensors.h").read_text()
        return {name: text.encode() for name, text in files.items()}

    def tables(self) -> str:
        """What the program around the kernels asks of the model: names, and sizes in bytes."""
        host = self.host
        sizes = [f"  const int64_t {cpp_name(s)} = sizes[{i}];" for i, s in enumerate(host.sizes)]

        def table(kind: str, names: Sequence[str], sizes_in_bytes: Sequence[Dim]) -> list[str]:
            lines, rows = [], []
            for i, (name, size) in enumerate(zip(names, sizes_in_bytes, strict=True)):
                function = f"{kind}_{i}_bytes"
                unused = [] if host.sizes else ["  (void)sizes;"]
                lines += [f"static int64_t {function}(const int64_t* sizes) {{", *sizes, *unused]
                lines += [f"  return {dim_text(size)};", "}"]
                rows.append(f'    {{"{escaped(name)}", {function}}},')
            lines.append(f"extern const model_tensor model_{kind}[] = {{")
            return [*lines, *rows, "    {nullptr, nullptr}};"]

        def bytes_in(values: Sequence[SSAValue]) -> list[Dim]:
            return [found for v in values if (found := bytes_of(v)) is not None]

        func, constants = host.func, host.constants
        lines = ["struct model_tensor {", "  const char* name;"]
        lines += ["  int64_t (*bytes)(const int64_t* sizes);", "};"]
        lines += table("inputs", input_names(func), bytes_in(func.args))
        lines += table("outputs", output_names(func), bytes_in(host.outputs))
        weights = [a.nbytes for a in arrays_of(constants)]
        lines += table("weight_sizes", list(constants), weights)
        names = "".join(f'"{escaped(s)}", ' for s in host.sizes)
        least = [max(self.ranges.get(s, (1, None))[0], 1) for s in host.sizes]
        lines.append(f"extern const char* const model_sizes[] = {{{names}nullptr}};")
        numbers = ", ".join(map(str, [*least, 0]))
        lines.append(f"extern const int64_t model_least_sizes[] = {{{numbers}}};")
        return "\n".join([f"extern {host.table()}", *lines]) + "\n"
