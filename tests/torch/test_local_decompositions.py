"""Decomposing call by call gives what tracing the whole program anew gives."""

from __future__ import annotations

import operator
import random

import pytest
import torch
from torch import nn

import aicc
from aicc.frontends.torch.decompositions import decomposition_table
from aicc.frontends.torch.exported import exported_program
from aicc.frontends.torch.local_decompositions import NotLocal, decomposed
from aicc.frontends.torch.table import IMPORTERS
from tests.function_module import Function

F = nn.functional


def local(model, *inputs, **options):
    program = torch.export.export(model.eval(), inputs, **options)
    return decomposed(program, decomposition_table())


def agrees(f, *inputs):
    """The function on inputs that it may not change, beside what is compiled."""
    want = f(*[x.clone() for x in inputs])
    found = aicc.compile(Function(f), inputs, target="numpy")(*[x.clone() for x in inputs])
    torch.testing.assert_close(found, want)


def calls(program):
    return [str(n.target) for n in program.graph.nodes if n.op == "call_function"]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu, self.out = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, x):
        y = self.relu(self.norm(self.conv(x)))
        y = self.norm(self.conv(y))
        y += x
        y = self.relu(y)
        return self.out(F.adaptive_avg_pool2d(y, 1).flatten(1)).softmax(-1)


MODELS = {
    "block": (Block(), (torch.randn(2, 4, 8, 8),)),
    "encoder": (
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True),
        (torch.randn(2, 5, 16),),
    ),
    "splits": (
        Function(lambda x: [p * i for i, p in enumerate(x.chunk(3, -1))]),
        (torch.randn(4, 6),),
    ),
    "no tensors": (Function(lambda x: x + torch.arange(4).float().repeat(2)), (torch.randn(3, 8),)),
}


@pytest.mark.parametrize("name", MODELS)
def test_operators_with_importers(name):
    model, inputs = MODELS[name]
    program = torch.export.export(model.eval(), inputs)
    made = decomposed(program, decomposition_table())
    assert not any("_." in c for c in calls(made))  # nothing is changed in place
    names = {c.removeprefix("aten.") for c in calls(made)} - {str(operator.getitem)}
    assert names <= {*IMPORTERS, "_assert_tensor_metadata.default"}
    torch.testing.assert_close(made.module()(*inputs), model(*inputs))


def test_a_kind_of_call_is_traced_once(monkeypatch):
    from aicc.frontends.torch import local_decompositions as module

    traced = []
    real = module.make_fx
    monkeypatch.setattr(module, "make_fx", lambda *a, **k: traced.append(1) or real(*a, **k))
    layers = nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)) for _ in range(6)])
    local(layers, torch.randn(3, 8))
    assert len(traced) == 2


def test_inputs_keep_their_names():
    class Model(nn.Module):
        def forward(self, input, id):
            return F.linear(input, id)

    made = local(Model(), torch.randn(2, 3), torch.randn(4, 3))
    assert made.graph_signature.user_inputs == ("input", "id")
    assert [n.name for n in made.graph.nodes if n.op == "placeholder"] == ["input", "id"]


# ---------------------------------------------------------------------- changes in place


def in_place_new(x):
    y = x * 2
    y.add_(1).relu_()
    return y, y + x


def in_place_and_later(x):
    y = x + 1
    z = y * 3
    y.mul_(2)
    return y, z, y - z


def view_of_changed(x):
    y = x * 2
    v = y[0]
    y.add_(1)
    return v + 1


def changed_view(x):
    y = x * 2
    y[:, 1] = 5.0
    return y


def changed_input(x):
    x = x.view(-1)
    y = x.clone()
    y.masked_fill_(y > 0, 0.5)
    return y


def changed_through_no_copy(x):
    y = x * 2
    same = y.expand(3, 4)
    same.sub_(1)
    return y


@pytest.mark.parametrize("f", [in_place_new, in_place_and_later, changed_input])
def test_new_tensors_may_be_changed(f):
    x = torch.randn(3, 4)
    assert not any("_." in c for c in calls(local(Function(f), x)))
    agrees(f, x)


@pytest.mark.parametrize("f", [view_of_changed, changed_view, changed_through_no_copy])
def test_what_others_show_is_left_to_a_whole_trace(f):
    x = torch.randn(3, 4)
    with pytest.raises(NotLocal, match="other tensors may show"):
        local(Function(f), x)
    agrees(f, x)


STEPS = (
    lambda a, b: a + b,
    lambda a, b: a.add_(b),
    lambda a, b: a.relu_(),
    lambda a, b: a.mul_(0.5),
    lambda a, b: a.reshape(2, 6).flip(0).reshape(3, 4),
    lambda a, b: a.t().contiguous().t(),
    lambda a, b: a[:2].add_(1),
    lambda a, b: a.clone(),
    lambda a, b: a.sub_(b).tanh_(),
    lambda a, b: torch.where(a > b, a, b),
)


@pytest.mark.parametrize("seed", range(24))
def test_random_programs(seed):
    """Values that are changed in place, shown by views, and read later."""
    rng = random.Random(seed)
    plan = [(rng.randrange(len(STEPS)), rng.random(), rng.random()) for _ in range(8)]

    def f(x, y):
        values = [x * 1.0, y + 0.0]
        for step, first, second in plan:
            full = [v for v in values if v.shape == (3, 4)]
            a, b = full[int(first * len(full))], full[int(second * len(full))]
            values.append(STEPS[step](a, b))
        return tuple(v + 0 for v in values)

    agrees(f, torch.randn(3, 4), torch.randn(3, 4))


# ---------------------------------------------------------------------- what is left alone


def test_unknown_sizes_are_left_to_a_whole_trace():
    rows = torch.export.Dim("rows", min=2, max=64)
    model, x = nn.Linear(4, 4), torch.randn(3, 4)
    with pytest.raises(NotLocal, match="a size isn't known"):
        local(model, x, dynamic_shapes=({0: rows},))
    assert exported_program(model, (x,)).graph is not None


def test_control_flow_is_left_to_a_whole_trace():
    def f(x):
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    with pytest.raises(NotLocal, match="no plain operator"):
        local(Function(f), torch.randn(3))
