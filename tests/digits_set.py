"""A model set that trains in a blink: one hidden layer on scikit-learn's digits, as they are, inverted, or turned."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

VIEWS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "upright": lambda images: images,
    "inverted": lambda images: 1.0 - images,
    "turned": lambda images: images.rot90(1, (1, 2)),
}
NET = """\
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(64, 24), nn.Tanh())
"""
TASK = "  {name}: {{data: {name}-data.safetensors, head: heads.safetensors#{name}, metric: accuracy}}\n"
MANIFEST = """\
name: tiny
models:
  base: base.safetensors
  tuned: {{{tuned}}}
architecture: {{factory: "net.py:Net"}}
tasks:
{tasks}method: {{name: map, surrogate: quadratic, budget: {budget}, seed: 0}}
front: {{points: 10, verify: 3}}
baselines: [average, task_arithmetic]
"""


def write_digits_set(folder: Path, budget: int = 12, **views: str) -> Path:
    """Trains and writes one tuned model and one task for each of `views` (task = name of its view); the manifest's path."""
    digits = load_digits()
    images, labels = torch.tensor(digits.images / 16.0).float(), torch.tensor(digits.target)
    seen = {task: VIEWS[view](images).reshape(-1, 64).contiguous() for task, view in views.items()}
    torch.manual_seed(0)
    base, heads = _network(), nn.ModuleDict({task: nn.Linear(24, 10) for task in views})
    save_file(base.state_dict(), folder / "base.safetensors")
    save_file(heads.state_dict(), folder / "heads.safetensors")
    for task, inputs in seen.items():
        save_file(_tune(base, heads[task], inputs[:900], labels[:900]), folder / f"{task}.safetensors")
        save_file({"inputs": inputs[900:1200].clone(), "targets": labels[900:1200].clone()}, folder / f"{task}-data.safetensors")
    (folder / "net.py").write_text(NET)
    manifest = folder / "study.yaml"
    tuned = ", ".join(f"{task}: {task}.safetensors" for task in views)
    manifest.write_text(MANIFEST.format(tuned=tuned, tasks="".join(TASK.format(name=task) for task in views), budget=budget))
    return manifest


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 24), nn.Tanh())


def _tune(base: nn.Module, head: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    tuned = _network()
    tuned.load_state_dict(base.state_dict())
    optimiser = torch.optim.Adam(tuned.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(tuned(inputs)), labels).backward()
        optimiser.step()
    return tuned.state_dict()
