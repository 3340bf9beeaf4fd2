"""The `freeze` option of torch.compile: parameters as constants, which follow what is written."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

OPTIONS = {"freeze": True, "fallback": "error"}


class Net(nn.Module):
    """A convolution with its normalisation, a view of an input, a parameter as it is."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3))), self.head.bias


@pytest.fixture(params=[False, True], ids=["images", "channels last"])
def net(request):
    torch.manual_seed(0)
    net = Net().eval()
    net.norm.get_buffer("running_mean").uniform_(-1, 1)
    if request.param:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def check(model, compiled, x):
    with torch.no_grad():
        for found, want in zip(compiled(x), model(x), strict=True):
            torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)


def test_parameters_are_constants(net, tmp_path):
    compiled = torch.compile(net, backend="aicc", options={**OPTIONS, "dump_ir": str(tmp_path)})
    check(net, compiled, torch.randn(2, 3, 9, 9))
    (first,) = tmp_path.glob("*-inference/00-*.mlir")
    (last,) = sorted(tmp_path.glob("*-inference/*.mlir"))[-1:]
    assert first.read_text().count("graph.constant") >= 6
    assert "batch_norm" not in last.read_text()


def test_what_is_written_is_followed(net):
    x = torch.randn(2, 3, 9, 9)
    compiled = torch.compile(net, backend="aicc", options=OPTIONS)
    check(net, compiled, x)
    with torch.no_grad():
        net.conv.weight.mul_(2)
    check(net, compiled, x)
    net.load_state_dict({k: v * 0.5 for k, v in net.state_dict().items()})
    check(net, compiled, x)
    net.head.weight.data = torch.randn(4, 8)
    check(net, compiled, x)


def test_parameters_that_change_always_are_inputs_again(net):
    x = torch.randn(2, 3, 9, 9)
    compiled = torch.compile(net, backend="aicc", options=OPTIONS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(6):
            with torch.no_grad():
                net.head.weight.fill_(i)
            check(net, compiled, x)
    assert sum("change again and again" in str(w.message) for w in caught) == 1


def test_buffers_that_the_model_writes_stay_inputs(net, tmp_path):
    """Running statistics, where a model in training mode is called without gradients."""
    net.train()
    other = Net().train()
    other.load_state_dict(net.state_dict())
    compiled = torch.compile(net, backend="aicc", options={**OPTIONS, "dump_ir": str(tmp_path)})
    for _ in range(3):
        check(other, compiled, torch.randn(2, 3, 9, 9))
    torch.testing.assert_close(net.norm.running_mean, other.norm.running_mean)
    assert net.norm.num_batches_tracked == 3
    assert len(list(tmp_path.iterdir())) == 1  # it was compiled once


def test_training_has_its_parameters_as_inputs(net):
    x = torch.randn(2, 3, 9, 9)
    compiled = torch.compile(net, backend="aicc", options=OPTIONS)
    compiled(x)[0].sum().backward()
    found = net.conv.weight.grad.clone()
    net.zero_grad()
    net(x)[0].sum().backward()
    torch.testing.assert_close(found, net.conv.weight.grad, rtol=1e-4, atol=1e-5)


def test_beside_verify(net):
    compiled = torch.compile(net, backend="aicc", options={**OPTIONS, "verify": True})
    check(net, compiled, torch.randn(2, 3, 9, 9))
