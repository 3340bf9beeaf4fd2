"""CUDA graphs: a program's launches are recorded once for each set of shapes, then replayed.

A replay is one call of the driver, whatever number of kernels it starts. What is recorded has fixed
addresses, so that inputs are copied to where the recording reads them, but those that come at one
address again and again, as weights do: the recording reads them where they are, and is only used
while they are there.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Run = Callable[..., Sequence[Any]]
"""A program: tensors in, tensors out."""

KEPT = 16
"""Recordings that are kept, of the sets of shapes used last."""


class Recorder(Protocol):
    """Records what a function starts on a device."""

    def records(self, x: Any) -> bool:
        """Whether a tensor is on the device: others are read while it records, and never again."""
        ...

    def record(self, run: Callable[[], Sequence[Any]]) -> tuple[Callable[[], None], Sequence[Any]]:
        """A function that does it again, and the tensors that it writes each time.

        Raises RuntimeError for what can't be recorded.
        """
        ...


class CudaRecorder:
    """Records by `torch.cuda.CUDAGraph`; tensors made meanwhile lie in the graph's own pool."""

    def records(self, x: Any) -> bool:
        return x.is_cuda

    def record(self, run: Callable[[], Sequence[Any]]) -> tuple[Callable[[], None], Sequence[Any]]:
        import torch

        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            outputs = run()
        return graph.replay, outputs


@dataclass
class Recording:
    """A program at one set of shapes: how it is done again, what it reads and writes."""

    replay: Callable[[], None]
    copied: dict[int, Any]
    """The tensors that inputs, by position, are copied to."""
    fixed: dict[int, int]
    """The addresses of inputs that are read where they are."""
    outputs: Sequence[Any]

    def fits(self, inputs: Sequence[Any]) -> bool:
        return all(inputs[i].data_ptr() == at for i, at in self.fixed.items())

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        for i, own in self.copied.items():
            own.copy_(inputs[i])
        self.replay()
        return [o.clone() for o in self.outputs]


class Replayed:
    """A program whose launches are replayed from the third call at the same shapes on.

    The first call compiles kernels, the second shows which inputs have stayed where they were and
    is recorded; where one of those comes from elsewhere later, the recording is made again with a
    copy of it. Inputs on the host, sizes above all, are part of what a recording is for. A program
    that can't be recorded, since it waits for numbers from the device, runs as it always did, with
    one warning. Results are the caller's own.
    """

    def __init__(self, run: Run, recorder: Recorder | None = None, kept: int = KEPT):
        self.run, self.kept = run, kept
        self.recorder: Recorder = recorder if recorder is not None else CudaRecorder()
        self.recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        self.seen: OrderedDict[Hashable, list[int]] = OrderedDict()
        self.works = True

    def __call__(self, *inputs: Any) -> list[Any]:
        if not self.works:
            return list(self.run(*inputs))
        key = tuple(map(self.key, inputs))
        recording = self.recordings.get(key)
        if recording is not None and recording.fits(inputs):
            self.recordings.move_to_end(key)
            return recording(inputs)
        places = [x.data_ptr() for x in inputs]
        before = self.seen.pop(key, None)
        self.seen[key] = places
        if len(self.seen) > 4 * self.kept:
            self.seen.popitem(last=False)
        if before is None:
            return list(self.run(*inputs))
        moved = {i for i, (a, b) in enumerate(zip(places, before, strict=True)) if a != b}
        if recording is not None:
            moved |= recording.copied.keys()
        return self.recorded(key, inputs, moved)

    def key(self, x: Any) -> Hashable:
        """What a recording is for: layouts and types, and the numbers of what is on the host."""
        about = (tuple(x.shape), tuple(x.stride()), x.dtype, x.device)
        return about if self.recorder.records(x) else (*about, x.numpy().tobytes())

    def recorded(self, key: Hashable, inputs: Sequence[Any], moved: set[int]) -> list[Any]:
        """Record with copies of what has moved; the outputs."""
        on_device = [i for i, x in enumerate(inputs) if self.recorder.records(x)]
        copied = {i: inputs[i].clone() for i in on_device if i in moved}
        fixed = {i: inputs[i].data_ptr() for i in on_device if i not in moved}
        given = [copied.get(i, x) for i, x in enumerate(inputs)]
        try:
            replay, outputs = self.recorder.record(lambda: self.run(*given))
        except RuntimeError as e:
            self.works = False
            warnings.warn(f"no CUDA graph: {e}", stacklevel=3)
            return list(self.run(*inputs))
        recording = Recording(replay, copied, fixed, outputs)
        self.recordings[key] = recording
        if len(self.recordings) > self.kept:
            self.recordings.popitem(last=False)
        return recording(inputs)
