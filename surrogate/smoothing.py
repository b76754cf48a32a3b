"""Expected scores without the metric's steps, on the scale of the score: what solvers climb and choices are made on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from surrogate.design import sobol_points
from surrogate.history import History, Outputs
from surrogate.kriging import Kriging, krige
from surrogate.links import Link, link_for
from surrogate.mixtures import Metric, Mixtures, Moved

EMULATED_POINTS = 256
# Share of the prior variance that is taken for steps of the metric, tried in turn.
STEP_SHARES: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


class Smoothing(Protocol):
    """The smoothed score of one task, differentiable in the coefficients."""

    def score(self, coefficients: Tensor, weights: Tensor) -> Tensor:
        """Smoothed scores, n, at `coefficients` (n x D), whose weights on the trials are `weights` (n x K)."""

    def of_outputs(self) -> Metric | None:
        """The smoothed score as a function of outputs, where it is one: it can then share the pass that the metric makes."""


@dataclass(frozen=True)
class SmoothMetric:
    """The metric without its steps, moved onto the scale of the score by a line under the link: g(score) ≈ intercept + slope·g(smooth)."""

    outputs: Mixtures
    metric: Metric
    link: Link
    intercept: float
    slope: float

    def score(self, coefficients: Tensor, weights: Tensor) -> Tensor:
        return self.outputs.differentiable_score(weights, self.of_outputs())

    def of_outputs(self) -> Metric:
        return Moved(self.metric, self._calibrated)

    def _calibrated(self, smooth: Tensor) -> Tensor:
        return self.link.inverse(self.intercept + self.slope * self.link.forward(smooth.double()))


@dataclass(frozen=True)
class EmulatedScore:
    """For metrics that have no smooth form: a kriging of predicted scores at many points, which levels their steps out."""

    process: Kriging
    scores: Tensor

    def score(self, coefficients: Tensor, weights: Tensor) -> Tensor:
        return self.process.weights(coefficients) @ self.scores

    def of_outputs(self) -> None:
        return None


def smoothing_of(history: History, outputs: Mixtures, given: Outputs, process: Kriging, seed: int) -> Smoothing:
    """The smooth metric of `given` on the scale of its scores, or where there is none an emulation of the predicted scores."""
    if given.smooth is not None:
        return _calibrated_on_trials(history, outputs, given.smooth)
    return _emulated(history.coefficients, outputs, given.score, process, seed)


def _calibrated_on_trials(history: History, outputs: Mixtures, smooth: Metric) -> SmoothMetric:
    link = link_for(history.scale, history.scores)
    trials = torch.eye(len(history.scores), dtype=torch.float64)
    x, y = link.forward(outputs.score(trials, smooth)[0]), link.forward(history.scores)
    spread = float((x - x.mean()).square().mean())
    slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else 1.0
    # a smooth form that falls where its metric rises tells nothing about scale: keep its own
    slope = slope if slope > 0 else 1.0
    return SmoothMetric(outputs, smooth, link, float(y.mean() - slope * x.mean()), slope)


def _emulated(trials: Tensor, outputs: Mixtures, metric: Metric, process: Kriging, seed: int) -> EmulatedScore:
    points = torch.cat([trials, _around(trials, seed)])
    scores = outputs.score(process.weights(points), metric)[0]
    tried = [krige(replace(process.kernel, noise=torch.tensor(share, dtype=torch.float64)), points) for share in STEP_SHARES]
    errors = [float((each.loo_weights() @ scores - scores).square().mean()) for each in tried]
    return EmulatedScore(tried[errors.index(min(errors))], scores)


def _around(trials: Tensor, seed: int) -> Tensor:
    """Scrambled Sobol points in the box that the trials span."""
    low, high = trials.min(0).values, trials.max(0).values
    return low + (high - low) * sobol_points(trials.shape[1], EMULATED_POINTS, seed)
