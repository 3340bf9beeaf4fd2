"""Trains a small CNN on scikit-learn's handwritten digits and exports it to ONNX.

The model and the samples are committed: run this only to make them anew, with
`tests/setup_env.sh examples && .venv/bin/python examples/digits/train.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
SEED = 0
EPOCHS = 40
SAMPLES = 8


def named(**layers: nn.Module) -> nn.Sequential:
    """A sequence whose layers have names: the ONNX nodes and the compiler's IR carry them on."""
    return nn.Sequential(OrderedDict(layers))


def block(channels_in: int, channels_out: int) -> nn.Sequential:
    return named(
        conv=nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        norm=nn.BatchNorm2d(channels_out),
        relu=nn.ReLU(),
    )


def make_model() -> nn.Sequential:
    """An 8x8 image with values from 0 to 1, [batch, 1, 8, 8] -> logits, [batch, 10]."""
    return named(
        block1=block(1, 16),
        block2=block(16, 32),
        pool=nn.MaxPool2d(2),
        block3=block(32, 64),
        mean=nn.AvgPool2d(4),
        flatten=nn.Flatten(),
        classifier=nn.Linear(64, 10),
    )


def load_split() -> list[torch.Tensor]:
    """Four parts: training images, held-out images, training labels, held-out labels."""
    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    images = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    split = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=SEED)
    return [torch.from_numpy(part) for part in split]


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    batches = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=EPOCHS * len(batches)
    )
    model.train()
    for _ in range(EPOCHS):
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def export(model: nn.Module, path: Path) -> None:
    """Batch norms stay nodes of their own, so that the compiler has something to fold."""
    torch.onnx.export(
        named(**dict(model.named_children()), softmax=nn.Softmax(dim=1)).eval(),
        (torch.zeros(2, 1, 8, 8),),
        path,
        dynamo=False,
        opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=["image"],
        output_names=["probabilities"],
        dynamic_axes={"image": {0: "batch"}, "probabilities": {0: "batch"}},
    )


def main() -> None:
    torch.manual_seed(SEED)
    train_images, images, train_labels, labels = load_split()
    model = make_model()
    train(model, train_images, train_labels)
    with torch.no_grad():
        accuracy = (model(images).argmax(dim=1) == labels).float().mean().item()
    print(f"accuracy on {len(labels)} held-out images: {accuracy:.2%}")
    export(model, HERE / "digits.onnx")
    np.save(HERE / "samples.npy", images[:SAMPLES].numpy())
    np.save(HERE / "labels.npy", labels[:SAMPLES].numpy())


if __name__ == "__main__":
    main()
