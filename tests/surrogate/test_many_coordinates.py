"""Sixty-four coordinates, eight groups of layers of eight fine-tunes: what surrogates choose there is good where it is measured."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from surrogate.aims import Knee, Normalisation
from surrogate.choose import choose
from surrogate.design import initial_design
from surrogate.history import History, Outputs, Scale
from surrogate.select import SurrogateName, fit_surrogate

TUNED, LAYERS, WIDTH, EXAMPLES, TRIALS = 8, 8, 16, 200, 80
TASKS = 2

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class LayeredSet:
    """A residual network of eight layers, eight fine-tunes of it, four a task, and the tasks it is measured on."""

    base: Weights
    tuned: list[Weights]
    inputs: list[Tensor]
    targets: list[Tensor]

    def logits(self, coefficients: Tensor, task: int) -> Tensor:
        """m x 10 at 64 coefficients: the groups of the first fine-tune first."""
        shares = coefficients.float().view(TUNED, LAYERS)
        merged = {
            name: base + sum(shares[n, layer] * (self.tuned[n][name] - base) for n in range(TUNED))
            for name, base in self.base.items()
            for layer in [int(name) if name.isdigit() else LAYERS - 1]
        }
        return run(merged, self.inputs[task])

    def score(self, task: int) -> Callable[[Tensor], Tensor]:
        return lambda outputs: (outputs.argmax(-1) == self.targets[task]).double().mean(-1)

    def history(self, points: Tensor, task: int) -> History:
        outputs = torch.stack([self.logits(point, task) for point in points])
        given = Outputs(outputs.half(), self.score(task), targets=self.targets[task], smooth=lambda rows: rows)
        return History(points, self.score(task)(outputs), Scale(0.0, 1.0, True, EXAMPLES, True), given)


def run(weights: Weights, inputs: Tensor) -> Tensor:
    hidden = inputs @ weights["in"]
    for layer in range(LAYERS):
        hidden = hidden + 0.5 * torch.tanh(hidden @ weights[str(layer)])
    return hidden @ weights["out"]


def trained(start: Weights, inputs: Tensor, targets: Tensor, steps: int) -> Weights:
    weights = start
    for _ in range(steps):
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
        slopes = torch.autograd.grad(torch.nn.functional.cross_entropy(run(leaves, inputs), targets), list(leaves.values()))
        weights = {name: value.detach() - 0.3 * slope for (name, value), slope in zip(leaves.items(), slopes, strict=True)}
    return weights


@pytest.fixture(scope="module")
def layered() -> LayeredSet:
    pixels, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(pixels / 8 - 1, dtype=torch.float32), torch.tensor(labels)
    views = [inputs, inputs.flip(1)]
    draw = torch.Generator().manual_seed(0)
    sizes = {"in": (64, WIDTH), **{str(layer): (WIDTH, WIDTH) for layer in range(LAYERS)}, "out": (WIDTH, 10)}
    start = {name: torch.randn(size, generator=draw) / size[0] ** 0.5 for name, size in sizes.items()}
    base = trained(start, torch.cat([view[EXAMPLES:] for view in views]), targets[EXAMPLES:].repeat(TASKS), 120)
    # each on its own quarter of the examples of a view
    parts = [(view, slice(EXAMPLES + part, None, 4)) for view in views for part in range(4)]
    tuned = [trained(base, view[rows], targets[rows], 60) for view, rows in parts]
    return LayeredSet(base, tuned, [view[:EXAMPLES] for view in views], [targets[:EXAMPLES]] * TASKS)


@pytest.fixture(scope="module")
def histories(layered: LayeredSet) -> list[History]:
    points = initial_design(TUNED, LAYERS, TRIALS, 0, 0.0, 1.0)
    return [layered.history(points, task) for task in range(TASKS)]


def reached_by(name: SurrogateName, layered: LayeredSet, histories: list[History]) -> float:
    """The mean score, measured, at the knee that surrogates choose."""
    fits = {str(task): fit_surrogate(name, history) for task, history in enumerate(histories)}
    aim = Knee(Normalisation(torch.ones(TASKS, dtype=torch.float64), torch.zeros(TASKS, dtype=torch.float64)))
    found = choose(fits, dict.fromkeys(fits, True), aim, (), 0.0, 1.0, TUNED * LAYERS)
    return sum(float(layered.history(found[None], task).scores) for task in range(TASKS)) / TASKS


def tried_by(histories: list[History]) -> Tensor:
    return torch.stack([history.scores for history in histories]).mean(0)


@pytest.mark.parametrize("name", ["output", "gp"])
def test_what_is_chosen_is_as_good_as_the_best_trial(layered: LayeredSet, histories: list[History], name: SurrogateName) -> None:
    assert reached_by(name, layered, histories) >= float(tried_by(histories).max())
