"""Builds the evaluator of a study: everything that its trials share, made once."""

import torch
from torch import Tensor

from app.domain.study import StudySpec, TransformSpec
from app.domain.task import Split
from checkpoints.gram import gram
from checkpoints.tangents import is_tangent
from checkpoints.transforms.prepare import prepare_transform
from workers.evaluators.content import Content, read_content
from workers.evaluators.evaluator import MergeEvaluator
from workers.evaluators.external import open_external
from workers.evaluators.linearise import TangentMerges, linearise_network
from workers.evaluators.merges import Merges, Place, choose_place, to_transform
from workers.evaluators.network import Network
from workers.evaluators.passes import SPLITS, Pass, plan_passes, token_weights
from workers.evaluators.protocol import Evaluator
from workers.evaluators.scorer import TaskScorer
from workers.evaluators.tasks import TaskContent


def open_evaluator(spec: StudySpec, device: str, memory: int | None = None) -> Evaluator:
    """What measures the tasks of a study that are measured here, which may be none. Otherwise as `build_evaluator`."""
    return build_evaluator(spec, device, memory) if spec.tasks_here else open_external(spec)


def build_evaluator(spec: StudySpec, device: str, memory: int | None = None) -> MergeEvaluator:
    """An evaluator of the study's merges on `device` (cpu, cuda, cuda:1).

    `memory`: bytes of the device that merged weights, base and task vectors may take together, by default a share of what is
    free; where they do not fit, base and task vectors are read from their files at every trial. Weights are float32, on an
    accelerator of the base's own dtype unless they are linearised. Raises RefusedError with every fault of what the spec names.
    """
    content = read_content(spec)
    place = choose_place(content.models, device, memory)
    network, merges = _open_merges(content, place, spec.transform)
    merges.of(spec.transform)  # before the data: it plans with the memory that is free
    passes = plan_passes(content, place.dtype, place.device)
    scorers = {task.spec.name: _scorer(task, passes) for task in content.tasks}
    products = gram(content.models, content.groups, prepare_transform(to_transform(spec.transform), content.models))
    return MergeEvaluator(network, content.binding, merges, passes, scorers, products)


def _open_merges(content: Content, place: Place, transform: TransformSpec) -> tuple[Network, Merges | TangentMerges]:
    """What merges of the study's checkpoints are, and the network that runs them."""
    if not is_tangent(content.models):
        return content.network, Merges(content.models, content.groups, place, transform)
    merges = TangentMerges(content.models, content.groups, place, transform)
    return linearise_network(content.network, content.binding, merges), merges


def _scorer(task: TaskContent, passes: tuple[Pass, ...]) -> TaskScorer:
    return TaskScorer(task.scored.metric, task.scored.outputs, {split: _targets(task, split, passes) for split in SPLITS})


def _targets(task: TaskContent, split: Split, passes: tuple[Pass, ...]) -> Tensor:
    if task.scored.outputs == "losses":
        return token_weights(passes, task.spec.name, split)
    return task.targets(split) if task.scored.metric.labels else torch.zeros(len(task.splits.rows(split)))
