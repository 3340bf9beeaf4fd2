"""Builds are kept, shared and complete or absent; errors say what is wrong."""

from __future__ import annotations

import ctypes
import subprocess
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aicc
from aicc.backends.cpp import build
from aicc.backends.cpp.build import Builder, BuildError, grouped, products_of
from aicc.errors import CompileError
from aicc.ir import graph
from aicc.ir.dtypes import dtype_of, f32, i32
from aicc.ir.types import tensor
from tests.backends.test_kernels import module_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AICC_CACHE", str(tmp_path))
    return tmp_path / "cpp"


SOURCE = 'extern "C" int answer() { return 42; }\n'


def test_what_was_built_is_not_built_again(cache, monkeypatch):
    first = Builder("x86-64").library({"answer": SOURCE})
    monkeypatch.setattr(subprocess, "run", None)
    assert Builder("x86-64").library({"answer": SOURCE}) == first
    assert not [p for p in cache.iterdir() if p.name.startswith(".making")]


def test_kernels_are_shared_between_models(cache):
    Builder("x86-64").library({"answer": SOURCE})
    objects = len(list(cache.glob("*.o")))
    other = SOURCE.replace("answer", "question")
    Builder("x86-64").library({"answer": SOURCE, "question": other})
    assert len(list(cache.glob("*.o"))) == objects + 1


def called(path, symbol) -> int:
    return getattr(ctypes.CDLL(str(path)), symbol)()


def test_kernels_of_one_name_are_told_apart(cache):
    """Objects hold several kernels; another model's of the same name isn't taken for this one's."""
    b, names = Builder("x86-64"), [f"answer{i}" for i in range(20)]

    def all_of(base: int) -> dict[str, str]:
        numbers = ((n, str(base + i)) for i, n in enumerate(names))
        return {n: SOURCE.replace("42", number).replace("answer", n) for n, number in numbers}

    first, second = b.library(all_of(0)), b.library(all_of(100))
    mixed = {**dict(list(all_of(0).items())[:10]), **dict(list(all_of(100).items())[10:])}
    objects = len(list(cache.glob("*.o")))
    third = b.library(mixed)
    assert len(list(cache.glob("*.o"))) == objects
    for i, name in enumerate(names):
        values = [called(path, name) for path in (first, second, third)]
        assert values == [i, 100 + i, i if i < 10 else 100 + i]


def test_a_library_has_no_other_models_kernels(cache):
    """Though its objects may."""
    texts = {n: SOURCE.replace("answer", n) for n in ("answer", "question")}
    texts["question"] = 'extern "C" const char* question() { return "forty-two, or so"; }'
    b = Builder("x86-64")
    assert b"forty-two, or so" in b.library(texts).read_bytes()
    alone = b.library({"answer": texts["answer"]}).read_bytes()
    assert b"question" not in alone and b"answer" in alone


@given(st.lists(st.integers(1, 900), max_size=60), st.integers(1, 32))
def test_groups_hold_each_kernel_once(sizes, cores):
    sources = {f"k{i}": "x" * n for i, n in enumerate(sizes)}
    with mock.patch("os.cpu_count", lambda: cores):
        groups = grouped(sources)
    assert sorted(s for g in groups for s in g) == sorted(sources)
    assert all(groups) and all(g[s] == sources[s] for g in groups for s in g)
    assert len(groups) >= min(len(sources), cores)


def test_headers_are_precompiled_once(cache, monkeypatch):
    """Though every source of the runtime, and kernels beside them, wait for them."""
    made, plain = [], Builder.make_headers
    monkeypatch.setattr(
        Builder, "make_headers", lambda b, goal: made.append(goal) or plain(b, goal)
    )
    Builder("x86-64").library({"answer": f"// matrix<float> places<float> matrix<f16>\n{SOURCE}"})
    assert len(made) == 1


def test_the_compilers_errors_are_shown(cache):
    with pytest.raises(BuildError, match="nonsense"):
        Builder("x86-64").library({"bad": "int f() { return nonsense; }"})
    assert not list(cache.glob("*.so"))


def test_unknown_instruction_sets_are_refused():
    with pytest.raises(BuildError, match="unknown instruction set 'mips'"):
        Builder("mips")


def test_without_a_compiler(monkeypatch):
    monkeypatch.setattr("aicc.backends.cpp.backend.compiler", lambda: None)
    with pytest.raises(CompileError, match="needs a C\\+\\+ compiler"):
        aicc.compile(torch.nn.ReLU(), (torch.ones(2),), target="cpp")


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("AICC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.cache_folder() == tmp_path / "aicc"


def test_an_artifact_has_source_and_libraries(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.GELU()).eval()
    x = torch.randn(3, 8)
    compiled = aicc.compile(model, (x,), target="cpp")
    path = compiled.save(tmp_path / "out", ["x86-64", "x86-64-v3"])
    assert 'extern "C" void' in (path / "kernels.cpp").read_text()
    for arch in ("x86-64", "x86-64-v3"):
        assert (path / f"kernels.{arch}.so").read_bytes().startswith(b"\x7fELF")
    again = aicc.load(path)
    assert again.target == "cpp"
    np.testing.assert_allclose(again(x), model(x).detach(), rtol=1e-5, atol=1e-6)


def test_sources_are_the_same_each_time():
    model = torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.Softmax(-1)).eval()
    sources = {aicc.compile(model, (torch.ones(3, 8),), target="cpp").source for _ in range(2)}
    assert len(sources) == 1


class Zeros(torch.nn.Module):
    def forward(self, x, y):
        return torch.where(x > 1, x, 0.0), torch.where(y > 1, y, -0.0)


def test_zeros_of_either_sign_are_kernels_of_their_own():
    """What tells kernels apart tells -0.0 from 0.0, which compare equal."""
    compiled = aicc.compile(Zeros(), (torch.zeros(4), torch.zeros(4)), target="cpp")
    plus, minus = compiled(torch.zeros(4), torch.zeros(4))
    assert not torch.signbit(plus).any() and torch.signbit(minus).all()


def test_only_the_products_that_a_model_has_are_built():
    text = "dot(acc, 80, matrix<bf16>{x, 8, 1}, matrix<bf16>{y, 8, 1}, 8, 8, 8, false);"
    assert products_of([text, "int x;"]) == ["dot_bf16.cpp"]
    both = ["panels<float>{x, 8}", "places<float>{x, a, b}"]
    assert products_of(both) == ["dot.cpp", "places.cpp"]
    assert products_of(["exp(x)"]) == []


@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "f64", "i8", "f8E4M3FN", "f8E5M2"])
def test_products_of_every_type_are_linked(name):
    """Each is in a source of its own."""
    dtype = dtype_of(name)
    out = {"i8": i32}.get(name, f32 if dtype.bits == 8 else dtype)
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-3, 4, s).astype(dtype.np) for s in ((9, 5), (5, 7)))

    def body(builder, x, y):
        return [builder.emit(graph.MatMul, x, y, out_dtype=out)]

    (got,) = aicc.compile(
        module_of(body, tensor((9, 5), name), tensor((5, 7), name)), target="cpp"
    ).run([x, y])
    np.testing.assert_array_equal(
        got.astype(np.float32), x.astype(np.float32) @ y.astype(np.float32)
    )
