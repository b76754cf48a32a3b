"""Trains the demo's model set: one base, three fine-tunes that pull it in different directions, a frozen head for each task.

The tasks are scikit-learn's digits as they are, turned by a quarter, and inverted. Half of the images train, the other half is the data
that merges are measured on.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

from app.demo import net

MANIFEST = """\
name: digits
models:
  base: base.safetensors
  tuned: {upright: upright.safetensors, turned: turned.safetensors, inverted: inverted.safetensors}
architecture:
  factory: net.py:Net            # features; each task puts its own frozen linear head on top
tasks:
  upright: {data: data/upright.safetensors, head: heads.safetensors#upright, metric: accuracy}
  turned: {data: data/turned.safetensors, head: heads.safetensors#turned, metric: accuracy}
  inverted: {data: data/inverted.safetensors, head: heads.safetensors#inverted, metric: accuracy}
method: {name: map, budget: 30, seed: 0}
front: {points: 60, verify: 8}
"""

_VIEWS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "upright": lambda images: images,
    "turned": lambda images: np.rot90(images, axes=(1, 2)),
    "inverted": lambda images: 1.0 - images,
}


@dataclass(frozen=True)
class _Examples:
    inputs: Tensor
    targets: Tensor


def write_model_set(folder: Path, announce: Callable[[str], None]) -> Path:
    """Trains and writes base, fine-tunes, heads, data and manifest into `folder`; returns the manifest's path. Deterministic."""
    train, held_out = _load()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    heads = nn.ModuleDict({task: nn.Linear(64, 10) for task in _VIEWS})
    base = _pretrain(train, heads)
    save_file(base.state_dict(), folder / "base.safetensors")
    announce(f"base      {_describe(base, heads, held_out)}")
    for task in _VIEWS:
        tuned = _finetune(base, heads[task], train[task], seed=1 + list(_VIEWS).index(task))
        save_file(tuned.state_dict(), folder / f"{task}.safetensors")
        announce(f"{task:<9} {_describe(tuned, heads, held_out)}")
        examples = held_out[task]
        save_file({"inputs": examples.inputs, "targets": examples.targets}, folder / "data" / f"{task}.safetensors")
    save_file(heads.state_dict(), folder / "heads.safetensors")
    shutil.copy(Path(net.__file__), folder / "net.py")
    manifest = folder / "study.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    return manifest


def _load() -> tuple[dict[str, _Examples], dict[str, _Examples]]:
    digits = load_digits()
    images, labels = (digits.images / 16.0).astype(np.float32), digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    halves = (order[: len(order) // 2], order[len(order) // 2 :])
    train, held_out = ({task: _view(task, images[half], labels[half]) for task in _VIEWS} for half in halves)
    return train, held_out


def _view(task: str, images: np.ndarray, labels: np.ndarray) -> _Examples:
    seen = np.ascontiguousarray(_VIEWS[task](images)).reshape(len(labels), 64)
    return _Examples(torch.from_numpy(seen), torch.from_numpy(labels))


def _pretrain(train: Mapping[str, _Examples], heads: nn.ModuleDict) -> net.Net:
    """A base that has seen a little of every task."""
    torch.manual_seed(0)
    base = net.Net()
    for head in heads.values():
        assert isinstance(head, nn.Linear)
        head.reset_parameters()
    optimiser = torch.optim.AdamW([*base.parameters(), *heads.parameters()], lr=1e-3)
    for _ in range(40):
        loss = sum((_loss(base, heads[task], _share(examples, 300)) for task, examples in train.items()), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return base


def _finetune(base: net.Net, head: nn.Module, examples: _Examples, seed: int) -> net.Net:
    """A copy of the base that knows one task well; the head stays as it is."""
    torch.manual_seed(seed)
    tuned = net.Net()
    tuned.load_state_dict(base.state_dict())
    optimiser = torch.optim.AdamW(tuned.parameters(), lr=1e-3)
    for _ in range(20):
        for batch in torch.split(torch.randperm(len(examples.targets)), 64):
            optimiser.zero_grad()
            _loss(tuned, head, _Examples(examples.inputs[batch], examples.targets[batch])).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return tuned


def _share(examples: _Examples, count: int) -> _Examples:
    return _Examples(examples.inputs[:count], examples.targets[:count])


def _loss(network: nn.Module, head: nn.Module, examples: _Examples) -> Tensor:
    return nn.functional.cross_entropy(head(network(examples.inputs)), examples.targets)


def _describe(network: nn.Module, heads: nn.ModuleDict, held_out: Mapping[str, _Examples]) -> str:
    with torch.inference_mode():
        shares = {
            task: float((heads[task](network(examples.inputs)).argmax(1) == examples.targets).float().mean())
            for task, examples in held_out.items()
        }
    return "  ".join(f"{task} {share:.3f}" for task, share in shares.items())
