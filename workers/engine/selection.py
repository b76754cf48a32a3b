"""Which points: those worth verifying, those that measuring leaves standing, those that make the front. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.domain.study import StudySpec
from app.domain.trial import Trial
from surrogate.pareto import non_dominated
from surrogate.volume import cover
from workers.engine.arrays import Evidence, directions, list_predictions, stack_coefficients, stack_utilities
from workers.engine.fits import Fits, predict_tasks, solve_candidates, utilities
from workers.engine.merges import rival_trials
from workers.engine.normalised import measured_own_scores, normalise

# Steps of the metrics make neighbours on the smooth front beat each other: solving for more leaves enough that nobody beats.
OVERSAMPLED = 4


@dataclass(frozen=True)
class Selection:
    """The points of a front. `coefficients`: n x D; `measured`: n, the trial that measured the point, None where there is none."""

    coefficients: Tensor
    measured: tuple[Trial | None, ...]


def points_to_verify(evidence: Evidence, fits: Fits, trials: Sequence[Trial]) -> Tensor:
    """`front.verify` points of the predicted front, n x D: the balanced one, then those that dominate most of the predicted scores.

    Balanced is the point whose worst task keeps most of its own model; there is none where `trials` measured no tuned model.
    """
    front = evidence.spec.front
    candidates = solve_candidates(evidence, fits, front.points)
    return candidates[cover(utilities(fits, candidates), front.verify, _balanced(evidence, fits, candidates, trials))]


def standing_trials(spec: StudySpec, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Trials that no other beats on the search split: verified points, and those that beat one, which takes their place; at most
    `front.points` of them. Baselines in the searched space are rivals like any others.
    """
    measured = rival_trials(spec, trials)
    if not measured:
        return ()
    scores = stack_utilities(spec, [trial.scores for trial in measured])
    verified = torch.tensor([trial.proposal.origin == "verify" for trial in measured])
    known_better = _beaten(-scores, -scores[verified])
    standing = (non_dominated(scores) & (verified | known_better)).nonzero()[:, 0]
    standing = standing[cover(scores[standing], spec.front.points)]
    return tuple(measured[place] for place in standing.tolist())


def select_points(evidence: Evidence, fits: Fits, standing: Sequence[Trial]) -> Selection:
    """The final front: the trials that stand, each in place of the candidate nearest to it, and the other candidates that neither a
    trial nor another candidate beats; no candidates in `nested`, which searched between no points. At most `front.points`, in order
    of the first task's predicted score, best first.
    """
    measured = stack_coefficients([trial.proposal.coefficients for trial in standing], evidence.dimension)
    searched = evidence.spec.method.name != "nested"
    unbeaten = _unbeaten(evidence, fits, standing, measured) if searched else measured[:0]
    others = unbeaten[cover(utilities(fits, unbeaten), evidence.spec.front.points)]
    others = others[~_nearest(utilities(fits, others), utilities(fits, measured))]
    coefficients = torch.cat([measured, others])
    order = utilities(fits, coefficients)[:, 0].argsort(descending=True, stable=True)
    sources = [*standing, *[None] * len(others)]
    return Selection(coefficients[order], tuple(sources[place] for place in order.tolist()))


def _balanced(evidence: Evidence, fits: Fits, candidates: Tensor, trials: Sequence[Trial]) -> list[int]:
    """The row of `candidates` whose worst normalised score is best, as predicted, or none."""
    own = measured_own_scores(evidence.spec, evidence.dimension, trials)
    if own is None:
        return []
    rows = [{task: found.score for task, found in row.items()} for row in list_predictions(predict_tasks(fits, candidates))]
    return [int(normalise(evidence.spec, own, rows).amin(1).argmax())]


def _unbeaten(evidence: Evidence, fits: Fits, standing: Sequence[Trial], measured: Tensor) -> Tensor:
    """Candidates whose predicted scores are beaten neither by what was measured or predicted of `measured`, nor by each other's."""
    candidates = solve_candidates(evidence, fits, OVERSAMPLED * evidence.spec.front.points)
    scores = stack_utilities(evidence.spec, [trial.scores for trial in standing])
    known = torch.cat([scores, _predicted(evidence, fits, measured)])
    predicted = _predicted(evidence, fits, candidates)
    return candidates[non_dominated(predicted) & ~_beaten(predicted, known)]


def _predicted(evidence: Evidence, fits: Fits, coefficients: Tensor) -> Tensor:
    predictions = predict_tasks(fits, coefficients)
    return torch.stack([prediction.mean for prediction in predictions.values()], 1) * directions(evidence.spec)


def _nearest(scores: Tensor, targets: Tensor) -> Tensor:
    """Of the rows of `scores`, n x T, one for each of `targets`, k x T: the nearest that is left, tasks by their range. A mask, n."""
    taken = torch.zeros(len(scores), dtype=torch.bool)
    if not len(scores):
        return taken
    extent = (scores.amax(0) - scores.amin(0)).clamp_min(1e-12)
    for distances in torch.cdist(targets / extent, scores / extent):
        taken[distances.masked_fill(taken, torch.inf).argmin()] = True
    return taken


def _beaten(predicted: Tensor, measured: Tensor) -> Tensor:
    """Rows of `predicted`, n x T, that some row of `measured`, k x T, dominates."""
    least, most = measured[None] >= predicted[:, None], measured[None] > predicted[:, None]
    return (least.all(2) & most.any(2)).any(1)
