"""PyTorch's operator database through ``torch.compile(backend="aicc")``, against eager.

Every op gets a verdict: native (all of it was compiled), fallback (a part ran eagerly), wrong,
eager (Dynamo makes no graph of it), or untraceable (torch.compile fails with its own backend too).
The verdicts go to ``build/op_db/<op>.json``; ``python tests/torch/op_table.py`` makes a table.

AICC_OP_SAMPLES bounds the samples per op and dtype (default 8; 0: all).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import warnings
from pathlib import Path

import pytest
import torch

pytest.importorskip("expecttest")
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

import aicc.torch_backend as backend

pytestmark = [pytest.mark.torch_suite, pytest.mark.timeout(1800)]

SAMPLES = int(os.environ.get("AICC_OP_SAMPLES", "8")) or None
TABLE = Path(__file__).parents[2] / "build" / "op_db"

RANDOM = re.compile(
    r"rand|dropout|bernoulli|multinomial|normal|uniform|cauchy|exponential|geometric|log_normal"
    r"|empty|new_empty|empty_like|empty_strided|empty_permuted|rrelu|_fill_"
)
"""Ops whose values are random or undefined: only shapes and dtypes are compared."""


def tensors(value):
    return [t for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


def copies(sample):
    def fresh(t):
        if not isinstance(t, torch.Tensor):
            return t
        return t.detach().clone().requires_grad_(t.requires_grad)

    move = pytree.tree_map
    return move(fresh, sample.input), move(fresh, tuple(sample.args)), move(fresh, sample.kwargs)


def outcome(fn, sample, with_grad):
    """Outputs and, if asked for, gradients of all inputs; or the exception."""
    x, args, kwargs = copies(sample)
    torch.manual_seed(0)
    out = fn(x, *args, **kwargs)
    leaves = [t for t in tensors(out) if t.requires_grad]
    grads = []
    if with_grad and leaves:
        wanted = [t for t in tensors((x, args, kwargs)) if t.requires_grad]
        total = torch.stack([t.abs().sum() if t.is_complex() else t.sum() for t in leaves]).sum()
        grads = torch.autograd.grad(total, wanted, allow_unused=True)
    return out, grads


AMBIGUOUS = ("topk", "kthvalue", "mode", "median", "nanmedian", "sort", "argsort", "msort")
"""Ops that may give any of several indices where elements are equal: values are compared."""


def grads_of(result):
    return [g for g in result[1] if g is not None]


def same(op_name, a, b, exact_values):
    ta, tb = tensors(a), tensors(b)
    assert len(ta) == len(tb)
    if op_name in AMBIGUOUS and len(ta) == 2:
        ta, tb = ta[:1], tb[:1]
    for x, y in zip(ta, tb, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape, f"{x.dtype}{x.shape} {y.dtype}{y.shape}"
        if exact_values:
            torch.testing.assert_close(y, x, rtol=1e-3, atol=1e-4, equal_nan=True)


def judge(op, sample, with_grad, fallbacks):
    """The verdict on one sample, and what went wrong."""
    name = op.name
    exact = not RANDOM.search(name)
    try:
        want = outcome(op.op, sample, with_grad)
    except Exception:
        return "skipped", ""
    torch._dynamo.reset()
    fallbacks.clear()
    graphs = 0

    def counting(gm, inputs):
        nonlocal graphs
        graphs += 1
        return backend.aicc_backend(gm, inputs)

    try:
        got = outcome(torch.compile(op.op, backend=counting), sample, with_grad)
    except Exception as e:
        torch._dynamo.reset()
        try:
            outcome(torch.compile(op.op, backend="aot_eager"), sample, with_grad)
        except Exception:
            return "untraceable", ""
        return "wrong", f"raises {type(e).__name__}: {str(e)[:300]}"
    try:
        same(name, want[0], got[0], exact)
        same(name, grads_of(want), grads_of(got), exact)
    except AssertionError as e:
        torch._dynamo.reset()
        try:  # where aot_eager differs from eager as well, it isn't ours
            other = outcome(torch.compile(op.op, backend="aot_eager"), sample, with_grad)
            same(name, want[0], other[0], exact)
        except Exception:
            return "untraceable", ""
        return "wrong", str(e)[:300]
    if fallbacks:
        return "fallback", ", ".join(sorted(set(fallbacks)))
    return ("native" if graphs else "eager"), ""


@pytest.mark.parametrize("op", op_db, ids=lambda o: o.full_name)
def test_op(op, monkeypatch):
    fallbacks: list[str] = []
    monkeypatch.setattr(backend, "report_fallbacks", fallbacks.extend)
    verdicts: dict[str, list[str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dtype in (torch.float32, torch.int64):
            if dtype not in op.supported_dtypes("cpu"):
                continue
            grad = op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
            samples = op.sample_inputs("cpu", dtype, requires_grad=grad)
            for i, sample in enumerate(itertools.islice(samples, SAMPLES)):
                verdict, why = judge(op, sample, grad, fallbacks)
                verdicts.setdefault(verdict, []).append(f"{dtype} #{i} {why}".strip())
    TABLE.mkdir(parents=True, exist_ok=True)
    (TABLE / f"{op.full_name}.json").write_text(json.dumps(verdicts, indent=1))
    assert not verdicts.get("wrong"), verdicts["wrong"][:3]
