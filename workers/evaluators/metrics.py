"""Every metric as a function of outputs and targets, and the same without its steps.

Outputs are n x m x q: n candidates, m examples, q columns. All functions return n scores in the metric's own sign.
Exact forms agree with scikit-learn (scipy for spearman) on one candidate at a time; smooth forms are differentiable in the outputs.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import cross_entropy

from workers.evaluators import confusion

MetricFunction = Callable[[Tensor, Tensor], Tensor]

_PAIRS = 256  # positives and negatives compared by the smooth auroc, each


def probabilities(outputs: Tensor) -> Tensor:
    """Softmax at a temperature of a quarter of the mean gap between the two largest logits.

    So the result does not change when all logits are scaled, as predicted classes do not, whether the head gives cosines or
    large logits: an example with an average gap counts as about 0.98 decided, only those near a boundary count in part.
    """
    largest = outputs.topk(2, dim=-1).values
    gap = (largest[..., 0] - largest[..., 1]).mean(-1)
    temperature = (gap / 4).clamp_min(torch.finfo(outputs.dtype).tiny ** 0.5)
    return (outputs / temperature[:, None, None]).softmax(-1)


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(-1) == targets).to(torch.float64).mean(-1)


def smooth_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean probability of the right class."""
    index = targets.expand(len(outputs), -1)[..., None]
    return probabilities(outputs).gather(-1, index).mean((-2, -1))


def auroc(outputs: Tensor, targets: Tensor) -> Tensor:
    """Area under the ROC curve: of class 1 where there are two, else the mean over classes, each against the rest."""
    if outputs.shape[-1] == 2:
        return _area(outputs[..., 1] - outputs[..., 0], targets == 1)
    shares = outputs.double().softmax(-1)
    return torch.stack([_area(shares[..., number], targets == number) for number in range(outputs.shape[-1])]).mean(0)


def smooth_auroc(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of ordered pairs, each pair by a sigmoid a tenth of the margins' spread wide; at most 256 x 256 pairs a class."""
    classes = (1,) if outputs.shape[-1] == 2 else range(outputs.shape[-1])
    return torch.stack([_ordered_pairs(_margin(outputs, number), targets == number) for number in classes]).mean(0)


def spearman(outputs: Tensor, targets: Tensor) -> Tensor:
    """Rank correlation; 0 where all outputs are equal."""
    ranks = torch.from_numpy(rankdata(outputs[..., 0].numpy(), axis=-1))
    return _correlation(ranks, torch.from_numpy(rankdata(targets[:, 0].numpy())))


def smooth_spearman(outputs: Tensor, targets: Tensor) -> Tensor:
    """Pearson correlation of outputs and targets."""
    return _correlation(outputs[..., 0], targets[:, 0].to(outputs.dtype))


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean((-2, -1))


def mae(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().mean((-2, -1))


def entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean entropy of the predicted classes in nats; the targets do not matter."""
    logs = outputs.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1).mean(-1)


def nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of the right class in nats, from logits."""
    wanted = targets.expand(len(outputs), -1)
    return cross_entropy(outputs.transpose(1, 2), wanted, reduction="none").mean(-1)


def weighted_loss(outputs: Tensor, weights: Tensor) -> Tensor:
    """Mean loss in nats from losses an example, n x m x 1; `weights`: m, the number of tokens each loss is a mean over."""
    return (outputs[..., 0] * weights).sum(-1) / weights.sum()


def _margin(outputs: Tensor, number: int) -> Tensor:
    """How far one class lies above the rest taken together: the log-odds of its probability, n x m."""
    others = torch.cat((outputs[..., :number], outputs[..., number + 1 :]), -1)
    return outputs[..., number] - others.logsumexp(-1)


def _area(scores: Tensor, positive: Tensor) -> Tensor:
    """Share of ordered pairs, ties counted half, from ranks (Mann & Whitney 1947): many candidates at once, as one by one takes minutes."""
    ranks = torch.from_numpy(rankdata(scores.numpy(), axis=-1))
    count, others = int(positive.sum()), int((~positive).sum())
    area: Tensor = (ranks[:, positive].sum(-1) - count * (count + 1) / 2) / (count * others)
    return area


def _ordered_pairs(margins: Tensor, positive: Tensor) -> Tensor:
    width = 0.1 * margins.std(-1).clamp_min(torch.finfo(margins.dtype).tiny ** 0.5)
    above, below = margins[:, _spread_out(positive)], margins[:, _spread_out(~positive)]
    return ((above[:, :, None] - below[:, None, :]) / width[:, None, None]).sigmoid().mean((-2, -1))


def _spread_out(chosen: Tensor) -> Tensor:
    rows = chosen.nonzero()[:, 0]
    return rows if len(rows) <= _PAIRS else rows[torch.linspace(0, len(rows) - 1, _PAIRS).long()]


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    first, second = first - first.mean(-1, keepdim=True), second - second.mean(-1, keepdim=True)
    spread = (first.square().sum(-1) * second.square().sum(-1)).sqrt()
    return torch.where(spread > 0, (first * second).sum(-1) / torch.where(spread > 0, spread, 1.0), 0.0)


def _soft(formula: Callable[[Tensor], Tensor]) -> MetricFunction:
    return lambda outputs, targets: formula(confusion.soft(probabilities(outputs), targets))


def _counted(formula: Callable[[Tensor], Tensor]) -> MetricFunction:
    return lambda outputs, targets: formula(confusion.counted(outputs, targets))


def _perplexity(loss: MetricFunction) -> MetricFunction:
    return lambda outputs, targets: loss(outputs, targets).exp()


# by metric: exact and smooth, from logits or values
METRIC_FUNCTIONS: Mapping[str, tuple[MetricFunction, MetricFunction]] = MappingProxyType(
    {
        "accuracy": (accuracy, smooth_accuracy),
        "balanced_accuracy": (_counted(confusion.balanced_accuracy), _soft(confusion.balanced_accuracy)),
        "f1": (_counted(confusion.f1), _soft(confusion.f1)),
        "matthews": (_counted(confusion.matthews), _soft(confusion.matthews)),
        "auroc": (auroc, smooth_auroc),
        "spearman": (spearman, smooth_spearman),
        "mse": (mse, mse),
        "mae": (mae, mae),
        "entropy": (entropy, entropy),
        "nll": (nll, nll),
        "perplexity": (_perplexity(nll), _perplexity(nll)),
    }
)

# by metric, where the outputs are losses already
LOSS_FUNCTIONS: Mapping[str, MetricFunction] = MappingProxyType({"nll": weighted_loss, "perplexity": _perplexity(weighted_loss)})
