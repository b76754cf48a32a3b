"""Scores of weighted sums of measured outputs, block by block, so that memory stays bounded whatever the number of columns."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Predicted outputs alive at once. Small enough to stay near the processor's caches, large enough for the product to run at full rate.
BLOCK_BYTES = 2 * 2**20
# A float32 copy of the outputs is kept up to this size; above it columns are widened as they are needed.
RESIDENT_BYTES = 512 * 2**20
# Above that, blocks are larger: every one of them costs a pass over the stored outputs.
STREAMED_BLOCK_BYTES = 256 * 2**20
COLUMNS_AT_ONCE = 2**17
# Columns that the kernel is fitted to; more would not change it.
MOMENT_COLUMNS = 2**21

Metric = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Moved:
    """A metric whose scores are moved onto another scale, element by element."""

    metric: Metric
    move: Callable[[Tensor], Tensor]

    def __call__(self, outputs: Tensor) -> Tensor:
        return self.move(self.metric(outputs))


@dataclass(frozen=True)
class Mixtures:
    """Outputs of K trials, `values` K x P (float16 or wider), and the shape m x q of one of them. Built by `mixtures_of`."""

    values: Tensor
    shape: tuple[int, ...]

    def score(self, weights: Tensor, *metrics: Metric) -> tuple[Tensor, ...]:
        """Each of `metrics` on the outputs weights @ values: `weights` n x K, returns n of float64 a metric. No gradient."""
        with torch.no_grad():
            blocks = [_apply(metrics, self._mix(block)) for block in self._blocks(weights)]
        return tuple(torch.cat(parts) for parts in zip(*blocks, strict=True))

    def differentiable_score(self, weights: Tensor, metric: Metric) -> Tensor:
        """As `score` for one metric, differentiable in `weights`: gradients, K a row, are taken block by block, no outputs are kept."""
        scores: Tensor = _RowwiseScore.apply(weights, self, metric)  # type: ignore[no-untyped-call]
        return scores

    def moments(self) -> Tensor:
        """YYᵀ / P of the outputs less their mean over trials, K x K, float64; of evenly spread columns where there are very many."""
        k = len(self.values)
        chunks = torch.split(self.values, COLUMNS_AT_ONCE, 1)
        chunks = chunks[:: math.ceil(len(chunks) * COLUMNS_AT_ONCE / MOMENT_COLUMNS)]
        total = torch.zeros(k, k, dtype=torch.float64)
        for chunk in chunks:
            wide = chunk.float()
            centred = wide - wide.mean(0)
            total += (centred @ centred.T).double()
        return total / sum(chunk.shape[1] for chunk in chunks)

    def _blocks(self, weights: Tensor) -> Iterator[Tensor]:
        resident = self.values.dtype == torch.float32
        budget = BLOCK_BYTES if resident else STREAMED_BLOCK_BYTES
        rows = max(1, budget // (4 * self.values.shape[1]))
        return iter(torch.split(weights, rows))

    def _mix(self, weights: Tensor) -> Tensor:
        single = weights.float()
        if self.values.dtype == torch.float32:
            return (single @ self.values).view(len(weights), *self.shape)
        outputs = torch.empty(len(weights), self.values.shape[1])
        for columns, part in zip(torch.split(self.values, COLUMNS_AT_ONCE, 1), torch.split(outputs, COLUMNS_AT_ONCE, 1), strict=True):
            torch.mm(single, columns.float(), out=part)
        return outputs.view(len(weights), *self.shape)

    def _slopes_by_outputs(self, outputs: Tensor) -> Tensor:
        """Derivatives by the weights, n x K, of scores whose derivatives by the outputs are `outputs`, n x m x q."""
        flat = outputs.reshape(len(outputs), -1)
        if self.values.dtype == torch.float32:
            return (flat @ self.values.T).double()
        pairs = zip(torch.split(flat, COLUMNS_AT_ONCE, 1), torch.split(self.values, COLUMNS_AT_ONCE, 1), strict=True)
        total = torch.zeros(len(outputs), len(self.values), dtype=torch.float64)
        for part, columns in pairs:
            total += (part @ columns.float().T).double()
        return total


def mixtures_of(values: Tensor) -> Mixtures:
    """The outputs of K trials, `values` K x m x q, ready to be mixed: widened to float32 once where that fits in memory."""
    flat = values.flatten(1)
    resident = 4 * flat.numel() <= RESIDENT_BYTES
    return Mixtures(flat.float().contiguous() if resident else flat, tuple(values.shape[1:]))


class _RowwiseScore(torch.autograd.Function):
    """One score a row of weights, so that a row's gradient has length K: it is taken on the way forward, while the block is alive."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, mixtures: Mixtures, metric: Metric) -> Tensor:
        if not ctx.needs_input_grad[0]:
            return mixtures.score(weights, metric)[0]
        parts = [_with_slopes(mixtures, metric, block) for block in mixtures._blocks(weights)]
        ctx.save_for_backward(torch.cat([slopes for _, slopes in parts]))
        return torch.cat([scores for scores, _ in parts])

    @staticmethod
    def backward(ctx: Any, *adjoints: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return adjoints[0][:, None] * slopes, None, None


def _apply(metrics: tuple[Metric, ...], outputs: Tensor) -> list[Tensor]:
    return [metric(outputs).double() for metric in metrics]


def _with_slopes(mixtures: Mixtures, metric: Metric, weights: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        outputs = mixtures._mix(weights.detach()).requires_grad_()
        scores = metric(outputs)
        (by_outputs,) = torch.autograd.grad(scores.sum(), outputs)
    return scores.detach().double(), mixtures._slopes_by_outputs(by_outputs)
