"""One merge out of a finished study, chosen among the candidates that its surrogates left: no evaluation, no fit, microseconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from app.domain.candidates import Balance, Best, Bound, Candidates, Target, Weights, Wish
from app.domain.front import Predicted
from surrogate.errors import InfeasibleError, InvalidRequestError

Numbers = NDArray[np.float64]
AUGMENTATION = 0.02
"""Weight of the sum beside the maximum (Wierzbicki 1980), as where the surrogates themselves are solved."""


@dataclass(frozen=True)
class Choice:
    """The coefficients that serve a wish, D, with what is predicted there, by task."""

    columns: tuple[str, ...]
    coefficients: tuple[float, ...]
    predicted: Mapping[str, Predicted]


class Offer:
    """Candidates laid out for choosing; immutable, may be shared by threads."""

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        self._sign = np.where(candidates.maximize, 1.0, -1.0)
        # tasks x candidates: a row a task, so that all that is done runs along memory
        self._heights = np.ascontiguousarray((np.array(candidates.smoothed) * self._sign).T)
        self._unit = np.abs(np.array(candidates.ideal) - np.array(candidates.nadir))[:, None]
        self._short = ((np.array(candidates.ideal) * self._sign)[:, None] - self._heights) / self._unit

    def choose(self, wish: Wish, bounds: Sequence[Bound] = ()) -> Choice:
        """The candidate that serves `wish` best within `bounds`.

        Raises InvalidRequestError for unknown or missing tasks, InfeasibleError when no candidate keeps all bounds.
        """
        losses = self._losses(wish)
        losses[~self._kept(bounds)] = np.inf
        best = int(losses.argmin())
        if not np.isfinite(losses[best]):
            raise self._infeasible(bounds)
        return self._choice(best)

    def _losses(self, wish: Wish) -> Numbers:
        match wish:
            case Weights(weights):
                share = self._vector(dict.fromkeys(self.candidates.tasks, 0.0) | dict(weights), "weight")
                if not (share >= 0).all() or not share.sum() > 0:
                    raise InvalidRequestError("weights are 0 or more, at least one above 0")
                return _worst(self._short * (share / share.sum())[:, None])
            case Target(scores):
                return _worst(((self._vector(scores, "target score") * self._sign)[:, None] - self._heights) / self._unit)
            case Balance():
                return np.asarray(self._short.mean(0))
            case Best(task):
                return np.asarray(-self._heights[self._position(task)])
            case _:
                assert_never(wish)

    def _kept(self, bounds: Sequence[Bound]) -> NDArray[np.bool_]:
        kept = np.ones(self._heights.shape[1], dtype=bool)
        for bound in bounds:
            kept &= self._slack(bound) >= 0
        return kept

    def _slack(self, bound: Bound) -> Numbers:
        place = self._position(bound.task)
        slack: Numbers = self._heights[place] * self._sign[place] - bound.bound
        return slack if bound.at_least else -slack

    def _infeasible(self, bounds: Sequence[Bound]) -> InfeasibleError:
        slacks = [self._slack(bound) for bound in bounds]
        reachable = tuple(
            float(bound.bound + (slack.max() if bound.at_least else -slack.max())) for bound, slack in zip(bounds, slacks, strict=True)
        )
        said = [
            f"{bound.task} {'>=' if bound.at_least else '<='} {bound.bound:g} (best reachable {best:.4g})"
            for bound, best in zip(bounds, reachable, strict=True)
        ]
        return InfeasibleError(f"no merge on the front satisfies the constraints: {'; '.join(said)}", reachable)

    def _vector(self, values: Mapping[str, float], name: str) -> Numbers:
        wrong = sorted(values.keys() ^ set(self.candidates.tasks))
        if wrong:
            raise InvalidRequestError(f"every task of the study needs a {name}, and no other: see {', '.join(wrong)}")
        return np.array([values[task] for task in self.candidates.tasks], dtype=np.float64)

    def _position(self, task: str) -> int:
        if task not in self.candidates.tasks:
            raise InvalidRequestError(f"no task {task!r}: there are {', '.join(self.candidates.tasks)}")
        return self.candidates.tasks.index(task)

    def _choice(self, place: int) -> Choice:
        found = self.candidates
        scores = zip(found.tasks, found.mean[place], found.low[place], found.high[place], strict=True)
        predicted = {task: Predicted(score, low, high) for task, score, low, high in scores}
        return Choice(found.columns, found.coefficients[place], predicted)


def _worst(losses: Numbers) -> Numbers:
    return np.asarray(losses.max(0) + AUGMENTATION * losses.sum(0))
