"""The exact surrogate: outputs that are affine in the coefficients are known everywhere from those at D + 1 points.

So it is for networks linearised in what is merged (tangent adapters). Nothing is estimated but what finitely many examples leave open.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from scipy.linalg import qr
from torch import Tensor

from surrogate.design import sobol_points
from surrogate.errors import FitFailedError, InvalidRequestError, UnidentifiedError
from surrogate.figures import r_squared, root_mean_square
from surrogate.history import Diagnostics, History, Outputs, Prediction, Scale
from surrogate.links import link_for
from surrogate.margins import leads_of
from surrogate.mixtures import COLUMNS_AT_ONCE, Metric, Mixtures, mixtures_of
from surrogate.smoothing import SmoothMetric
from surrogate.tally import Tally, tally_of

# Points at which the smoothed score is put on the scale of the exact one.
CALIBRATED_POINTS = 256
# Rows of a frame are independent when what each adds to those before it is at least this share of the longest.
INDEPENDENT = 1e-6
# Further from affine than any rounding brings outputs, as a share of what the coefficients change of them.
LARGEST_GAP = 1e-2
NORMAL = 1.959963984540054


@dataclass(frozen=True)
class Exact:
    """All scores of one task whose outputs are affine in the coefficients: a FittedSurrogate. Built by `fit_exact`."""

    scale: Scale
    diagnostics: Diagnostics
    _outputs: Mixtures = field(repr=False)  # of the origin, then what each coefficient adds: D + 1 rows
    _metric: Metric = field(repr=False)
    _smoothing: SmoothMetric = field(repr=False)
    _deviation: Metric | None = field(repr=False)
    _tally: Tally | None = field(repr=False)  # where the metric is the plain accuracy of leads

    @property
    def quick(self) -> bool:
        """Whether a score costs little more than the product that gives its outputs."""
        return self._tally is not None

    def score(self, coefficients: Tensor) -> Tensor:
        """The task's real metric at `coefficients` (n x D), n, in its own sign: a product, then the metric, in bounded blocks."""
        given = coefficients.detach()
        return self._outputs.score(_affine_rows(given), self._metric)[0] if self._tally is None else self._tally.share_right(given)

    def predict(self, coefficients: Tensor) -> Prediction:
        """Scores at `coefficients`, n x D: on the trials' own examples they are what a measurement gives.

        The interval says what as many new examples could give: Wilson's for a proportion, otherwise the score and 1.96 standard
        errors either way, of the examples' own scores where the metric is their mean, else the largest that its bounds allow.
        """
        metrics = [self._metric, self._smoothing.of_outputs(), *([self._deviation] if self._deviation else [])]
        mean, smoothed, *deviations = self._outputs.score(_affine_rows(coefficients.detach()), *metrics)
        low, high = _interval(mean, self.scale, deviations[0] if deviations else None)
        return Prediction(mean, self.scale.within(low), self.scale.within(high), smoothed)

    def utility(self, coefficients: Tensor) -> Tensor:
        """The smoothed score turned so that larger is better, n; differentiable in `coefficients`, n x D."""
        smoothed = self._smoothing.score(coefficients, _affine_rows(coefficients))
        return smoothed if self.scale.maximize else -smoothed


def fit_exact(history: History, seed: int = 0) -> Exact:
    """The exact surrogate of one task's trials: D + 1 of them that span the coefficients; all others check it.

    `seed`: of the points at which the smoothed score is calibrated. Raises InvalidRequestError where the history has no outputs or its
    metric no smooth form, UnidentifiedError where the trials do not span the coefficients, FitFailedError where the outputs of the
    others show that they are not affine.
    """
    if history.outputs is None or history.outputs.smooth is None:
        raise InvalidRequestError("the exact surrogate needs the outputs of the trials, and a metric with a smooth form")
    frame = find_frame(history.coefficients)
    given = leads_of(history.outputs)
    outputs = mixtures_of(_affine_parts(given.values[frame], history.coefficients[frame]))
    gap = _output_gap(outputs, given.values, history.coefficients)
    if gap > LARGEST_GAP:
        raise FitFailedError(f"outputs are not affine in the coefficients (off by {gap:.2g} of their spread): choose another method")
    found = outputs.score(_affine_rows(history.coefficients), given.score)[0]
    return Exact(
        scale=history.scale,
        diagnostics=_diagnose(history, frame, found, gap),
        _outputs=outputs,
        _metric=given.score,
        _smoothing=_calibrate(history, outputs, given, seed),
        _deviation=history.outputs.deviation if given is history.outputs else None,
        _tally=None if given is history.outputs else tally_of(outputs.values.view(-1, *outputs.shape)),
    )


def affine_design(dimension: int, low: float, high: float) -> Tensor:
    """The D + 1 points that `fit_exact` needs: the origin and one step along every coefficient, (D + 1) x D.

    Steps go to 1, or as far as the box [low, high]^D lets them; the same for the origin.
    """
    start, end = (min(max(value, low), high) for value in (0.0, 1.0))
    if start == end:
        start, end = low, high
    steps = (end - start) * torch.eye(dimension, dtype=torch.float64)
    return start + torch.cat([torch.zeros(1, dimension, dtype=torch.float64), steps])


