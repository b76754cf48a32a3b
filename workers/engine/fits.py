"""Surrogates of a study's tasks: pure functions of what was measured."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from app.domain.front import Fit
from app.domain.study import MethodSpec
from surrogate.exact import Exact, fit_exact
from surrogate.exact_front import find_exact_front
from surrogate.history import FittedSurrogate, History, Prediction
from surrogate.quadratic import fit_quadratic
from surrogate.select import QuadraticOptions, fit_surrogates
from surrogate.solve import predicted_utilities, solve_front
from workers.engine.arrays import Evidence

Fits = Mapping[str, FittedSurrogate]
"""By task, in the spec's order."""


def fit_tasks(evidence: Evidence) -> Fits:
    """One surrogate a task. Raises SurrogateError, above all UnidentifiedError where the trials are too few."""
    method, histories = evidence.spec.method, list(evidence.histories.values())
    return dict(zip(evidence.histories, _fit_histories(method, histories, evidence.gram), strict=True))


def _fit_histories(method: MethodSpec, histories: Sequence[History], gram: Tensor) -> Sequence[FittedSurrogate]:
    if method.name == "exact":
        return [fit_exact(history, method.seed) for history in histories]
    if method.surrogate == "quadratic":
        return [fit_quadratic(history, method.link, method.ridge) for history in histories]
    return fit_surrogates(method.surrogate, histories, gram, method.seed, QuadraticOptions(method.link, method.ridge))


def solve_candidates(evidence: Evidence, fits: Fits, points: int) -> Tensor:
    """The predicted front, n x D with n <= `points`; deterministic given the spec's seed."""
    spec = evidence.spec
    exact = [fit for fit in fits.values() if isinstance(fit, Exact)]
    if len(exact) == len(fits) and spec.front.solver == "scalarised":
        return find_exact_front(exact, spec.space.low, spec.space.high, evidence.dimension, points, spec.method.seed)
    return solve_front(
        list(fits.values()),
        low=spec.space.low,
        high=spec.space.high,
        dimension=evidence.dimension,
        points=points,
        seed=spec.method.seed,
        solver=spec.front.solver,
    )


def utilities(fits: Fits, coefficients: Tensor) -> Tensor:
    """Smoothed predicted scores at n x D, turned so that larger is better: n x T."""
    return predicted_utilities(list(fits.values()), coefficients)


def predict_tasks(fits: Fits, coefficients: Tensor) -> Mapping[str, Prediction]:
    """Predicted scores and intervals at n x D, by task."""
    with torch.no_grad():
        return {task: fit.predict(coefficients) for task, fit in fits.items()}


def describe_fits(evidence: Evidence, fits: Fits) -> tuple[Fit, ...]:
    """What the front tells of its surrogates; `predicted` are leave-one-out."""
    return tuple(_describe(task, fit, evidence.histories[task]) for task, fit in fits.items())


def _describe(task: str, fit: FittedSurrogate, history: History) -> Fit:
    found = fit.diagnostics
    return Fit(
        task=task,
        surrogate=found.surrogate,
        trials=found.trials,
        r2=found.r2,
        loo_r2=found.loo_r2,
        loo_rmse=found.loo_rmse,
        details=found.details,
        predicted=found.loo_scores,
        measured=tuple(history.scores.tolist()),
    )
