"""A model set small enough that its studies take seconds, and can be made to stand still."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from tests.e2e.serving import MARK

NET = """\
import ctypes
import os
import time
from pathlib import Path

from torch import nn

MOOD = Path("{folder}/mood")


class Net(nn.Linear):
    def __init__(self):
        super().__init__(64, 10)

    def forward(self, images):
        if "{mark}" in os.environ:
            time.sleep(0.15)
            while MOOD.exists():
                if MOOD.read_text() == "grip":
                    ctypes.PyDLL(None).usleep(120_000_000)  # one long call that never lets go of the interpreter
                time.sleep(0.05)
        return super().forward(images)
"""

MANIFEST = """\
name: tiny
models:
  base: {folder}/base.safetensors
  tuned: {{upright: {folder}/upright.safetensors, inverted: {folder}/inverted.safetensors}}
architecture: {{factory: "{folder}/net.py:Net"}}
tasks:
  upright: {{data: {folder}/upright-data.safetensors, metric: accuracy}}
  inverted: {{data: {folder}/inverted-data.safetensors, metric: accuracy}}
method: {{name: map, surrogate: quadratic, budget: 12, seed: 0}}
front: {{points: 10, verify: 3}}
baselines: [average]
"""


def write_model_set(folder: Path) -> Path:
    """A linear classifier of digits tuned on the images as they are and inverted; the manifest's path, whose paths are absolute.

    In a service each pass takes a moment, and while a file `mood` lies beside the manifest it stands still; when it
    says `grip`, in a call that holds the interpreter.
    """
    digits = load_digits()
    images, labels = torch.tensor(digits.images.reshape(-1, 64) / 16.0).float(), torch.tensor(digits.target)
    draw = torch.Generator().manual_seed(0)
    base = {"weight": torch.randn(10, 64, generator=draw) / 20, "bias": torch.zeros(10)}
    save_file(base, folder / "base.safetensors")
    for task, seen in {"upright": images, "inverted": 1 - images}.items():
        save_file({"inputs": seen[900:1200].contiguous(), "targets": labels[900:1200].contiguous()}, folder / f"{task}-data.safetensors")
        save_file(tuned(base, seen[:900], labels[:900]), folder / f"{task}.safetensors")
    (folder / "net.py").write_text(NET.format(folder=folder, mark=MARK))
    manifest = folder / "study.yaml"
    manifest.write_text(MANIFEST.format(folder=folder))
    return manifest


def tuned(base, images, labels):
    weight, bias = (base[name].clone().requires_grad_() for name in ("weight", "bias"))
    optimiser = torch.optim.Adam([weight, bias], lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(torch.nn.functional.linear(images, weight, bias), labels).backward()
        optimiser.step()
    return {"weight": weight.detach(), "bias": bias.detach()}
