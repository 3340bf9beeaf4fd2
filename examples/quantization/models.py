"""Three small models, trained here in minutes, to be quantized: a CNN, a ViT and a language model.

All are seeded. Weights are kept in `out/` beside this file: delete it to train anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SEED = 0


@dataclass
class Trained:
    """A model, what it is calibrated on and what it is judged by: arrays of samples and answers."""

    name: str
    model: nn.Module
    samples: np.ndarray
    labels: np.ndarray
    test_samples: np.ndarray
    test_labels: np.ndarray

    @property
    def example(self) -> tuple[torch.Tensor]:
        """Inputs to import the model with: two samples."""
        return (torch.from_numpy(self.samples[:2]),)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        parts = self.qkv(x).view(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class DigitsCNN(nn.Module):
    """[N, 1, 8, 8], values from 0 to 1 → logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 16, 32, 64]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths[1:])
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            if i == 1:
                x = F.max_pool2d(x, 2)
        return self.head(x.mean((2, 3)))


class DigitsViT(nn.Module):
    """[N, 1, 8, 8] → logits [N, 10], by 16 patches of 2 × 2."""

    def __init__(self, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.places = nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 4, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class TextModel(nn.Module):
    """Bytes [N, length] → logits of the next byte [N, length, 128]."""

    def __init__(self, width: int = 128, depth: int = 3, length: int = 128) -> None:
        super().__init__()
        self.bytes = nn.Embedding(128, width)
        self.places = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 4, causal=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 128)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.bytes(ids) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def digits() -> list[np.ndarray]:
    """Images and labels to train on, and those held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    images = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    parts = train_test_split(images, labels, test_size=0.3, stratify=labels, random_state=SEED)
    x, x_test, y, y_test = map(np.asarray, parts)
    return [x, y, x_test, y_test]


def text(length: int = 128, count: int = 4096) -> list[np.ndarray]:
    """Windows of this project's own sources and each next byte, and those of held-out files."""
    files = sorted(
        p for folder in ("aicc", "passes", "backends") for p in (ROOT / folder).rglob("*.py")
    )
    parts = []
    rng = np.random.default_rng(SEED)
    for chosen, windows in (
        ([p for i, p in enumerate(files) if i % 8], count),
        (files[::8], 128),
    ):
        joined = b"\n".join(p.read_bytes() for p in chosen)
        data = np.frombuffer(joined, np.uint8)
        data = data[data < 128].astype(np.int64)
        starts = rng.integers(0, len(data) - length - 1, windows)
        rows = data[starts[:, None] + np.arange(length + 1)]
        parts += [rows[:, :-1].copy(), rows[:, 1:].copy()]
    return parts


def fit(
    model: nn.Module, x: np.ndarray, y: np.ndarray, steps: int, batch: int, rate: float
) -> None:
    """AdamW with a warm-up and a cosine; cross-entropy over the last dim."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    draw = torch.Generator().manual_seed(SEED)
    inputs, answers = torch.from_numpy(x), torch.from_numpy(y)
    model.train()
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (batch,), generator=draw)
        logits = model(inputs[chosen])
        loss = F.cross_entropy(logits.flatten(0, -2), answers[chosen].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()


@dataclass(frozen=True)
class Plan:
    """How a model is trained."""

    make: Callable[[], nn.Module]
    data: Callable[[], list[np.ndarray]]
    steps: int
    batch: int
    rate: float
    calibrate_on: int


PLANS = {
    "digits-cnn": Plan(DigitsCNN, digits, 600, 64, 3e-3, 320),
    "digits-vit": Plan(DigitsViT, digits, 800, 64, 2e-3, 320),
    "text": Plan(TextModel, text, 700, 32, 3e-3, 64),
}


def trained(name: str) -> Trained:
    """A model of `PLANS`, trained now or before."""
    plan = PLANS[name]
    torch.manual_seed(SEED)
    model = plan.make()
    x, y, x_test, y_test = plan.data()
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()[:12]  # sources change
    kept = HERE / "out" / f"{name}-{digest}.pt"
    if kept.is_file():
        model.load_state_dict(torch.load(kept, weights_only=True))
        model.eval()
    else:
        fit(model, x, y, plan.steps, plan.batch, plan.rate)
        kept.parent.mkdir(exist_ok=True)
        torch.save(model.state_dict(), kept)
    n = plan.calibrate_on
    return Trained(name, model, x[:n], y[:n], x_test, y_test)