def find_frame(coefficients: Tensor) -> Tensor:
    """Which D + 1 of K points (K x D) span all others affinely, the best conditioned ones; ascending. Raises UnidentifiedError."""
    rows = _affine_rows(coefficients)
    needed = rows.shape[1]
    _, triangle, order = qr(rows.numpy().T, mode="economic", pivoting=True)
    lengths = np.abs(np.diag(triangle))
    rank = int((lengths > INDEPENDENT * lengths[0]).sum())
    if rank < needed:
        raise UnidentifiedError(f"the trials span {rank - 1} of {needed - 1} directions of the coefficients", needed, rank)
    return torch.from_numpy(np.sort(order[:needed]))


def _affine_rows(coefficients: Tensor) -> Tensor:
    """1 and the coefficients: n x (D + 1)."""
    return torch.cat([torch.ones_like(coefficients[:, :1]), coefficients], 1)


def _affine_parts(values: Tensor, coefficients: Tensor) -> Tensor:
    """Outputs at the origin, and what each coefficient adds to them, from those at the D + 1 points of a frame."""
    solve = torch.linalg.inv(_affine_rows(coefficients))
    parts = torch.empty(values.shape)
    flat = values.flatten(1)
    for out, chunk in zip(torch.split(parts.flatten(1), COLUMNS_AT_ONCE, 1), torch.split(flat, COLUMNS_AT_ONCE, 1), strict=True):
        out.copy_(solve @ chunk.double())
    return parts


def _output_gap(outputs: Mixtures, values: Tensor, coefficients: Tensor) -> float:
    """The largest root mean square by which a trial's outputs miss the affine ones, as a share of what the coefficients change."""
    spread, worst = 0.0, 0.0
    for row, measured in zip(_affine_rows(coefficients), values, strict=True):
        moved, missed = (outputs.score(row[None], partial(_mean_square, measured=known))[0] for known in (outputs.values[0], measured))
        spread, worst = max(spread, float(moved)), max(worst, float(missed))
    return (worst / spread) ** 0.5 if spread > 0 else 0.0


def _mean_square(outputs: Tensor, measured: Tensor) -> Tensor:
    return (outputs.flatten(1) - measured.flatten()).square().mean(1)


def _calibrate(history: History, outputs: Mixtures, given: Outputs, seed: int) -> SmoothMetric:
    """The metric without its steps, on the scale of the score all over the box that the trials span."""
    assert given.smooth is not None  # refused at the door
    low, high = history.coefficients.amin(0), history.coefficients.amax(0)
    rows = _affine_rows(low + (high - low) * sobol_points(len(low), CALIBRATED_POINTS, seed))
    scores, smooth = outputs.score(rows, given.score, given.smooth)
    link = link_for(history.scale, scores)
    x, y = link.forward(smooth), link.forward(scores)
    spread = float((x - x.mean()).square().mean())
    slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else 1.0
    slope = slope if slope > 0 else 1.0
    return SmoothMetric(outputs, given.smooth, link, float(y.mean() - slope * x.mean()), slope)


def _interval(mean: Tensor, scale: Scale, deviation: Tensor | None) -> tuple[Tensor, Tensor]:
    examples, low, high = scale.examples, scale.low, scale.high
    if scale.proportion and examples:
        return _wilson(mean, examples)
    if deviation is None and examples and low is not None and high is not None:
        deviation = ((high - mean) * (mean - low) / examples).clamp_min(0).sqrt()
    reach = torch.zeros_like(mean) if deviation is None else NORMAL * deviation
    return mean - reach, mean + reach


def _wilson(share: Tensor, examples: int) -> tuple[Tensor, Tensor]:
    """Wilson (1927): the shares for which `share` of so many examples would be no surprise."""
    extra = NORMAL**2 / examples
    center = (share + extra / 2) / (1 + extra)
    reach = (extra * share * (1 - share) + extra**2 / 4).sqrt() / (1 + extra)
    return torch.minimum(center - reach, share), torch.maximum(center + reach, share)


def _diagnose(history: History, frame: Tensor, found: Tensor, gap: float) -> Diagnostics:
    """`loo_*`: of the trials that the fit did not need, of all where it needed all."""
    others = torch.ones(len(found), dtype=torch.bool)
    others[frame] = False
    checked = others if bool(others.any()) else ~others
    errors = history.scores - found
    return Diagnostics(
        surrogate="exact",
        trials=len(found),
        r2=r_squared(history.scores, found),
        loo_r2=r_squared(history.scores[checked], found[checked]),
        loo_rmse=root_mean_square(errors[checked]),
        loo_scores=tuple(found.tolist()),
        details={
            "choice": "exact: outputs are affine in the coefficients",
            "checked": int(others.sum()),
            "largest_gap": float(errors[checked].abs().amax()),
            "output_gap": gap,
        },
    )
