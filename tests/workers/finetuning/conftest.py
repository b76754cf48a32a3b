"""Fine-tunings on scikit-learn's digits that take seconds."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

from app.domain.finetune import AdapterSpec, FinetuneSpec, TrainingSpec
from app.domain.study import FactoryArchitecture
from app.domain.task import SplitShares, TaskSpec

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, 2, 1)
        self.norm = nn.GroupNorm(2, 6)
        self.lin = nn.Linear(96, 20)

    def forward(self, images):
        return torch.tanh(self.lin(torch.relu(self.norm(self.conv(images))).flatten(1)))
"""


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder with net.py, base.safetensors, heads.safetensors and two tasks' data: the digits upright, and turned."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "net.py").write_text(NET)
    images, labels = (torch.tensor(part[:600]) for part in load_digits(return_X_y=True))
    images = (images / 16).float().view(-1, 1, 8, 8)
    base, head = pretrained(images, labels)
    save_file(base.state_dict(), folder / "base.safetensors")
    heads = {f"{task}.{name}": part.clone() for task in ("upright", "turned") for name, part in head.state_dict().items()}
    save_file(heads, folder / "heads.safetensors")
    for task, seen in (("upright", images), ("turned", images.rot90(1, (2, 3)))):
        save_file({"inputs": seen.contiguous(), "targets": labels}, folder / f"{task}.safetensors")
    return folder


def pretrained(images, labels):
    """A base that reads upright digits, and its head."""
    namespace: dict = {}
    exec(NET, namespace)  # noqa: S102
    torch.manual_seed(0)
    base, head = namespace["Net"](), nn.Linear(20, 10)
    optimiser = torch.optim.AdamW([*base.parameters(), *head.parameters()], lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(base(images)), labels).backward()
        optimiser.step()
    return base, head


@pytest.fixture
def spec_of(digits):
    """The spec of a fine-tuning on one of the tasks; adapter and training as asked."""

    def build(kind="llora", task="upright", seed=0, **training):
        head = str(digits / f"heads.safetensors#{task}")
        return FinetuneSpec(
            base=str(digits / "base.safetensors"),
            architecture=FactoryArchitecture(str(digits / "net.py"), "Net"),
            task=TaskSpec("task", str(digits / f"{task}.safetensors"), "accuracy", SplitShares(0.5, 0.5, 0), head),
            adapter=AdapterSpec(kind, rank=4, alpha=8.0, seed=seed),
            training=replace(TrainingSpec(epochs=3, learning_rate=1e-2, batch=32), **training),
        )

    return build
