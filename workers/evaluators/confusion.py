"""Metrics of classes from confusion matrices, counted or soft: one formula serves the metric and its smooth form.

A confusion matrix is n x C x C: rows are true classes, columns predicted ones. With whole counts every function equals
scikit-learn's of the same name; with probabilities it is differentiable.
"""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def counted(outputs: Tensor, targets: Tensor) -> Tensor:
    """Confusion of the classes with the largest output. `outputs`: n x m x C; `targets`: m."""
    return soft(one_hot(outputs.argmax(-1), outputs.shape[-1]).to(torch.float64), targets)


def soft(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Expected confusion when every example's class is drawn from its probabilities, n x m x C."""
    truth = one_hot(targets, probabilities.shape[-1]).to(probabilities.dtype)
    return truth.T @ probabilities


def balanced_accuracy(confusion: Tensor) -> Tensor:
    """Mean recall over the classes that occur among the targets."""
    support = confusion.sum(-1)
    occurs = support > 0.5  # row sums are whole numbers, whatever the probabilities
    recall = confusion.diagonal(dim1=-2, dim2=-1) / support.clamp_min(1.0)
    return torch.where(occurs, recall, 0.0).sum(-1) / occurs.sum(-1)


def f1(confusion: Tensor) -> Tensor:
    """Macro F1 over the classes that occur among targets or predictions; a class predicted by less than one example counts in part."""
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    total = confusion.sum(-1) + confusion.sum(-2)
    share = (total - hits).clamp(max=1.0)
    return (share * 2 * hits / total.clamp_min(1e-12)).sum(-1) / share.sum(-1)


def matthews(confusion: Tensor) -> Tensor:
    """Matthews correlation for any number of classes (Gorodkin 2004); 0 where all targets or all predictions are one class."""
    hits = confusion.diagonal(dim1=-2, dim2=-1).sum(-1)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    size = confusion.sum((-2, -1))
    covariance = hits * size - (true * predicted).sum(-1)
    spread = (size**2 - (predicted**2).sum(-1)) * (size**2 - (true**2).sum(-1))
    defined = spread > 1e-9 * size**4
    return torch.where(defined, covariance / torch.where(defined, spread, 1.0).sqrt(), 0.0)
