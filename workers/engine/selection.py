"""Which points: those worth verifying, those that verification leaves standing, those that make the front. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.domain.study import StudySpec
from app.domain.trial import Trial
from surrogate.pareto import non_dominated, thin
from workers.engine.arrays import Evidence, directions, stack_coefficients, stack_utilities
from workers.engine.fits import Fits, predict_tasks, solve_candidates, utilities
from workers.engine.merges import verified_trials


@dataclass(frozen=True)
class Selection:
    """The points of a front. `coefficients`: n x D; `verified`: n, the trial that measured the point, None where there is none."""

    coefficients: Tensor
    verified: tuple[Trial | None, ...]


def points_to_verify(evidence: Evidence, fits: Fits) -> Tensor:
    """`front.verify` points spread evenly along the predicted front, the best of every task among them; n x D."""
    candidates = solve_candidates(evidence, fits)
    return candidates[thin(utilities(fits, candidates), evidence.spec.front.verify)]


def standing_trials(spec: StudySpec, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Verified points that no other verified point beats on the search split, at most `front.points` of them."""
    verified = verified_trials(trials)
    if not verified:
        return ()
    measured = stack_utilities(spec, [trial.scores for trial in verified])
    standing = non_dominated(measured).nonzero()[:, 0]
    chosen = standing[thin(measured[standing], spec.front.points)]
    return tuple(verified[place] for place in chosen.tolist())


def select_points(evidence: Evidence, fits: Fits, standing: Sequence[Trial]) -> Selection:
    """The final front: the verified points that stand, each in place of the candidate nearest to it, and the other candidates that
    none of them beats. At most `front.points`, in order of the first task's predicted score, best first.
    """
    verified = stack_coefficients([trial.proposal.coefficients for trial in standing], evidence.dimension)
    unbeaten = _unbeaten(evidence, fits, standing)
    others = unbeaten[~_nearest(utilities(fits, unbeaten), utilities(fits, verified))]
    coefficients = torch.cat([verified, others])
    order = utilities(fits, coefficients)[:, 0].argsort(descending=True, stable=True)
    sources = [*standing, *[None] * len(others)]
    return Selection(coefficients[order], tuple(sources[place] for place in order.tolist()))


def _unbeaten(evidence: Evidence, fits: Fits, standing: Sequence[Trial]) -> Tensor:
    """Candidates whose predicted scores none of the measured ones dominates."""
    candidates = solve_candidates(evidence, fits)
    predictions = predict_tasks(fits, candidates)
    predicted = torch.stack([prediction.mean for prediction in predictions.values()], 1) * directions(evidence.spec)
    measured = stack_utilities(evidence.spec, [trial.scores for trial in standing])
    return candidates[~_beaten(predicted, measured)]


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
