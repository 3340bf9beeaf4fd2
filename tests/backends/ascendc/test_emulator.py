"""Mutations of right kernels: each makes the emulator fail, and say where."""

from __future__ import annotations

import re

import pytest

from aicc.backends.ascendc.emulate import EmulationError
from aicc.backends.c_compiler import BuildError
from tests.backends.ascendc.models import printed, run


def mutated(name: str, pattern: str, replacement: str, count: int = 1) -> str:
    source = printed(name)[0].source
    found, n = re.subn(pattern, replacement, source, count=count)
    assert n == count, f"{pattern} isn't in the source"
    return found


MUTATIONS = {
    "a DeQue is dropped": (
        r"LocalTensor<float> (\w+) = (in\w+)\.DeQue<float>\(\);",
        r"LocalTensor<float> \1 = \2.AllocTensor<float>();",
        r"Copy: queue in\w+: a tensor is read that DeQue didn't give",
    ),
    "an EnQue is dropped": (r"in\w+\.EnQue\(\w+\);", "", r"queue in\w+: DeQue while it is empty"),
    "a FreeTensor is dropped": (
        r"in\w+\.FreeTensor\(\w+\);",
        "",
        r"queue in\w+: .*FreeTensor is missing",
    ),
    "a tensor is used after it was freed": (
        r"(out\w+)\.FreeTensor\((\w+)\);",
        r"\1.FreeTensor(\2); \2.SetValue(0, 1.0f);",
        r"queue out\w+: a tensor is used after FreeTensor",
    ),
    "a copy is too long for its tensor": (
        r", 504, 0, 0, 0\}, DataCopyPadExtParams",
        ", 504, 0, 1, 0}, DataCopyPadExtParams",
        r"DataCopyPad: buffer in\w+ has \d+ bytes",
    ),
    "a copy runs past the end of device memory": (
        r"DataCopyPad\(outGm\[(.*?)\], (\w+), \{",
        r"DataCopyPad(outGm[(\1) + 1600], \2, {",
        r"GM tensor out: elements .* are accessed",
    ),
    "a copy begins before a tensor": (
        r"DataCopyPad\(outGm\[(.*?)\], (\w+), \{",
        r"DataCopyPad(outGm[(\1) - 99999], \2, {",
        r"GM tensor out",
    ),
    "the unified buffer overflows by 32 bytes": (
        r"pipe->InitBuffer\(pool, (\d+)\);",
        r"pipe->InitBuffer(pool, \1); TBuf<> more; "
        r"pipe->InitBuffer(more, 196608 - \1 - QUEUES + 32);",
        r"the unified buffer has 196608 bytes, 196640 are asked for: .*pool",
    ),
    "an address isn't aligned": (
        r"WholeReduceMax\((\w+), (\w+),",
        r"WholeReduceMax(\1, \2[1],",
        r"WholeReduceMax: buffer \w+ at byte \d+ isn't aligned to 32",
    ),
    "a step goes to blocks past a tile": (
        r"Brcb\((\w+), (\w+), 1, \{1, 8\}\);",
        r"Brcb(\1, \2, 99, {1, 8});",
        r"Brcb: buffer pool has \d+ bytes from there",
    ),
    "a mask is longer than a repeat": (
        r"Copy\((\w+), input, 64,",
        r"Copy(\1, input, 65,",
        r"Copy: a mask of 65 elements isn't between 1 and 64",
    ),
    "a flag is set that nothing waits for": (
        r"(Exp\(.*?\);)",
        r"\1 SetFlag<HardEvent::V_S>(0);",
        r"a flag is set at the end of the kernel",
    ),
    "a flag is waited for that nothing sets": (
        r"(Exp\(.*?\);)",
        r"\1 WaitFlag<HardEvent::V_S>(0);",
        r"WaitFlag without a SetFlag",
    ),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_mutations_are_found(what):
    pattern, replacement, message = MUTATIONS[what]
    queues = sum(next(iter(printed("softmax")[0].printers.values())).budget.queues.values())
    source = mutated("softmax", pattern, replacement.replace("QUEUES", str(queues)))
    with pytest.raises(EmulationError, match=f"kernel softmax_core, block 0.*{message}"):
        run("softmax", source)


def test_unchanged_kernels_pass():
    run("softmax", printed("softmax")[0].source)


def test_pad_lanes_are_not_read():
    """A reduction that runs over the end of a row meets what no copy wrote."""
    source = mutated("softmax", r"126 - c\), i0_count", "128 - c), i0_count")
    message = r"WholeReduceMax: buffer pool: element 62 is read, which nothing was written to"
    with pytest.raises(EmulationError, match=message):
        run("softmax", source)


def test_the_scalar_unit_waits_for_the_vector_unit():
    source = mutated("argmax", r"Sync<HardEvent::MTE2_S>\(\);", "")
    with pytest.raises(EmulationError, match=r"pipe S reads what pipe MTE2 wrote without waiting"):
        run("argmax", source)


def test_comparisons_need_whole_repeats():
    source = mutated("where", r"(Compare\(\w+, \w+, \w+, CMPMODE::GT), (\d+)\)", r"\1, 70)")
    with pytest.raises(EmulationError, match=r"Compare: 70 elements .* aren't a multiple"):
        run("where", source)


@pytest.mark.parametrize(
    "pattern, replacement, message",
    [
        (r"Exp\(.*?\);", "Add(bad, bad, bad, 8);", "takes int16_t, half"),
        (r"Exp\(.*?\);", "Cast(bad, wide, RoundMode::CAST_RINT, 8);", "no such pair of types"),
    ],
)
def test_types_that_a_call_does_not_take_are_no_program(pattern, replacement, message):
    tensors = "LocalTensor<bfloat16_t> bad; LocalTensor<int64_t> wide; "
    source = mutated("softmax", pattern, tensors + replacement)
    with pytest.raises(BuildError, match=message):
        run("softmax", source)


def test_products_take_tiles_that_fit_the_cube_unit():
    source = mutated("linear", r"t\.matmul\.baseK = \d+;", "t.matmul.baseK = 4096;")
    with pytest.raises(EmulationError, match="Matmul: L0A has 65536 bytes"):
        run("linear", source)
    source = mutated("linear", r"\.SetTail\(.*?\);", ".SetTail(9999, 1, 1);")
    with pytest.raises(EmulationError, match="SetTail beyond the tiling's sizes"):
        run("linear", source)
