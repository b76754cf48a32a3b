"""Figures of fits and fronts. Scores of fronts are utilities: n x T, larger is better; weights are non-negative and sum to 1."""

import moocore
import torch
from torch import Tensor

from surrogate.errors import InvalidRequestError
from surrogate.pareto import require_finite

# the exact volume of 100 points takes seconds for 8 tasks and minutes for 10
EXACT_TASKS = 8
# Scores closer than this share of the largest differ by how their sums were ordered.
ROUNDING = 1e-12


def r_squared(measured: Tensor, predicted: Tensor) -> float:
    """Share of the variance of `measured` (n) that `predicted` (n) explains; of scores that are all equal, 1 if met and else 0.

    Equal and met mean to within rounding.
    """
    residual = float((measured - predicted).square().sum())
    total = float((measured - measured.mean()).square().sum())
    rounding = len(measured) * (ROUNDING * float(measured.abs().max())) ** 2
    if total <= rounding:
        return 1.0 if residual <= rounding else 0.0
    return 1.0 - residual / total


def root_mean_square(residuals: Tensor) -> float:
    """√ of the mean square of `residuals`, n."""
    return float(residuals.square().mean().sqrt())


def reference_point(scores: Tensor, margin: float = 0.1) -> Tensor:
    """Where hypervolumes are measured from: per task the worst of `scores` (n x T) less `margin` of their range. Returns T.

    Give it the points of every front that is compared, so that all are measured from one place.
    """
    require_finite(scores)
    worst, best = scores.amin(0), scores.amax(0)
    return worst - margin * (best - worst)


def hypervolume(scores: Tensor, reference: Tensor) -> float:
    """Volume between `reference` (T) and the front of `scores` (n x T): larger is better; points below the reference add nothing.

    Exact up to EXACT_TASKS tasks, an approximation within a percent and the same at every call beyond.
    """
    require_finite(scores)
    require_finite(reference)
    if not len(scores):
        return 0.0
    points, corner = scores.detach().numpy(), reference.detach().numpy()
    if scores.shape[1] > EXACT_TASKS:
        return float(moocore.hv_approx(points, ref=corner, maximise=True, method="DZ2019-HW"))
    return float(moocore.hypervolume(points, ref=corner, maximise=True))


def generational_distance(scores: Tensor, ideal_front: Tensor) -> float:
    """GD: mean distance from each of `scores` (n x T) to the nearest point of `ideal_front` (k x T); 0 is best."""
    return float(_distances(scores, ideal_front).amin(1).mean())


def inverted_generational_distance(scores: Tensor, ideal_front: Tensor) -> float:
    """IGD: mean distance from each point of `ideal_front` (k x T) to the nearest of `scores` (n x T); 0 is best."""
    return float(_distances(scores, ideal_front).amin(0).mean())


def win_rate(scores: Tensor, others: Tensor) -> float:
    """Share of pairs (one of `scores`, one of `others`; n x T and k x T) in which ours is better, over tasks; a tie counts half."""
    require_finite(scores)
    require_finite(others)
    ours, theirs = scores[:, None, :], others[None, :, :]
    return float(((ours > theirs).double() + 0.5 * (ours == theirs).double()).mean())


def normalised_scores(scores: Tensor, individual: Tensor, maximize: list[bool]) -> Tensor:
    """Scores over those of each task's own model: 1 is parity, larger is better. `scores` n x T and `individual` T, metric's sign.

    Where smaller is better the quotient is turned over. Raises InvalidRequestError where an individual score, or a score to divide
    by, is not positive: a ratio would mean nothing.
    """
    require_finite(scores)
    turned = ~torch.tensor(maximize)
    if bool((individual <= 0).any()) or bool((scores[:, turned] <= 0).any()):
        raise InvalidRequestError("scores are normalised by division: individual scores and losses must be positive")
    return torch.where(turned, individual / torch.where(turned, scores, 1.0), scores / individual)


def preference_weights(tasks: int, count: int, seed: int) -> Tensor:
    """`count` weights drawn evenly from the simplex over `tasks`; seeded. Returns count x T."""
    exponentials = torch.empty(count, tasks, dtype=torch.float64)
    exponentials.exponential_(generator=torch.Generator().manual_seed(seed))
    return exponentials / exponentials.sum(1, keepdim=True)


def preference_regret(predicted: Tensor, measured: Tensor, weights: Tensor) -> float:
    """What users lose: mean over `weights` (k x T) of max_t w_t(1 - measured score) at the point that the predictions choose.

    `predicted`, `measured`: n x T, normalised so that 1 is the task's own model. The choice for w has the least
    max_t w_t(1 - predicted score).
    """
    require_finite(predicted)
    require_finite(measured)
    chosen = _shortfall(predicted, weights).argmin(0)
    return float(_shortfall(measured, weights).gather(0, chosen[None]).mean())


def _shortfall(scores: Tensor, weights: Tensor) -> Tensor:
    return (weights[None, :, :] * (1.0 - scores[:, None, :])).amax(2)


def _distances(scores: Tensor, ideal_front: Tensor) -> Tensor:
    require_finite(scores)
    require_finite(ideal_front)
    if not len(scores) or not len(ideal_front):
        raise InvalidRequestError("a distance between fronts needs a point in each")
    return torch.cdist(scores, ideal_front)
