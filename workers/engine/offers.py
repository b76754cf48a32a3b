"""What a service chooses from once a study is over: no surrogate, no data and no evaluator are needed any more."""

from collections.abc import Sequence

import torch
from torch import Tensor

from app.domain.candidates import Candidates, Rows
from app.domain.columns import columns
from app.domain.trial import Trial
from surrogate.history import Prediction
from workers.engine.arrays import Evidence, stack_coefficients
from workers.engine.choices import normalisation_of
from workers.engine.fits import Fits, predict_tasks, solve_candidates
from workers.engine.selection import standing_trials

# two neighbours of a front of two tasks then differ by a quarter of a percent of its extent
CANDIDATES = 400


def offer_candidates(evidence: Evidence, trials: Sequence[Trial], fits: Fits) -> Candidates:
    """The predicted front, finer than the one that people look at; of `nested` the trials that stand. Pure; deterministic."""
    spec = evidence.spec
    found = _found(evidence, trials, fits)
    predictions = list(predict_tasks(fits, found).values())
    scale = normalisation_of(evidence, trials)
    return Candidates(
        columns=columns(spec, evidence.groups),
        tasks=tuple(task.name for task in spec.tasks),
        maximize=tuple(task.measure.maximize for task in spec.tasks),
        ideal=tuple(scale.ideal.tolist()),
        nadir=tuple(scale.nadir.tolist()),
        coefficients=_rows(found),
        mean=_side_by_side(predictions, "mean"),
        low=_side_by_side(predictions, "low"),
        high=_side_by_side(predictions, "high"),
        smoothed=_side_by_side(predictions, "smoothed"),
    )


def _found(evidence: Evidence, trials: Sequence[Trial], fits: Fits) -> Tensor:
    spec = evidence.spec
    if spec.method.name == "nested":
        return stack_coefficients([trial.proposal.coefficients for trial in standing_trials(spec, trials)], evidence.dimension)
    return solve_candidates(evidence, fits, max(CANDIDATES, spec.front.points))


def _side_by_side(predictions: Sequence[Prediction], name: str) -> Rows:
    return _rows(torch.stack([getattr(prediction, name) for prediction in predictions], 1))


def _rows(tensor: Tensor) -> Rows:
    return tuple(map(tuple, tensor.double().tolist()))
