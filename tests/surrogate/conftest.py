"""Hypothesis without deadlines: the first call of a numerical library is slow, and time is no subject of these tests.

And a small real model set that surrogates are judged on: merges of networks fine-tuned on scikit-learn's digits.
"""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_digits
from torch import Tensor

from surrogate.design import initial_design
from surrogate.history import History, Outputs, Scale

settings.register_profile("numerics", deadline=None, max_examples=40)
settings.load_profile("numerics")

EXAMPLES = 400


@dataclass(frozen=True)
class MergedDigits:
    """Merges of three fine-tunes at 160 coefficient vectors, measured on three tasks: `outputs` 3 x 160 x m x 10, `targets` m."""

    coefficients: Tensor
    outputs: Tensor
    targets: Tensor
    gram: Tensor

    def score(self, outputs: Tensor) -> Tensor:
        return (outputs.argmax(-1) == self.targets).double().mean(-1)

    def smooth(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(-1)[..., torch.arange(EXAMPLES), self.targets].mean(-1)

    def history(self, task: int, trials: int, with_outputs: bool = True) -> History:
        """The first `trials` merges, as measured on `task`."""
        values = self.outputs[task, :trials]
        outputs = Outputs(values, self.score, self.smooth) if with_outputs else None
        return History(self.coefficients[:trials], self.score(values), Scale(0.0, 1.0, True, EXAMPLES, True), outputs)

    def held_out(self, task: int) -> tuple[Tensor, Tensor]:
        """Coefficients and measured scores of the last 100 merges."""
        return self.coefficients[-100:], self.score(self.outputs[task, -100:])


@pytest.fixture(scope="session")
def merged_digits() -> MergedDigits:
    inputs, targets = load_digits(return_X_y=True)
    pixels, classes = torch.tensor(inputs / 8 - 1, dtype=torch.float32), torch.tensor(targets)
    # three views of one digit: as it is, turned on its side, in negative
    views = [pixels, pixels.view(-1, 8, 8).transpose(1, 2).flatten(1), -pixels]
    generator = torch.Generator().manual_seed(0)
    sizes = {"hidden": (32, 64), "bias": (32,), "head": (10, 32)}
    start = {name: 0.1 * torch.randn(size, generator=generator) for name, size in sizes.items()}
    shown = slice(EXAMPLES, None)
    base = _trained(start, torch.cat([view[shown] for view in views]), classes[shown].repeat(3), steps=150)
    tuned = [_trained(base, view[shown], classes[shown], steps=60) for view in views]
    vectors = {name: torch.stack([each[name] - base[name] for each in tuned]) for name in base}
    flat = torch.cat([vector.flatten(1) for vector in vectors.values()], 1).double()
    coefficients = initial_design(3, 1, 160, 0, 0.0, 1.0)
    merges = [{name: base[name] + torch.tensordot(c, vectors[name], 1) for name in base} for c in coefficients.float()]
    outputs = torch.stack([torch.stack([_logits(merge, view[:EXAMPLES]) for merge in merges]) for view in views])
    return MergedDigits(coefficients, outputs.half(), classes[:EXAMPLES], flat @ flat.T)


def _logits(weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    return torch.tanh(inputs @ weights["hidden"].T + weights["bias"]) @ weights["head"].T


def _trained(start: dict[str, Tensor], inputs: Tensor, classes: Tensor, steps: int) -> dict[str, Tensor]:
    """Gradient descent by hand: importing torch's optimisers costs more than the training."""
    weights = start
    for _ in range(steps):
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
        loss = torch.nn.functional.cross_entropy(_logits(leaves, inputs), classes)
        slopes = torch.autograd.grad(loss, list(leaves.values()))
        weights = {name: value.detach() - 0.5 * slope for (name, value), slope in zip(leaves.items(), slopes, strict=True)}
    return weights
