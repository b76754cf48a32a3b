"""Accuracy read from margins: nothing but a product, a maximum and an exponential, so that it runs near the rate of the product."""

from torch import Tensor

from surrogate.history import Outputs
from surrogate.mixtures import RESIDENT_BYTES

# The unit of leads as a share of their mean gap to the closest class: an example with an average gap then counts as .98 decided.
TEMPERATURE = 0.25
# Exponents are cut here where slopes are taken: an infinite one times a vanishing probability would be no number.
LARGEST_EXPONENT = 60.0


def leads_of(outputs: Outputs) -> Outputs:
    """Logits with targets turned into leads: by how much each wrong class is ahead of the right one.

    Leads are K x (q - 1) x m, float32, linear in the logits, so that what predicts one predicts the other; their unit is the
    temperature of the smooth form. Score: accuracy. Smooth form: mean softmax probability of the right class. Outputs without targets
    or too large to hold in float32 are returned as they are.
    """
    targets = outputs.targets
    if targets is None or 4 * outputs.values.numel() > RESIDENT_BYTES:
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
