"""A task's metric bound to the targets of its two splits."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.datasets.check import OutputKind
from app.domain.task import METRICS, Metric, Split
from workers.evaluators.metrics import LOSS_FUNCTIONS, METRIC_FUNCTIONS, MetricFunction

_CHUNK = 4 << 20  # output elements scored at once, to bound memory


@dataclass(frozen=True)
class TaskScorer:
    """A `Scorer` (see protocol.py). `targets` by split, on the CPU: classes m; values m x q; or m weights where outputs are losses.

    For a metric without labels (entropy) the targets only count the examples.
    """

    metric: Metric
    outputs: OutputKind
    targets: Mapping[Split, Tensor]

    @property
    def classes(self) -> Tensor | None:
        """See protocol.py."""
        return self.targets["search"] if self.metric.name == "accuracy" and self.outputs == "logits" else None

    def examples(self, split: Split) -> int:
        return len(self.targets[split])

    def score(self, outputs: Tensor) -> Tensor:
        """Scores on the search split, n, float64. `outputs`: n x m x q."""
        return self.score_on("search", outputs)

    def score_on(self, split: Split, outputs: Tensor) -> Tensor:
        """The same on either split."""
        exact, _ = self._functions()
        rows = max(1, _CHUNK // max(1, outputs[0].numel()))
        chunks = (outputs[start : start + rows] for start in range(0, len(outputs), rows))
        scores = torch.cat([exact(_widen(chunk), self.targets[split]).double() for chunk in chunks])
        # a score such as 1 + 1e-16 must not fall out of its bounds
        return scores.clamp(self.metric.low, self.metric.high) if self.metric.low is not None else scores

    def smooth(self, outputs: Tensor) -> Tensor:
        """The metric without its steps on the search split, n, differentiable in `outputs`, n x m x q."""
        _, smooth = self._functions()
        return smooth(_widen(outputs), self.targets["search"])

    def deviation(self, outputs: Tensor) -> Tensor:
        """See protocol.py: from the spread of the examples' own losses; of perplexity by the slope of the exponential."""
        metric = "nll" if self.metric.name == "perplexity" else self.metric.name
        exact, targets = METRIC_FUNCTIONS[metric][0], self.targets["search"]
        # every example as a candidate of its own
        losses = torch.stack([exact(_widen(rows)[:, None], targets[:, None]).double() for rows in outputs])
        errors: Tensor = losses.std(1) / len(targets) ** 0.5
        return errors * losses.mean(1).exp() if self.metric.name == "perplexity" else errors

    def _functions(self) -> tuple[MetricFunction, MetricFunction]:
        if self.outputs == "losses":
            return LOSS_FUNCTIONS[self.metric.name], LOSS_FUNCTIONS[self.metric.name]
        return METRIC_FUNCTIONS[self.metric.name]


def output_kind(metric: str, losses: bool) -> OutputKind:
    """What a model gives for this metric: `losses` says that it is a language model, whose outputs are losses whatever is asked."""
    if losses:
        return "losses"
    return "values" if METRICS[metric].needs == "values" else "logits"


def _widen(outputs: Tensor) -> Tensor:
    return outputs if outputs.dtype in (torch.float32, torch.float64) else outputs.float()
