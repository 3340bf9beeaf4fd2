"""What Inductor would generate for a GPU, found on a machine without one: kernels and bytes.

The model is exported on the CPU and decomposed by Inductor's own table; its nodes are then moved to
a CUDA device that exists in fake tensors only, and Inductor's graph passes, scheduler and code
generator run on them. Queries of the device answer for an H100. Tied to torch 2.13.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn

aten = torch.ops.aten
CALL = re.compile(
    r"^\s+(?:\w+ = )?(?:(triton_\w+?)_\d+\.run|((?:extern_kernels|torch\.ops)\.[\w.]+))\(",
    re.M,
)
H100 = SimpleNamespace(
    name="NVIDIA H100",
    major=9,
    minor=0,
    multi_processor_count=132,
    total_memory=80 << 30,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    warp_size=32,
    L2_cache_size=50 << 20,
    shared_memory_per_block=49152,
    shared_memory_per_block_optin=232448,
)


class Driver:
    """Stands for Triton's driver of an H100."""

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)

    def get_device_interface(self):
        return torch.cuda


def pretend() -> None:
    """Answer torch's questions about its device as an H100 would, for the rest of the process."""
    import torch._inductor.fx_passes.fuse_attention as attention
    import torch._inductor.fx_passes.misc_patterns as misc
    import torch._inductor.fx_passes.pad_mm as pad_mm
    import triton
    from torch._dynamo.device_interface import CudaInterface

    triton.runtime.driver.set_active(Driver())  # pyright: ignore[reportArgumentType]

    def answer(value: Any) -> Any:
        return staticmethod(lambda *_args, **_options: value)

    answers = {
        "is_available": True,
        "current_device": 0,
        "get_device_properties": H100,
        "get_compute_capability": 90,
        "maybe_exchange_device": 0,
        "exchange_device": 0,
        "synchronize": None,
    }
    for name, value in answers.items():
        setattr(CudaInterface, name, answer(value))
    for name in ("get_device_properties", "current_device"):
        setattr(CudaInterface.Worker, name, answer(answers[name]))
    on_module = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": H100,
        "get_device_capability": (9, 0),
        "get_device_name": H100.name,
        "synchronize": None,
        "_lazy_init": None,
    }
    for name, value in on_module.items():
        setattr(torch.cuda, name, answer(value).__func__)
    torch.version.cuda = "12.8"
    # These rewrites trace examples on the real device; attention is whole in our graphs already.
    for module, name in (
        (attention, "_sfdp_init"),
        (misc, "_misc_patterns_init"),
        (pad_mm, "_pad_mm_init"),
    ):
        setattr(module, name, answer(None).__func__)


def exported(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.fx.GraphModule:
    """The model's graph on CUDA, decomposed by Inductor's table, attention as a flash kernel."""
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.fx_passes.joint_graph import constant_fold_uniform_value

    table = dict(select_decomp_table())
    table.pop(aten.scaled_dot_product_attention.default, None)
    with torch.no_grad():
        gm = torch.export.export(model, inputs).run_decompositions(table).graph_module
    constant_fold_uniform_value(gm)
    for node in list(gm.graph.nodes):
        if node.op == "call_function" and "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": torch.device("cuda", 0)}
        if node.target is aten.view.default:  # the GPU's kernels choose other strides
            node.target = aten.reshape.default
        if node.target is aten.scaled_dot_product_attention.default:
            _flash(gm.graph, node)
    gm.recompile()
    return gm


def _flash(graph: torch.fx.Graph, node: torch.fx.Node) -> None:
    q, k, v, mask, _, causal = cast(list[Any], [*node.args, *[None] * (6 - len(node.args))])
    mask = node.kwargs.get("attn_mask", mask)
    causal = bool(node.kwargs.get("is_causal", causal))
    with graph.inserting_before(node):
        if node.kwargs.get("enable_gqa"):
            groups = q.meta["val"].shape[1] // k.meta["val"].shape[1]
            repeat = aten.repeat_interleave.self_int
            k, v = (graph.call_function(repeat, (x, groups, 1)) for x in (k, v))
        op = aten._scaled_dot_product_efficient_attention.default
        scale = {"scale": node.kwargs.get("scale")}
        whole = graph.call_function(op, (q, k, v, mask, False, 0.0, causal), scale)
        result = graph.call_function(operator.getitem, (whole, 0))
    node.replace_all_uses_with(result)
    graph.erase_node(node)


def kernels_and_bytes(gm: torch.fx.GraphModule) -> tuple[Counter[str], int]:
    """Names of the kernels that Inductor's code for `gm` launches, and the bytes it counts.

    Call `pretend` first. The scheduler counts an embedding's whole table; here the rows that are
    read stand for it.
    """
    from torch._inductor import config
    from torch._inductor.compile_fx import fake_tensor_prop
    from torch._inductor.debug import DebugContext
    from torch._inductor.fx_passes.joint_graph import joint_graph_passes
    from torch._inductor.fx_passes.post_grad import post_grad_passes
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses import FakeTensorMode

    rows = {
        n.args[0].name: n.meta["val"].nbytes
        for n in gm.graph.nodes
        if n.target is aten.embedding.default
    }
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    options = config.patch(
        force_disable_caches=True, compile_threads=1, joint_graph_constant_folding=False
    )
    with torch.no_grad(), V.set_fake_mode(fake), options:
        with fake:
            arguments = [
                torch.empty_strided(v.shape, v.stride(), dtype=v.dtype, device="cuda")
                for v in (n.meta["val"] for n in gm.graph.nodes if n.op == "placeholder")
            ]
        fake_tensor_prop(gm, arguments, True)
        joint_graph_passes(gm)
        post_grad_passes(gm, True)
        graph = GraphLowering(gm, example_inputs=arguments, is_inference=True)
        with V.set_graph_handler(graph), DebugContext():
            graph.run(*arguments)
            code, _ = graph.codegen()
            moved = sum(_bytes_of(n, graph, rows) for n in graph.scheduler.nodes)
    names = [triton or library for triton, library in CALL.findall(code.value)]
    return Counter(names), moved


def _bytes_of(node: Any, graph: Any, rows: dict[str, int]) -> int:
    total = node.get_read_write_buffers_sizes()
    for name in {dep.name for dep in node.read_writes.reads} & rows.keys():
        table = graph.graph_inputs[name].get_size()
        whole = int(table[0]) * int(table[1]) * graph.graph_inputs[name].get_dtype().itemsize
        total -= max(0, whole - rows[name])
    return total
