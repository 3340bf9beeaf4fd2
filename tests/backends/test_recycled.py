"""Memory that is used again, and only when nobody can see it any more."""

from __future__ import annotations

import gc
import threading

import numpy as np
import torch

import aicc
from aicc.backends.recycled import LEAST, RECYCLER, Recycler

SHAPE = (LEAST // 8, 4)


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def test_memory_comes_back_when_the_last_view_is_gone():
    pool = Recycler()
    a = pool.empty(SHAPE, np.float32)
    assert a.shape == SHAPE and a.dtype == np.float32 and a.flags.writeable
    first = address(a)
    assert first % 64 == 0
    view = torch.from_numpy(a)[3:]
    del a
    b = pool.empty(SHAPE, np.float32)
    assert address(b) != first, "a tensor still shows it"
    del view
    gc.collect()
    c = pool.empty(SHAPE, np.int32)
    assert address(c) == first and pool.idle == 0


def test_no_more_is_kept_than_said():
    size = SHAPE[0] * SHAPE[1] * 4
    pool = Recycler(most=2 * size)
    arrays = [pool.empty(SHAPE, np.float32) for _ in range(5)]
    del arrays
    assert pool.idle == 2 * size and len(pool.free[size]) == 2


def test_sizes_that_nobody_asks_for_go_first():
    pool = Recycler(most=4 * LEAST)
    for size in range(LEAST, 3 * LEAST, 1000):
        del_me = pool.empty((size,), np.uint8)
        del del_me
        assert pool.idle <= pool.most
        assert pool.idle == sum(s * len(found) for s, found in pool.free.items())
    assert size in pool.free and LEAST not in pool.free
    large = pool.empty((5 * LEAST,), np.uint8)
    del large
    assert 5 * LEAST not in pool.free


def test_small_arrays_are_numpys_own():
    pool = Recycler()
    assert pool.empty((3,), np.float64).base is None
    assert pool.empty((0, 1 << 40), np.float64).shape == (0, 1 << 40)


def test_threads_never_share():
    pool, wrong = Recycler(), []

    def work(number: int) -> None:
        for _ in range(300):
            a = pool.empty(SHAPE, np.int64)
            a[:] = number
            if not (a == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_results_of_calls_stay_apart():
    """What a model gave stays as it was when it runs again."""
    x = torch.randn(300, 300)
    model = aicc.compile(torch.nn.Sequential(torch.nn.ReLU()), (x,), target="cpp")
    first = model.run([x.numpy()])[0]
    kept = first.copy()
    second = model.run([-x.numpy()])[0]
    np.testing.assert_array_equal(first, kept)
    assert address(first) != address(second)
    before = address(second)
    del second
    assert address(model.run([x.numpy()])[0]) == before
    assert RECYCLER.idle >= 0
