"""The seam between the study engine and whatever measures a merge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from app.domain.study import SpaceSpec, TransformSpec
from app.domain.task import Split
from app.domain.trial import Proposal
from checkpoints.pairing import Pairing


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation gave. `scores` by task; `outputs` by task: examples x columns, float16, of a linearised network float32,
    absent for tasks that give none.
    """

    scores: Mapping[str, float]
    outputs: Mapping[str, Tensor]


class Scorer(Protocol):
    """A task's metric over the examples of its splits, without the model."""

    @property
    def classes(self) -> Tensor | None:
        """The right class of every search example, where the score is plain accuracy of logits; surrogates are much faster then."""

    def examples(self, split: Split) -> int: ...

    def score(self, outputs: Tensor) -> Tensor:
        """Outputs on the search split, n x m x q -> n scores."""

    def smooth(self, outputs: Tensor) -> Tensor:
        """The same shapes, differentiable, the metric without its steps."""

    def deviation(self, outputs: Tensor) -> Tensor:
        """Standard errors of the scores over examples like these, n, of a metric that is a mean over examples or a function of one."""


class Evaluator(Protocol):
    """Measures merges of one study's model set on its tasks."""

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """By task; tasks without per-example outputs have none."""

    @property
    def gram(self) -> Tensor:
        """Inner products of the D (grouped) task vectors, D x D, float64."""

    @property
    def pairing(self) -> Pairing:
        """How the tuned checkpoints were held against the base: what a merge is made with again, where there is no network."""

    @property
    def group_labels(self) -> tuple[str, ...]:
        """What the groups of layers that share coefficients are called, in the order of the coefficients."""

    @property
    def plan(self) -> str:
        """One line for people: resident or streamed, bytes, device."""

    def evaluate(self, proposal: Proposal) -> Evaluation:
        """Scores of the proposal's merge on its split, of the tasks that it names.

        Raises MeasurementError (non-finite outputs, out of memory).
        """


@runtime_checkable
class Adaptive(Protocol):
    """What can also take gradients of the networks that it measures."""

    def adamerge(self, transform: TransformSpec, space: SpaceSpec, steps: int, seed: int) -> tuple[float, ...]:
        """The coefficients that AdaMerging finds in so many steps (workers/evaluators/adamerging.py)."""
