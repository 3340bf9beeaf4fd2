"""Launches replayed: by a stand-in for CUDA graphs, whose replay runs what was recorded again."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

from aicc.backends.triton.graphs import Replayed  # noqa: E402


class Again:
    """Keeps a function with the very tensors that it read, and writes to those that it gave."""

    def __init__(self, fails: bool = False):
        self.fails, self.recorded, self.replayed = fails, 0, 0

    def records(self, x):
        return x.dtype.is_floating_point

    def record(self, run):
        if self.fails:
            raise RuntimeError("waits for the device")
        self.recorded += 1
        outputs = run()

        def replay():
            self.replayed += 1
            for out, new in zip(outputs, run(), strict=True):
                out.copy_(new)

        return replay, outputs


def scaled(w, x, n=None):
    return [w * x + (0 if n is None else int(n)), x.sum()]


def program(**options):
    recorder = Again(**options)
    return Replayed(scaled, recorder, kept=2), recorder


def same(got, want):
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


def test_what_moves_is_copied_and_what_stays_is_read_where_it_is():
    run, recorder = program()
    w = torch.randn(4)
    for _ in range(6):
        x = torch.randn(4)
        kept = [x]  # noqa: F841
        same(run(w, x), scaled(w, x))
    assert recorder.recorded == 1 and recorder.replayed == 5
    w += 1  # in place: a step of an optimizer
    x = torch.randn(4)
    same(run(w, x), scaled(w, x))
    assert recorder.recorded == 1


def test_what_stayed_and_moves_later_is_recorded_again():
    run, recorder = program()
    w, x = torch.randn(4), torch.randn(4)
    for _ in range(3):
        same(run(w, x), scaled(w, x))
    others = [torch.randn(4) for _ in range(4)]
    for other in others:
        same(run(w, other), scaled(w, other))
    assert recorder.recorded == 2
    same(run(w, x), scaled(w, x))


def test_results_are_the_callers_own():
    run, _ = program()
    w, x = torch.randn(4), torch.randn(4)
    found = [run(w, x) for _ in range(4)]
    want = scaled(w, x)
    for first, _ in found:
        first.zero_()
    same(run(w, x), want)


def test_sizes_and_numbers_on_the_host_choose_the_recording():
    run, recorder = program()
    w = torch.randn(4)
    for n in (1, 2, 1, 2, 1, 2):
        n, x = torch.tensor(n), torch.randn(4)
        same(run(w, x, n), scaled(w, x, n))
    for size in (1, 4, 1, 4):
        x = torch.randn(size)
        w1 = w[:1].clone()
        same(run(w1, x), scaled(w1, x))
    assert len(run.recordings) == 2 and recorder.recorded >= 4


def test_what_cannot_be_recorded_runs_as_before():
    run, recorder = program(fails=True)
    w, x = torch.randn(4), torch.randn(4)
    run(w, x)
    with pytest.warns(UserWarning, match="waits for the device"):
        same(run(w, x), scaled(w, x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(run(w, x), scaled(w, x))
    assert recorder.recorded == 0
