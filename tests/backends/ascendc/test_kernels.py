"""Ascend C kernels on the emulator: what they compute and copy, and what they are made of."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

import aicc
from aicc.backends.ascendc.api import CALLS, TYPES
from aicc.backends.ascendc.locals import UB_BYTES, Local, place
from tests.backends.ascendc.models import Function, cases, printed, run

F = nn.functional


@pytest.mark.parametrize("name", cases())
def test_results(name):
    program, inputs, want = printed(name)
    (found,) = program(*[x.numpy() for x in inputs])
    tolerance = 2e-3 if want.dtype == torch.float16 else 2e-5
    np.testing.assert_allclose(found, want.numpy(), rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------------- sizes


@pytest.mark.parametrize("size", [1, 7, 31, 33, 126, 13243])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: torch.exp(-x * x),
        lambda x: torch.softmax(x, -1),
        lambda x: x.sum(-1, keepdim=True),
        lambda x: x.amax(0),
    ],
)
def test_sizes(f, size):
    x = torch.randn(3, size)
    compiled = aicc.compile(Function(f), (x,), target="ascendc")
    torch.testing.assert_close(compiled(x), f(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "f, shape",
    [
        (lambda x: x.sum(), (300, 1000)),
        (lambda x: x.amax(0), (50_000, 3)),
        (lambda x: torch.softmax(x, -1), (2, 60_000)),
        (lambda x: F.layer_norm(x, (60_000,)), (2, 60_000)),
    ],
    ids=["all", "columns", "softmax", "layer_norm"],
)
def test_reductions_that_outgrow_the_unified_buffer(f, shape):
    x = torch.randn(shape)
    compiled = aicc.compile(Function(f), (x,), target="ascendc")
    torch.testing.assert_close(compiled(x), f(x), rtol=1e-4, atol=1e-3)


def test_fewer_elements_than_cores():
    x = torch.randn(2, 3)
    compiled = aicc.compile(Function(lambda x: x.sum(-1)), (x,), target="ascendc")
    torch.testing.assert_close(compiled(x), x.sum(-1))


def test_one_column():
    """Rows of 4 bytes in device memory, of 32 in the unified buffer."""
    x, w = torch.randn(45, 126), torch.randn(126, 1)
    compiled = aicc.compile(Function(lambda x: x @ w), (x,), target="ascendc")
    torch.testing.assert_close(compiled(x), x @ w, rtol=1e-4, atol=1e-4)


def test_rows_that_lie_apart():
    """A row stride of 126 floats, which is no multiple of 32 bytes."""
    x = torch.randn(9, 126)
    f = Function(lambda x: x[:, 3:70] * 2)
    compiled = aicc.compile(f, (x,), target="ascendc")
    torch.testing.assert_close(compiled(x), f(x))


def test_one_kernel_serves_twenty_sizes():
    rows = torch.export.Dim("rows", min=1, max=4096)
    model = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Softmax(-1)).eval()
    exported = torch.export.export(model, (torch.randn(5, 16),), dynamic_shapes=({0: rows},))
    compiled = aicc.compile(exported, target="ascendc")
    source = compiled.source
    for n in (*range(1, 18), 33, 100, 1000):
        x = torch.randn(n, 16)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
    assert compiled.source == source


def test_products_of_bytes():
    """They go to the cube unit as bytes; sums become numbers on the vector unit."""
    rng = np.random.default_rng(0)
    a, b = (
        torch.from_numpy(rng.integers(-128, 128, s).astype(np.int8)) for s in ((33, 40), (40, 24))
    )
    f = Function(lambda a, b: (a.int() @ b.int()).float() * 0.25 + 1)
    compiled = aicc.compile(f, (a, b), target="ascendc")
    torch.testing.assert_close(compiled(a, b), f(a, b))
    assert "CubeFormat::ND, int8_t" in compiled.source and "SetValue" not in compiled.source


class ChannelsLast(nn.Module):
    """A convolution of images whose channels lie last."""

    def __init__(self, conv: nn.Module):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(
    "conv, size",
    [
        (nn.Conv2d(3, 16, 3, stride=2), (2, 21, 17)),
        (nn.Conv2d(3, 24, 7, stride=2, padding=3), (1, 32, 30)),
        (nn.Conv2d(3, 16, 3, padding=1), (3, 9, 5)),
        (nn.Conv2d(1, 16, 5, padding=2), (2, 8, 40)),
        (nn.Conv2d(5, 16, (1, 3), dilation=2), (1, 7, 40)),
    ],
    ids=["strided", "large", "small", "one channel", "dilated"],
)
def test_first_layers_with_channels_last(conv, size, dtype):
    """All that a tile needs of an image with few channels is one copy, not one for each place."""
    n, h, w = size
    x = torch.randn(n, h, w, conv.in_channels).to(dtype)
    model = ChannelsLast(conv).to(dtype).eval()
    compiled = aicc.compile(model, (x,), target="ascendc")
    tolerance = 1e-2 if dtype == torch.float16 else 1e-4
    torch.testing.assert_close(compiled(x), model(x), rtol=tolerance, atol=tolerance)
    kernel = compiled.source.split("class ConvKernel")[1].split("__global__")[0]
    copies = kernel.split("void CopyInK")[1].split("EnQue")[0]
    assert "DataCopyPad" in copies and "for (" not in copies


# ---------------------------------------------------------------------- counters


def test_each_tensor_is_read_and_written_once():
    counters = run("gelu_norm").counters
    (kernel,) = counters.values()
    size = 13 * 126 * 4
    moved = {name: tuple(traffic) for name, traffic in kernel["tensors"].items()}
    assert moved["out"] == (0, size)
    whole = [name for name, (read, _) in moved.items() if read == size]
    assert len(whole) == 1
    weights = [read for name, (read, _) in moved.items() if name not in ("out", *whole)]
    assert all(read <= 13 * 126 * 4 for read in weights)


def test_queues_are_double_buffered():
    """With more programs than cores each tile goes to the other buffer of its queue."""
    x = torch.randn(1_000_000)
    compiled = aicc.compile(Function(lambda x: torch.exp(x) + 1), (x,), target="ascendc")
    compiled(x)
    (kernel,) = compiled._program._emulated.counters.values()  # type: ignore[attr-defined]
    for buffers, taken, alternated in kernel["queues"].values():
        assert buffers == 2 and taken > 20
        assert alternated >= taken - kernel["blocks"]


# ---------------------------------------------------------------------- what is printed

OWN = {
    *(
        "Init",
        "Process",
        "CopyIn",
        "Compute",
        "CopyOut",
        "Sync",
        "Quotient",
        "Rest",
        "Larger",
        "Smaller",
    ),
    *("ShiftedLeft", "ShiftedRight", "floordiv", "mod", "static_cast", "for", "if", "while"),
    *(
        "sizeof",
        "return",
        "AICC_LAUNCH",
        "AICC_LAUNCH_MIX",
        "defined",
        "model_arena",
        "model_run",
        "bytes",
        "__mix__",
    ),
    *("switch", "memcpy", "PipeBarrier", "launch", "model_refuse", "fprintf", "abort"),
}


def calls_in(source: str):
    """Names of calls with their numbers of arguments."""
    text = re.sub(r"//[^\n]*", "", re.sub(r"\"[^\"]*\"", "text", source))
    for found in re.finditer(r"([A-Za-z_]\w*)(?:<[\w:, ]*>)?\(", text):
        depth, at, commas, empty = 1, found.end(), 0, True
        while depth and at < len(text):
            c = text[at]
            depth += (c in "([{") - (c in ")]}")
            commas += depth == 1 and c == ","
            empty = empty and (depth == 0 or c.isspace())
            at += 1
        yield found.group(1), 0 if empty else commas + 1


@pytest.mark.parametrize("name", cases())
def test_every_call_is_in_the_table(name):
    check_calls(printed(name)[0].source)


@pytest.mark.parametrize("name", ["softmax", "linear"])
def test_every_call_of_operators_is_in_the_table(name):
    program = printed(name)[0].in_form("custom_op")
    sources = [text.decode() for file, text in program.files(()).items() if file.endswith("cpp")]
    check_calls("\n".join(sources), "chip")


def check_calls(source: str, *names: str) -> None:
    own = {m.group(1) for m in re.finditer(r"\b(?:class|struct) (\w+)", source)} | set(names)
    own |= {m.group(1) for m in re.finditer(r"\b(\w+)\([^()]*\) \{", source)} | OWN
    own |= {m.group(1) for m in re.finditer(r"#define (\w+)\(", source)}
    for call, count in calls_in(source):
        if call in CALLS:
            assert count in CALLS[call].counts, f"{call} with {count} arguments"
        else:
            known = call in own or call.endswith("Params") or call.startswith("Tile")
            assert known, f"{call} isn't in the table"
    types = r"\b(T[A-Z]\w+|\w+Tensor|\w*Params|HardEvent|RoundMode|[A-Z]+MODE)\b"
    for used in re.findall(types, source):
        known = used in TYPES or used in CALLS or used.startswith(("Tile", "SetTensor"))
        assert known, f"{used} isn't in the table"


def test_sources_are_the_same_each_time():
    model, inputs = cases()["attention"]
    sources = {aicc.compile(model, inputs, target="ascendc").source for _ in range(2)}
    assert len(sources) == 1


def test_what_can_not_be_expressed_is_named():
    x = torch.randn(3, 4, dtype=torch.float64)
    with pytest.raises(Exception, match=r"exp.*f64"):
        aicc.compile(Function(torch.exp), (x,), target="ascendc")
    with pytest.raises(Exception, match="cumsum"):
        aicc.compile(Function(lambda x: x.cumsum(0)), (torch.randn(5),), target="ascendc")


# ---------------------------------------------------------------------- the unified buffer


def tiles(*spans: tuple[int, int, int]) -> list[Local]:
    return [
        Local(f"t{i}", "float", (elements,), 8, start=start, end=end)
        for i, (start, end, elements) in enumerate(spans)
    ]


def test_parts_are_used_again():
    a, b, c = found = tiles((0, 2, 64), (1, 3, 64), (2, 4, 64))
    assert place(found) == 2 * a.bytes
    assert (a.offset, b.offset, c.offset) == (0, a.bytes, 0)


def test_tiles_that_live_together_lie_apart():
    rng = np.random.default_rng(0)
    for _ in range(50):
        spans = [
            (s := int(rng.integers(0, 20)), s + int(rng.integers(1, 9)), int(rng.integers(1, 300)))
            for _ in range(12)
        ]
        found = tiles(*spans)
        total = place(found)
        for i, x in enumerate(found):
            assert x.offset + x.bytes <= total and x.offset % 32 == 0
            for y in found[:i]:
                together = x.start < y.end and y.start < x.end
                apart = x.offset + x.bytes <= y.offset or y.offset + y.bytes <= x.offset
                assert apart or not together


def test_every_kernel_fits():
    for name in cases():
        for printer in printed(name)[0].printers.values():
            assert printer.budget.total <= UB_BYTES
