"""The tasks of a study: data, splits, heads and targets read, each held against the network."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from app.datasets.check import OutputKind, Scored, input_value_faults, split_faults, target_faults
from app.datasets.dataset import Dataset
from app.datasets.labels import class_numbers, values
from app.datasets.read import read_dataset
from app.datasets.split import Splits, split_rows
from app.domain.errors import Fault
from app.domain.study import Architecture, StudySpec, TransformersArchitecture
from app.domain.task import Split, TaskSpec
from workers.evaluators.heads import Head, NoHead
from workers.evaluators.read_out import find_read_out
from workers.evaluators.scorer import output_kind
from workers.evaluators.weights import Findings, FoundWeights


@dataclass(frozen=True, eq=False)
class TaskContent:
    """A task with all that it names, proved to fit."""

    spec: TaskSpec
    dataset: Dataset
    splits: Splits
    head: Head
    scored: Scored

    def targets(self, split: Split) -> Tensor:
        """What one split's outputs are compared with: classes m, or values m x q. Only for tasks whose metric needs them."""
        assert self.dataset.targets is not None  # checked when the task was read
        rows = self.splits.rows(split)
        if self.scored.outputs == "values":
            return torch.from_numpy(values(self.dataset.targets)[rows].reshape(len(rows), -1))
        return torch.from_numpy(class_numbers(self.dataset.targets, self.scored.label2id)[rows])


def read_tasks(spec: StudySpec, weights: FoundWeights, findings: Findings) -> list[TaskContent]:
    """Every task that could be read; whatever is wrong with the others goes into `findings`."""
    datasets = _read_datasets(spec, findings)
    readable = [task for task in spec.tasks_here if task.name in datasets]
    read = [findings.attempt(partial(_read_task, spec, task, datasets[task.name], weights)) for task in readable]
    return [task for task in read if task is not None]


def _read_datasets(spec: StudySpec, findings: Findings) -> dict[str, Dataset]:
    """By task; tasks that name one file share it."""
    by_path: dict[str, Dataset | None] = {}
    for task in spec.tasks_here:
        if by_path.get(task.data) is None:
            by_path[task.data] = findings.attempt(partial(read_dataset, Path(task.data), f"tasks.{task.name}.data"))
    return {task.name: dataset for task in spec.tasks_here if (dataset := by_path[task.data]) is not None}


def _read_task(spec: StudySpec, task: TaskSpec, dataset: Dataset, weights: FoundWeights) -> TaskContent:
    findings = Findings()
    splits = split_rows(len(dataset), task.split)
    findings.faults += split_faults(splits, len(dataset), _key(task, "split"))
    findings.faults += input_value_faults(dataset, _key(task, "data"))
    kind = output_kind(task.metric, _is_language_model(spec.architecture))
    findings.faults += _metric_faults(task, kind)
    read_out = findings.attempt(lambda: find_read_out(spec, task, dataset, weights))
    columns = None if read_out is None else read_out.columns
    scored = Scored(task.measure, kind, columns, None if read_out is None else read_out.label2id)
    findings.faults += target_faults(dataset, splits, scored, _key(task, "data"))
    findings.refuse()
    return TaskContent(task, dataset, splits, NoHead() if read_out is None else read_out.head, scored)


def _metric_faults(task: TaskSpec, kind: OutputKind) -> list[Fault]:
    if kind == "losses" and task.measure.needs != "losses":
        return [
            Fault(_key(task, "metric"), f"a causal language model gives losses, from which nll and perplexity follow, not {task.metric}")
        ]
    return []


def _is_language_model(architecture: Architecture | None) -> bool:
    return isinstance(architecture, TransformersArchitecture) and architecture.auto_class == "AutoModelForCausalLM"


def _key(task: TaskSpec, key: str) -> str:
    return f"tasks.{task.name}.{key}"
