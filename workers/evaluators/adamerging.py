"""AdaMerging (Yang et al. 2024, arXiv 2310.02575): coefficients by gradient, from inputs without labels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from app.domain.errors import Fault, MeasurementError, RefusedError
from app.domain.study import SpaceSpec, TransformSpec
from app.domain.trial import Proposal
from checkpoints.projection import project
from checkpoints.task_vectors import BlockTransform
from checkpoints.transforms.prepare import prepare_transform
from workers.evaluators.heads import LinearHead, OwnHead
from workers.evaluators.merges import Merges, to_transform
from workers.evaluators.metrics import entropy
from workers.evaluators.module_binding import Binding
from workers.evaluators.network import Inputs, Network
from workers.evaluators.passes import Pass
from workers.evaluators.scorer import TaskScorer

# As published: where coefficients begin, and how many examples of a task a step sees.
START, EXAMPLES = 0.3, 16
# Published: 0.001 for 500 steps. Ten times as far in a fraction of the steps, whose noise the mean over the last half takes out.
STRIDE = 0.01
# What a step costs beside an evaluation's forward pass of as many examples.
PASSES_A_STEP = 3


@dataclass(frozen=True)
class Parts:
    """The parts of an evaluator that a descent needs; `assemble` makes the module's weights those of a merge, of D coefficients."""

    network: Network
    binding: Binding
    merges: Merges
    passes: tuple[Pass, ...]
    scorers: Mapping[str, TaskScorer]
    dimension: int
    assemble: Callable[[Proposal], None]


def adamerge(parts: Parts, transform: TransformSpec, space: SpaceSpec, steps: int, seed: int) -> tuple[float, ...]:
    """Coefficients, D, at which the predictions on the search inputs have little entropy, mean over tasks; no label is read.

    Task-wise where the evaluator's layers are not grouped, layer-wise where they are. Adam from START inside the box of `space`, `steps`
    of it, each on EXAMPLES random inputs of every task; what is returned is the mean over the second half. Deterministic given `seed`.
    Raises RefusedError where no task gives logits, MeasurementError where outputs are not finite.
    """
    passes = [served for served in (one.restricted(_with_classes(parts)) for one in parts.passes) if served.heads]
    if not passes:
        raise RefusedError([Fault("baselines", "adamerging needs a task whose outputs are logits of classes: leave it out")])
    slope = _Slope(parts, transform, tuple(passes))
    coefficients = torch.full((parts.dimension,), START, dtype=torch.float64).clamp(space.low, space.high)
    kept = list(_walk(slope, coefficients, space, steps, seed))[steps // 2 :]
    return tuple(torch.stack(kept).mean(0).tolist())


def _with_classes(parts: Parts) -> list[str]:
    return [task for task, scorer in parts.scorers.items() if scorer.outputs == "logits"]


def _walk(slope: "_Slope", coefficients: Tensor, space: SpaceSpec, steps: int, seed: int) -> Iterator[Tensor]:
    """The coefficients after every step."""
    optimiser = torch.optim.Adam([coefficients], lr=STRIDE)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        coefficients.grad = slope.at(tuple(coefficients.tolist()), draw)
        optimiser.step()
        coefficients.clamp_(space.low, space.high)
        yield coefficients.clone()


class _Slope:
    """The derivative of the mean entropy by the coefficients, on random examples."""

    def __init__(self, parts: Parts, transform: TransformSpec, passes: Sequence[Pass]) -> None:
        self._parts, self._passes, self._chosen = parts, passes, transform
        self._transform: BlockTransform | None = prepare_transform(to_transform(transform), parts.merges.models)
        self._reading = _Reading(parts.network)

    def at(self, coefficients: tuple[float, ...], draw: torch.Generator) -> Tensor:
        """Slopes, D, at `coefficients`."""
        self._parts.assemble(Proposal("baseline", "search", coefficients, transform=self._chosen))
        leaves = self._leaves()
        losses = [loss for one in self._passes for loss in self._entropies(one, leaves, draw)]
        mean = torch.stack(losses).mean()
        if not bool(torch.isfinite(mean)):
            raise MeasurementError(f"adamerging: the entropy of predictions is {float(mean)} at {coefficients}")
        gradients = torch.autograd.grad(mean, list(leaves.values()), materialize_grads=True)
        merges = self._parts.merges
        return project(dict(zip(leaves, gradients, strict=True)), merges.models, merges.groups, self._transform)

    def _leaves(self) -> dict[str, Tensor]:
        """The merged parameters as they stand, by the name of their tensor, ready to be differentiated by."""
        views, merged = self._parts.merges.of(self._chosen).views, self._parts.merges.models.sizes
        sources = self._parts.binding.sources
        # buffers follow the coefficients too, but kernels of normalisations give no slope by running statistics
        parameters = [name for name, _ in self._parts.network.module.named_parameters(remove_duplicate=False) if name in sources]
        read = dict.fromkeys(sources[name] for name in parameters if sources[name] in merged)
        return {name: views[name].detach().requires_grad_() for name in read}

    def _entropies(self, one: Pass, leaves: Mapping[str, Tensor], draw: torch.Generator) -> list[Tensor]:
        """The mean entropy of every task of a pass, on EXAMPLES random examples of one of its batches."""
        batches = one.inputs["search"].batches
        inputs = _some(batches[int(torch.randint(len(batches), (), generator=draw))], draw)
        weights = {name: leaves[source] for name, source in self._parts.binding.sources.items() if source in leaves}
        own = {name: tensor for head in one.heads.values() if isinstance(head, OwnHead) for name, tensor in head.parameters.items()}
        handed = {f"module.{name}": tensor for name, tensor in (weights | own).items()}
        outputs = functional_call(self._reading, handed, (inputs,))
        logits = [head.apply(outputs) if isinstance(head, LinearHead) else outputs.float() for head in one.heads.values()]
        return [entropy(rows.reshape(1, len(rows), -1), torch.empty(0))[0] for rows in logits]


class _Reading(nn.Module):
    """A network as a module whose weights can be handed in."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        self._run = network.run

    def forward(self, inputs: Inputs) -> Tensor:
        return self._run(inputs)


def _some(batch: Inputs, draw: torch.Generator) -> Inputs:
    rows = torch.randperm(len(next(iter(batch.values()))), generator=draw)[:EXAMPLES]
    return {name: tensor[rows.to(tensor.device)] for name, tensor in batch.items()}
