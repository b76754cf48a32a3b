"""Dominance and thinning of scored points. Scores are utilities: n x T, larger is better, finite."""

from collections.abc import Sequence

import moocore
import torch
from torch import Tensor

from surrogate.errors import InvalidRequestError


def require_finite(scores: Tensor) -> None:
    """Refuses NaN and infinity: half-NaN rows would count as efficient. Raises InvalidRequestError."""
    if not bool(torch.isfinite(scores).all()):
        raise InvalidRequestError("scores hold a value that is not finite: leave failed trials out")


def non_dominated(scores: Tensor) -> Tensor:
    """Rows that no other row beats. Equal rows are all kept. Returns a bool mask, n."""
    require_finite(scores)
    if not len(scores):
        return torch.zeros(0, dtype=torch.bool)
    mask = moocore.is_nondominated(scores.detach().numpy(), maximise=True, keep_weakly=True)
    return torch.from_numpy(mask)


def distinct_rows(scores: Tensor, rows: Sequence[int]) -> list[int]:
    """Those of `rows` whose scores, n x T, no earlier one of them has."""
    kept: list[int] = []
    for row in rows:
        if not bool((scores[kept] == scores[row]).all(1).any()):
            kept.append(row)
    return kept


def thin(scores: Tensor, count: int, first: Sequence[int] = ()) -> Tensor:
    """Indices of at most `count` rows spread evenly over `scores`, in ascending order; the best row of every task stays.

    Farthest-point selection (Gonzalez 1985) on scores scaled to their range: each pick is the row farthest from those already
    picked, beginning with the rows `first` and the extremes; equal rows are picked once. With `count` below their number, the first.
    """
    require_finite(scores)
    if count < 1:
        raise InvalidRequestError(f"a front is thinned to at least one point, not {count}")
    if not len(scores):
        return torch.zeros(0, dtype=torch.long)
    spread = scores.amax(0) - scores.amin(0)
    scaled = scores / torch.where(spread > 0, spread, torch.ones_like(spread))
    picked = distinct_rows(scores, [*first, *scores.argmax(0).tolist()])[:count]
    nearest = torch.cdist(scaled, scaled[picked]).amin(1)
    farthest = int(nearest.argmax())
    while len(picked) < count and float(nearest[farthest]) > 0.0:
        picked.append(farthest)
        nearest = torch.minimum(nearest, (scaled - scaled[farthest]).norm(dim=1))
        farthest = int(nearest.argmax())
    return torch.tensor(sorted(picked))
