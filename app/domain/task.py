"""Tasks: what a merge is measured on."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Split = Literal["search", "report"]


@dataclass(frozen=True)
class Metric:
    """A score's meaning: its direction, its bounds, and whether it is a share of right answers.

    `needs`: what a merge must give per example: `logits` (classes), `losses` (log-likelihoods), `values` (regression); `nothing` where
    it is not measured here.
    `labels`: whether targets are needed at all.
    """

    name: str
    maximize: bool
    low: float | None
    high: float | None
    needs: Literal["logits", "losses", "values", "nothing"]
    proportion: bool = False
    labels: bool = True


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("accuracy", True, 0.0, 1.0, "logits", proportion=True),
            Metric("balanced_accuracy", True, 0.0, 1.0, "logits"),
            Metric("f1", True, 0.0, 1.0, "logits"),
            Metric("matthews", True, -1.0, 1.0, "logits"),
            Metric("auroc", True, 0.0, 1.0, "logits"),
            Metric("nll", False, 0.0, None, "losses"),
            Metric("perplexity", False, 1.0, None, "losses"),
            Metric("mse", False, 0.0, None, "values"),
            Metric("mae", False, 0.0, None, "values"),
            Metric("spearman", True, -1.0, 1.0, "values"),
            Metric("entropy", False, 0.0, None, "logits", labels=False),
        )
    }
)


@dataclass(frozen=True)
class SplitShares:
    """Seeded division of a task's examples. Shares are positive and sum to at most 1."""

    search: float = 0.4
    report: float = 0.6
    seed: int = 0


@dataclass(frozen=True)
class TaskSpec:
    """An objective as the manifest states it. `data`, `head`: resolved paths or ids; `head` may carry a `#name` part."""

    name: str
    data: str
    metric: str
    split: SplitShares
    head: str | None = None
    max_length: int | None = None
    batch: int | None = None

    @property
    def measure(self) -> Metric:
        return METRICS[self.metric]


@dataclass(frozen=True)
class ExternalTask:
    """An objective that an evaluator outside the service scores. `metric`: what it calls its score, within `low` and `high`.

    `examples`: of how many the score is the share of right answers; None where it is no such share, or their number is unknown.
    """

    name: str
    metric: str
    maximize: bool = True
    low: float | None = None
    high: float | None = None
    examples: int | None = None

    @property
    def measure(self) -> Metric:
        return Metric(self.metric, self.maximize, self.low, self.high, "nothing", proportion=self.examples is not None, labels=False)


Task = TaskSpec | ExternalTask
