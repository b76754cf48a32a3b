"""The quadratic surrogate of MAP (arXiv 2406.07529, eq. 5), fitted in closed form on linked scores."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from scipy.stats import norm as normal
from scipy.stats import t as student
from torch import Tensor

from surrogate.errors import InvalidRequestError, UnidentifiedError
from surrogate.figures import r_squared, root_mean_square
from surrogate.history import Diagnostics, History, Prediction, Scale
from surrogate.least_squares import LinearFit, fit_linear
from surrogate.links import Link, LinkName, link_for

# A trial of such leverage alone fixes a parameter: nothing remains to predict it from.
SATURATED = 1.0 - 1e-9


@dataclass(frozen=True)
class Quadratic:
    """g(score) ≈ e + b·c + ½ cᵀAc of one task: a FittedSurrogate. Built by `fit_quadratic`.

    `A`: D x D, symmetric. `b`: D. `e`: a number. All on the linked scale, in the metric's own sign.
    """

    A: Tensor
    b: Tensor
    e: float
    link: Link
    scale: Scale
    diagnostics: Diagnostics
    _fit: LinearFit = field(repr=False)
    _reach: float = field(repr=False)  # half of the 95 % interval of a residual of weight 1
    _mean_weight: float = field(repr=False)

    def linked(self, coefficients: Tensor) -> Tensor:
        """e + b·c + ½ cᵀAc at `coefficients`, n x D; returns n, differentiable."""
        return self.e + ((self.b + 0.5 * coefficients @ self.A) * coefficients).sum(1)

    def predict(self, coefficients: Tensor) -> Prediction:
        """Scores at `coefficients`, n x D. The interval holds the parameters' uncertainty, the misfit and the sampling noise."""
        linked = self.linked(coefficients)
        weights = _weights(self.link, linked) / self._mean_weight
        reach = self._reach * (self._fit.variance(quadratic_features(coefficients)) + 1.0 / weights).sqrt()
        mean = self.link.inverse(linked)
        low, high = self.link.inverse(linked - reach), self.link.inverse(linked + reach)
        step = _half_step(self.scale)
        return Prediction(mean, _within(low - step, self.scale), _within(high + step, self.scale), mean)

    def utility(self, coefficients: Tensor) -> Tensor:
        """The predicted score turned so that larger is better, n; differentiable in `coefficients`, n x D."""
        score = self.link.inverse(self.linked(coefficients))
        return score if self.scale.maximize else -score


def fit_quadratic(history: History, link: LinkName | Literal["auto"] = "auto", ridge: float = 0.0) -> Quadratic:
    """The weighted least-squares quadratic of one task's trials.

    `ridge`: shrinkage of the standardised slopes, in trials; 0 asks for the exact fit. Under a logit link trials weigh p(1 - p), the
    inverse of the linked score's sampling variance. Raises UnidentifiedError when the trials do not fix every free parameter and
    no ridge is given, InvalidRequestError for a negative ridge or a link without its bounds.
    """
    if not 0.0 <= ridge < float("inf"):
        raise InvalidRequestError(f"ridge must be finite and not negative, got {ridge}")
    chosen = link_for(history.scale, history.scores, link)
    linked = chosen.forward(history.scores)
    weights = _weights(chosen, linked)
    fit = fit_linear(quadratic_features(history.coefficients), linked, weights, ridge)
    dimension = history.coefficients.shape[1]
    if ridge == 0.0:
        _require_identified(fit, dimension)
    b, A = _matrix_of(fit.slopes, dimension)
    return Quadratic(
        A=A,
        b=b,
        e=fit.intercept,
        link=chosen,
        scale=history.scale,
        diagnostics=_diagnose(history, chosen, linked, fit, ridge),
        _fit=fit,
        _reach=_residual_reach(fit, linked, weights / weights.mean(), history.scale, chosen),
        _mean_weight=float(weights.mean()),
    )


def free_parameters(dimension: int) -> int:
    """How many numbers a quadratic in `dimension` coefficients has: (D + 1)(D + 2) / 2, the fewest trials that can fix it."""
    return (dimension + 1) * (dimension + 2) // 2


