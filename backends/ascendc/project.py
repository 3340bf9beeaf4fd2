"""A module as a project that builds with the vendor's compiler, or against the emulator."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from aicc.backends.ascendc.indices import HELPER_SOURCE
from aicc.backends.ascendc.kernels import KernelPrinter
from aicc.backends.c_host import HostProgram
from aicc.backends.c_text import Unprintable
from aicc.ir import graph, tile
from aicc.ir.module import functions

HEADER = """\
// Kernels of a model in Ascend C, and `model_run`, which launches them one after another.
#include "acl/acl.h"
#include "kernel_operator.h"
#include "lib/matmul_intf.h"

#include <cstdint>
#include <cstring>

#ifndef AICC_CORES
#define AICC_CORES 20  // vector cores that a kernel is spread over
#endif

#if defined(AICC_EMULATED)
#define AICC_LAUNCH(kernel, blocks, ...) \\
  AscendC::emulator::launch(#kernel, blocks, kernel, __VA_ARGS__)
#else
using namespace AscendC;
static aclrtStream stream;
#define AICC_LAUNCH(kernel, blocks, ...) kernel<<<blocks, 0, stream>>>(__VA_ARGS__)
#endif

// One pipe has another wait until what it was given before is done.
template <HardEvent event>
__aicore__ inline void Sync() {
  const event_t id = static_cast<event_t>(GetTPipePtr()->FetchEventID(event));
  SetFlag<event>(id);
  WaitFlag<event>(id);
}

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
        self.source = "\n".join([HEADER + HELPER_SOURCE, *parts, self.host.source])

    def files(self) -> dict[str, bytes]:
        return {}
