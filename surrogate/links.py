"""Links: increasing maps from a bounded score to the whole line, on which scores are regressed."""

from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

from surrogate.errors import InvalidRequestError
from surrogate.history import Scale

LinkName = Literal["identity", "logit", "softplus"]

# Share of the range (or of the unit) kept from a bound when the number of examples is unknown, so that linked scores stay finite.
BOUNDED_MARGIN = 1e-3
ONE_SIDED_MARGIN = 1e-6


@dataclass(frozen=True)
class Link:
    """An increasing map g from scores to the line, with its inverse.

    identity: g(s) = s. logit: g(s) = log((s - low) / (high - s)). softplus, bounded below: s = low + unit·softplus(g / unit);
    bounded above: s = high - unit·softplus(-g / unit). Scores nearer to a bound than `margin` are moved to it by `forward`.
    Built by `link_for`, which holds the bounds to the name.
    """

    name: LinkName
    low: float | None
    high: float | None
    margin: float = 0.0
    unit: float = 1.0

    def clip(self, scores: Tensor) -> Tensor:
        """`scores` moved off the bounds by `margin`; any shape."""
        if self.low is not None:
            scores = scores.clamp_min(self.low + self.margin)
        return scores if self.high is None else scores.clamp_max(self.high - self.margin)

    def forward(self, scores: Tensor) -> Tensor:
        """Linked scores g(s), clipped first; any shape, differentiable inside the bounds."""
        if self.name == "identity":
            return scores
        inside = self.clip(scores)
        if self.low is not None and self.high is not None:
            return torch.log(inside - self.low) - torch.log(self.high - inside)
        if self.low is not None:
            return self.unit * _inverse_softplus((inside - self.low) / self.unit)
        assert self.high is not None
        return -self.unit * _inverse_softplus((self.high - inside) / self.unit)

    def inverse(self, linked: Tensor) -> Tensor:
        """Scores of linked scores; any shape, differentiable everywhere, inside the bounds."""
        if self.name == "identity":
            return linked
        if self.low is not None and self.high is not None:
            return self.low + (self.high - self.low) * torch.sigmoid(linked)
        if self.low is not None:
            return self.low + self.unit * torch.nn.functional.softplus(linked / self.unit)
        assert self.high is not None
        return self.high - self.unit * torch.nn.functional.softplus(-linked / self.unit)

    def derivative(self, linked: Tensor) -> Tensor:
        """d score / d linked at `linked`; any shape, positive. For a logit on [0, 1] this is p(1 - p)."""
        if self.name == "identity":
            return torch.ones_like(linked)
        if self.low is not None and self.high is not None:
            return (self.high - self.low) * torch.sigmoid(linked) * torch.sigmoid(-linked)
        return torch.sigmoid(linked / self.unit if self.low is not None else -linked / self.unit)


def link_for(scale: Scale, scores: Tensor, name: LinkName | Literal["auto"] = "auto") -> Link:
    """The link of a metric: by its bounds, or the one named.

    `scores`: K measured scores, from which the unit of a one-sided link is taken (their median distance from the bound, so that
    the fit does not depend on the unit of measurement). Proportions of m examples are clipped to [1/(2m), 1 - 1/(2m)] of the range.
    Raises InvalidRequestError when the named link needs bounds that the metric lacks.
    """
    chosen = _by_bounds(scale) if name == "auto" else name
    match chosen:
        case "identity":
            return Link("identity", None, None)
        case "logit":
            return _logit(scale)
        case "softplus":
            return _softplus(scale, scores)
        case _:
            assert_never(chosen)


def _by_bounds(scale: Scale) -> LinkName:
    if scale.low is not None and scale.high is not None:
        return "logit"
    return "identity" if scale.low is None and scale.high is None else "softplus"


def _logit(scale: Scale) -> Link:
    if scale.low is None or scale.high is None:
        raise InvalidRequestError("a logit link needs a metric bounded on both sides: choose identity or softplus")
    share = BOUNDED_MARGIN if scale.examples is None else 0.5 / max(scale.examples, 2)
    return Link("logit", scale.low, scale.high, share * (scale.high - scale.low))


def _softplus(scale: Scale, scores: Tensor) -> Link:
    if (scale.low is None) == (scale.high is None):
        raise InvalidRequestError("a softplus link needs a metric bounded on exactly one side: choose identity or logit")
    bound = scale.low if scale.low is not None else scale.high
    assert bound is not None
    distance = float((scores - bound).abs().median()) if len(scores) else 1.0
    unit = distance if distance > 0 else 1.0
    return Link("softplus", scale.low, scale.high, ONE_SIDED_MARGIN * unit, unit)


def _inverse_softplus(values: Tensor) -> Tensor:
    return values + torch.log(-torch.expm1(-values))