def quadratic_features(coefficients: Tensor) -> Tensor:
    """Columns c_i, ½c_i², c_i·c_j (i < j) of `coefficients`, n x D; returns n x (D(D + 3) / 2)."""
    first, second = torch.triu_indices(coefficients.shape[1], coefficients.shape[1], offset=1).unbind()
    products = coefficients[:, first] * coefficients[:, second]
    return torch.cat([coefficients, 0.5 * coefficients.square(), products], 1)


def _matrix_of(slopes: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    linear, squares, products = slopes[:dimension], slopes[dimension : 2 * dimension], slopes[2 * dimension :]
    first, second = torch.triu_indices(dimension, dimension, offset=1).unbind()
    A = torch.diag(squares)
    A[first, second] = products
    A[second, first] = products
    return linear, A


def _weights(link: Link, linked: Tensor) -> Tensor:
    return link.derivative(linked).clamp_min(1e-12) if link.name == "logit" else torch.ones_like(linked)


def _require_identified(fit: LinearFit, dimension: int) -> None:
    trials, free = len(fit.fitted), free_parameters(dimension)
    if fit.rank == free:
        return
    needed = free if trials < free else trials + free - fit.rank
    raise UnidentifiedError(
        f"a quadratic in {dimension} coefficients has {free} free parameters, these {trials} trials fix {fit.rank}: give at least "
        f"{needed} trials, with three levels on every axis, or ask for ridge shrinkage",
        needed=needed,
        got=trials,
    )


def _residual_reach(fit: LinearFit, linked: Tensor, weights: Tensor, scale: Scale, link: Link) -> float:
    """Half of the 95 % interval of a residual of weight 1: Student's t on the misfit, never below what sampling alone makes it."""
    freedom = len(linked) - float(fit.leverages.sum())
    if freedom < 1.0:
        # nothing is left over to learn the misfit from: the spread of the scores is all that is known
        freedom, residuals = 1.0, linked - linked.mean()
    else:
        residuals = (linked - fit.fitted) * (len(linked) / freedom) ** 0.5
    misfit = float((weights * residuals.square()).mean())
    sampling = _sampling_noise(linked, weights, scale, link)
    return max(float(student.ppf(0.975, freedom)) * math.sqrt(misfit), float(normal.ppf(0.975)) * math.sqrt(sampling))


def _sampling_noise(linked: Tensor, weights: Tensor, scale: Scale, link: Link) -> float:
    if not scale.proportion or scale.examples is None:
        return 0.0
    share = link.inverse(linked).clamp(0.0, 1.0)
    binomial = share * (1.0 - share) / scale.examples
    return float((weights * binomial / link.derivative(linked).square()).mean())


def _half_step(scale: Scale) -> float:
    """Half of what one example moves a proportion: continuity correction of the interval."""
    return 0.5 / scale.examples if scale.proportion and scale.examples else 0.0


def _within(scores: Tensor, scale: Scale) -> Tensor:
    return scores.clamp(scale.low, scale.high) if scale.low is not None or scale.high is not None else scores


def _diagnose(history: History, link: Link, linked: Tensor, fit: LinearFit, ridge: float) -> Diagnostics:
    left_out = link.inverse(_leave_one_out(fit, linked))
    return Diagnostics(
        surrogate="quadratic",
        trials=len(linked),
        r2=r_squared(history.scores, link.inverse(fit.fitted)),
        loo_r2=r_squared(history.scores, left_out),
        loo_rmse=root_mean_square(history.scores - left_out),
        loo_scores=tuple(left_out.tolist()),
        details={
            "link": link.name,
            "rank": fit.rank,
            "free_parameters": free_parameters(history.coefficients.shape[1]),
            "condition": fit.condition if fit.condition < float("inf") else None,
            "ridge": ridge,
        },
    )


def _leave_one_out(fit: LinearFit, linked: Tensor) -> Tensor:
    """Linked scores that the fit without trial k gives at trial k, from the hat matrix. A saturated trial gets the others' mean."""
    trials = len(linked)
    others = (linked.sum() - linked) / max(trials - 1, 1)
    spare = (1.0 - fit.leverages).clamp_min(1.0 - SATURATED)
    left_out = linked - (linked - fit.fitted) / spare
    return torch.where(fit.leverages > SATURATED, others, left_out)
