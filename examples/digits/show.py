"""Prints the digit that each sample was taken for, beside its label: show.py FOLDER_OF_OUTPUTS."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def main() -> None:
    labels = np.load(Path(__file__).resolve().parent / "labels.npy")
    probabilities = np.load(Path(sys.argv[1]) / "probabilities.npy")
    digits = probabilities.argmax(axis=1)
    print("sample  digit  probability  label")
    for i, (digit, label) in enumerate(zip(digits, labels, strict=True)):
        print(f"{i:6}  {digit:5}  {probabilities[i, digit]:11.4f}  {label:5}")
    print(f"{(digits == labels).sum()} of {len(labels)} right")


if __name__ == "__main__":
    main()
