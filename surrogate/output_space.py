"""The output-space surrogate: regress the network's outputs, which are smooth in the coefficients, and apply the real metric to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from surrogate.compiled import in_parallel, single_threaded
from surrogate.errors import FitFailedError, InvalidRequestError, UnidentifiedError
from surrogate.figures import r_squared, root_mean_square
from surrogate.history import Diagnostics, History, Prediction, Scale
from surrogate.kernel import prior_from_gram
from surrogate.kriging import Kriging, fit_kriging
from surrogate.margins import LeadMixtures, has_leads, leads_of, mixtures_of_outputs
from surrogate.mixtures import Metric, Mixtures
from surrogate.smoothing import Smoothing, smoothing_of

FEWEST_TRIALS = 3
# Coefficient vectors that a thread predicts at a time, where outputs are leads.
TOGETHER = 768

Refusal = FitFailedError | UnidentifiedError
"""Why one task's surrogate could not be had."""


@dataclass(frozen=True)
class OutputSpace:
    """One Gaussian process for all output columns of a task: a FittedSurrogate. Built by `fit_output_space`."""

    scale: Scale
    diagnostics: Diagnostics
    _process: Kriging = field(repr=False)
    _outputs: Mixtures = field(repr=False)
    _metric: Metric = field(repr=False)
    _smoothing: Smoothing = field(repr=False)
    _reach: float = field(repr=False)  # half width of the interval for one standard deviation of the outputs

    def predict(self, coefficients: Tensor) -> Prediction:
        """Scores at `coefficients`, n x D: the metric of the predicted outputs.

        The interval is for a merge measured on the trials' own examples. These are the same for every trial, so no binomial noise
        enters: what does is the deviation of the outputs from their prediction, and the step that one example makes.
        """
        whole = coefficients.detach()
        blocks = torch.split(whole, TOGETHER) if isinstance(self._outputs, LeadMixtures) else [whole]
        means, reaches, smoothed = (torch.cat(parts) for parts in zip(*in_parallel(self._predict, blocks), strict=True))
        return Prediction(means, self.scale.within(means - reaches), self.scale.within(means + reaches), smoothed)

    def _predict(self, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, half widths of their intervals, and smoothed scores, n each."""
        weights, variance = self._process.weights_and_variance(coefficients)
        reach = self._reach * variance.sqrt() + self.scale.half_step()
        smooth = self._smoothing.of_outputs()
        if smooth is not None:
            mean, smoothed = self._outputs.score(weights, self._metric, smooth)
            return mean, reach, smoothed
        return self._outputs.score(weights, self._metric)[0], reach, self._smoothing.score(coefficients, weights)

    def utility(self, coefficients: Tensor) -> Tensor:
        """The smoothed score turned so that larger is better, n; differentiable in `coefficients`, n x D."""
        smoothed = self._smoothing.score(coefficients, self._process.weights(coefficients))
        return smoothed if self.scale.maximize else -smoothed

    def draw(self, coefficients: Tensor, draws: int, seed: int) -> Tensor:
        """Scores of `draws` joint samples of the outputs' posterior, draws x n, at `coefficients` (n x D); for Thompson sampling.

        Columns covary as the trials' whitened outputs do, so that a sample stays a weighted sum of measured outputs.
        """
        weights = self._process.sample_weights(coefficients.detach(), draws, np.random.default_rng(seed))
        return self._outputs.score(weights.flatten(0, 1), self._metric)[0].view(draws, -1)


def fit_output_space(history: History, gram: Tensor | None = None, seed: int = 0) -> OutputSpace:
    """The output-space surrogate of one task's trials.

    `gram`: D x D, inner products of the task vectors (of their groups), the centre of the length scales' prior. `seed`: of the points
    at which a metric without a smooth form is emulated. Raises InvalidRequestError where the history has no outputs or `gram` does
    not fit, UnidentifiedError below three trials, FitFailedError when the numerics fail.
    """
    if history.outputs is None:
        raise InvalidRequestError("the output-space surrogate needs the outputs of the trials: choose gp or quadratic for scores alone")
    trials, dimension = history.coefficients.shape
    if trials < FEWEST_TRIALS:
        raise UnidentifiedError(f"length scales need {FEWEST_TRIALS} trials, there are {trials}", FEWEST_TRIALS, trials)
    given = leads_of(history.outputs)
    outputs = mixtures_of_outputs(given)
    moments = outputs.moments()
    with single_threaded():
        process = fit_kriging(history.coefficients, moments, prior_from_gram(dimension, gram))
        own = torch.cat([process.loo_weights(), process.weights(history.coefficients)])
    left_out, fitted = outputs.score(own, given.score)[0].chunk(2)
    return OutputSpace(
        scale=history.scale,
        diagnostics=_diagnose(history, process, fitted, left_out),
        _process=process,
        _outputs=outputs,
        _metric=given.score,
        _smoothing=smoothing_of(history, outputs, given, process, seed),
        _reach=_reach(history.scores - left_out, process.loo_variance(), dimension),
    )


def fit_output_spaces(histories: Sequence[History], gram: Tensor | None = None, seed: int = 0) -> list[OutputSpace | Refusal]:
    """Those of several tasks, side by side, or why a task's could not be had. Raises InvalidRequestError as for one task."""
    # what is too large for leads is read with all threads, one task after the other, so that memory stays bounded
    small = all(history.outputs is not None and has_leads(history.outputs) for history in histories)
    attempt = partial(_attempt, gram=gram, seed=seed)
    return in_parallel(attempt, histories) if small else [attempt(history) for history in histories]


def _attempt(history: History, gram: Tensor | None, seed: int) -> OutputSpace | Refusal:
    try:
        return fit_output_space(history, gram, seed)
    except (FitFailedError, UnidentifiedError) as refusal:
        return refusal


def _reach(errors: Tensor, variances: Tensor, dimension: int) -> float:
    """How far a score strays, at 95 %, for each standard deviation of its outputs: from the leave-one-out errors, K.

    Student's t, since a handful of trials says little about its own errors, less so when they also chose the length scales.
    """
    freedom = max(1, len(errors) - dimension - 1)
    return float(student.ppf(0.975, freedom)) * float((errors.square() / variances).mean().sqrt())


def _diagnose(history: History, process: Kriging, fitted: Tensor, left_out: Tensor) -> Diagnostics:
    kernel = process.kernel
    return Diagnostics(
        surrogate="output",
        trials=len(history.scores),
        r2=r_squared(history.scores, fitted),
        loo_r2=r_squared(history.scores, left_out),
        loo_rmse=root_mean_square(history.scores - left_out),
        loo_scores=tuple(left_out.tolist()),
        details={
            "length_scales": (1 / kernel.inverse_lengths).tolist(),
            "polynomial_weights": kernel.weights.tolist(),
            "polynomial": float(kernel.polynomial),
            "noise": float(kernel.noise),
        },
    )
