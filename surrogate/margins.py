"""Accuracy read from margins: nothing but a product, a maximum and an exponential, so that it runs near the rate of the product."""

from typing import Any

import torch
from torch import Tensor

from surrogate.history import Outputs
from surrogate.lead_pass import LARGEST_EXPONENT, differentiate_probability, read_leads
from surrogate.mixtures import RESIDENT_BYTES, Metric, Mixtures, Moved, mixtures_of

# The unit of leads as a share of their mean gap to the closest class: an example with an average gap then counts as .98 decided.
TEMPERATURE = 0.25
# Mixtures of which slopes are taken at once: what they need stays near the processor's caches.
SLOPES_TOGETHER = 192


def has_leads(outputs: Outputs) -> bool:
    """Whether `outputs` are logits with targets, and small enough to be turned into leads."""
    return outputs.targets is not None and 4 * outputs.values.numel() <= RESIDENT_BYTES


def leads_of(outputs: Outputs) -> Outputs:
    """Logits with targets turned into leads: by how much each wrong class is ahead of the right one.

    Leads are K x (q - 1) x m, float32, linear in the logits, so that what predicts one predicts the other; their unit is the
    temperature of the smooth form. Score: accuracy. Smooth form: mean softmax probability of the right class. Outputs without targets
    or too large to hold in float32 are returned as they are.
    """
    targets = outputs.targets
    if targets is None or not has_leads(outputs):
        return outputs
    # examples last: sums and maxima over classes then run along contiguous memory
    logits = outputs.values.transpose(1, 2).float().contiguous()
    place = targets.expand(len(logits), 1, -1)
    right, last = logits.gather(1, place), logits[:, -1:].clone()
    # the last class moves to where the right one was
    leads = logits.scatter_(1, place, last)[:, :-1].sub_(right)
    gap = float(leads.amax(1).abs().mean())
    return Outputs(leads.div_(TEMPERATURE * gap or 1.0).contiguous(), share_right, probability_right)


def share_right(leads: Tensor) -> Tensor:
    """Accuracy, n, of `leads`, n x (q - 1) x m. An example on which the right class ties is not right."""
    # counted, so that it is the very number that a measurement gives
    return (leads.amax(1) < 0).sum(1).double() / leads.shape[2]


def probability_right(leads: Tensor) -> Tensor:
    """Mean probability of the right class, n, differentiable in `leads`, n x (q - 1) x m."""
    if leads.requires_grad:
        leads = leads.clamp_max(LARGEST_EXPONENT)
    return (1 + leads.exp().sum(1)).reciprocal().mean(1)


class LeadMixtures(Mixtures):
    """Mixtures of leads: accuracy and probability are read in one compiled pass, any other metric as of other outputs."""

    def score(self, weights: Tensor, *metrics: Metric) -> tuple[Tensor, ...]:
        """As of Mixtures."""
        read = [_unmoved(metric) for metric in metrics]
        if not set(read) <= {share_right, probability_right}:
            return super().score(weights, *metrics)
        share, probability = read_leads(weights.detach(), self._leads(), probability_right in read)
        found = [share if each is share_right else probability for each in read]
        with torch.no_grad():
            return tuple(metric.move(score) if isinstance(metric, Moved) else score for metric, score in zip(metrics, found, strict=True))

    def differentiable_score(self, weights: Tensor, metric: Metric) -> Tensor:
        """As of Mixtures."""
        if _unmoved(metric) is not probability_right:
            return super().differentiable_score(weights, metric)
        probability: Tensor = _Probability.apply(weights, self)  # type: ignore[no-untyped-call]
        return metric.move(probability) if isinstance(metric, Moved) else probability

    def _leads(self) -> Tensor:
        return self.values.view(len(self.values), *self.shape)

    def _probability_slopes(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The mean probability of the right class, n, and its slopes by the weights, n x K."""
        probability, slopes = differentiate_probability(weights, self._leads())
        return probability, self._slopes_by_outputs(slopes)


def mixtures_of_outputs(given: Outputs) -> Mixtures:
    """The outputs of K trials, ready to be mixed; leads, as `leads_of` gives them, for the compiled pass."""
    mixed = mixtures_of(given.values)
    return LeadMixtures(mixed.values, mixed.shape) if given.score is share_right else mixed


def _unmoved(metric: Metric) -> Metric:
    return metric.metric if isinstance(metric, Moved) else metric


class _Probability(torch.autograd.Function):
    """As of the mixtures of other outputs: a row's gradient is taken on the way forward."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, mixtures: LeadMixtures) -> Tensor:
        if not ctx.needs_input_grad[0]:
            return mixtures.score(weights, probability_right)[0]
        parts = [mixtures._probability_slopes(block) for block in torch.split(weights.detach(), SLOPES_TOGETHER)]
        ctx.save_for_backward(torch.cat([slopes for _, slopes in parts]))
        return torch.cat([scores for scores, _ in parts])

    @staticmethod
    def backward(ctx: Any, *adjoints: Tensor) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return adjoints[0][:, None] * slopes, None
