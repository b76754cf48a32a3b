"""What surrogates are fitted to, and what they answer: the seam between measured trials and every method of this package."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from surrogate.errors import InvalidHistoryError


@dataclass(frozen=True)
class Scale:
    """How one task's score is bounded, directed and sampled.

    `low`, `high`: bounds of the metric, None where it has none. `maximize`: whether larger is better.
    `examples`: how many examples one score is taken over, None where unknown.
    `proportion`: the score is a share of right answers, so its sampling noise is binomial.
    """

    low: float | None
    high: float | None
    maximize: bool = True
    examples: int | None = None
    proportion: bool = False

    def half_step(self) -> float:
        """Half of what one example moves a proportion, 0 for other metrics: the continuity correction of an interval."""
        return 0.5 / self.examples if self.proportion and self.examples else 0.0

    def within(self, scores: Tensor) -> Tensor:
        """`scores` of any shape, moved to the nearest bound where they lie outside."""
        return scores.clamp(self.low, self.high) if self.low is not None or self.high is not None else scores


@dataclass(frozen=True)
class Outputs:
    """Per-example outputs of the trials of one task, and the metric that turns outputs into scores.

    `values`: K x m x q (K trials, m examples, q columns: logits, losses or predictions), float16 or wider, finite.
    `score`: outputs n x m x q -> n scores, the task's real metric.
    `smooth`: the same shapes, differentiable, the metric without its steps (softmax instead of argmax); None where there is none.
    `targets`: m right classes, where the score is the plain accuracy of the largest column: both forms are then read from margins,
    several times faster. None for any other score.
    `deviation`: outputs n x m x q -> n standard errors of the scores over examples like these; None where they follow from the
    score's bounds, or are unknown.
    """

    values: Tensor
    score: Callable[[Tensor], Tensor]
    smooth: Callable[[Tensor], Tensor] | None = None
    targets: Tensor | None = None
    deviation: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class History:
    """The finished trials of one task, validated when built.

    `coefficients`: K x D, float64. `scores`: K, in the metric's own sign and unit.
    Raises InvalidHistoryError when shapes disagree, a value is not finite, or a score lies outside the bounds of `scale`.
    """

    coefficients: Tensor
    scores: Tensor
    scale: Scale
    outputs: Outputs | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.coefficients.ndim != 2 or self.scores.shape != self.coefficients.shape[:1]:
            raise InvalidHistoryError(
                f"coefficients {tuple(self.coefficients.shape)} and scores {tuple(self.scores.shape)} must be K x D and K"
            )
        for name, tensor in (("coefficients", self.coefficients), ("scores", self.scores)):
            if not bool(torch.isfinite(tensor).all()):
                raise InvalidHistoryError(f"{name} hold a value that is not finite: leave failed trials out")
        if self.outputs is not None and self.outputs.values.shape[0] != self.scores.shape[0]:
            raise InvalidHistoryError(f"outputs of {self.outputs.values.shape[0]} trials beside scores of {self.scores.shape[0]}")
        if self.outputs is not None and self.outputs.targets is not None and len(self.outputs.targets) != self.outputs.values.shape[1]:
            raise InvalidHistoryError(f"{len(self.outputs.targets)} targets beside outputs of {self.outputs.values.shape[1]} examples")
        low, high = self.scale.low, self.scale.high
        if (low is not None and bool((self.scores < low).any())) or (high is not None and bool((self.scores > high).any())):
            raise InvalidHistoryError(f"a score lies outside the metric's bounds [{low}, {high}]")


@dataclass(frozen=True)
class Prediction:
    """Predicted scores at n coefficient vectors, all n, in the metric's own sign and unit.

    `low`, `high`: 95 % interval for a newly measured score (sampling noise of the metric included).
    `smoothed`: the expected score without the metric's steps: what choices are made on.
    """

    mean: Tensor
    low: Tensor
    high: Tensor
    smoothed: Tensor


@dataclass(frozen=True)
class Diagnostics:
    """How well one task's surrogate fits its own trials.

    `loo_scores`: K leave-one-out predictions beside the K measured scores; `loo_rmse`, `loo_r2` from them. `details`: what only this
    kind of surrogate has (rank, condition number, link, length scales), plain JSON values.
    """

    surrogate: str
    trials: int
    r2: float
    loo_r2: float
    loo_rmse: float
    loo_scores: tuple[float, ...]
    details: dict[str, object]


class FittedSurrogate(Protocol):
    """A surrogate after its fit to one task's history; immutable."""

    @property
    def diagnostics(self) -> Diagnostics: ...

    def predict(self, coefficients: Tensor) -> Prediction:
        """Scores at `coefficients`, n x D."""

    def utility(self, coefficients: Tensor) -> Tensor:
        """The smoothed score turned so that larger is better, n; differentiable in `coefficients`, n x D. What solvers climb."""
