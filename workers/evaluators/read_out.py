"""How a task reads the network: which head stands between them, and how many columns come out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from app.datasets.dataset import Arrays, Dataset
from app.domain.errors import Fault, RefusedError
from app.domain.study import StudySpec
from app.domain.task import TaskSpec
from checkpoints.errors import CheckpointError
from checkpoints.layout import open_layout
from checkpoints.model_set import ModelSet
from checkpoints.read import MappedTensors
from workers.evaluators.heads import Head, NoHead, OwnHead, find_own_head, read_linear_head
from workers.evaluators.inputs import input_faults, prepare_arrays
from workers.evaluators.network import Network
from workers.evaluators.weights import FoundWeights


@dataclass(frozen=True, eq=False)
class ReadOut:
    """A task's head. `columns`: of its outputs. `label2id`: the names that the head's checkpoint gives to classes."""

    head: Head
    columns: int
    label2id: Mapping[str, int] | None = None


def find_read_out(spec: StudySpec, task: TaskSpec, dataset: Dataset, weights: FoundWeights) -> ReadOut | None:
    """The head that the task names, or that its own checkpoint holds; None where what it needs could not be read.

    Raises RefusedError: inputs that the network does not take, no head, one that does not fit, a module that fails on the first example.
    """
    network, where = weights.network, f"tasks.{task.name}"
    if network is None:
        return None
    faults = input_faults(dataset, network, f"{where}.data")
    if faults:
        raise RefusedError(faults)
    if network.own:
        return None if weights.models is None else _own(spec, task, network, weights.models)
    if network.gives == "losses":
        return _without_head(task, 1)
    return _of_features(task, dataset, network)


def _of_features(task: TaskSpec, dataset: Dataset, network: Network) -> ReadOut:
    if task.head is None and network.config is not None:
        raise _refused(task, "head", "AutoModel gives features: name a linear head (file.safetensors#name)")
    head = None if task.head is None else read_linear_head(task.head, f"tasks.{task.name}.head")
    width = network.width or _probe(task, dataset, network)
    if head is None:
        return _without_head(task, width)
    if head.weight.shape[1] != width:
        raise _refused(task, "head", f"reads {head.weight.shape[1]} features, the module gives {width}")
    return _enough(task, ReadOut(head, head.columns))


def _probe(task: TaskSpec, dataset: Dataset, network: Network) -> int:
    """Number of columns that a factory's module gives, from one example."""
    assert isinstance(dataset.inputs, Arrays)  # a factory's module was refused texts
    inputs = prepare_arrays(dataset.inputs.take(np.array([0])), network.lone, None, torch.float32, torch.device("cpu"))
    try:
        with torch.inference_mode():
            outputs = network.run(inputs.batches[0])
    except Exception as error:  # the module is the user's: whatever it raises is said
        raise _refused(task, "data", f"the module fails on the first example: {type(error).__name__}: {error}") from error
    if len(outputs) != 1:
        raise _refused(task, "data", f"the module gives outputs of shape {list(outputs.shape)} for one example; the first extent must be 1")
    return outputs.numel()


def _without_head(task: TaskSpec, columns: int) -> ReadOut:
    if task.head is not None:
        raise _refused(task, "head", "a causal language model is read as it is: leave the head out")
    return _enough(task, ReadOut(NoHead(), columns))


def _enough(task: TaskSpec, read_out: ReadOut) -> ReadOut:
    if task.measure.needs == "logits" and read_out.columns < 2:
        raise _refused(task, "metric", f"{task.metric} needs at least two classes, the outputs have one column")
    return read_out


def _own(spec: StudySpec, task: TaskSpec, network: Network, models: ModelSet) -> ReadOut:
    head, root = _find_own(spec, task, network, models)
    return _enough(task, ReadOut(head, head.columns, _read_label2id(root)))


def _find_own(spec: StudySpec, task: TaskSpec, network: Network, models: ModelSet) -> tuple[OwnHead, Path]:
    """The head in the checkpoint that the task names, else in the tuned one of the task's name, else in the base."""
    if task.head is not None:
        tensors = _open(task, Path(task.head))
        return find_own_head(network, tensors.layout.tensors, tensors.tensor, f"tasks.{task.name}.head"), tensors.layout.root
    if task.name in models.tuned:
        names, where = models.private[task.name], f"models.tuned.{task.name}"
        head = find_own_head(network, names, lambda tensor: models.private_tensor(task.name, tensor), where)
        return head, _directory(spec.models.tuned[task.name])
    base = models.base
    return find_own_head(network, base.layout.tensors, base.tensor, f"tasks.{task.name}.head"), base.layout.root


def _read_label2id(directory: Path) -> Mapping[str, int] | None:
    path = directory / "config.json"
    names = json.loads(path.read_text(encoding="utf-8")).get("label2id") if path.is_file() else None
    return None if names is None else {str(name): int(number) for name, number in names.items()}


def _open(task: TaskSpec, path: Path) -> MappedTensors:
    try:
        return MappedTensors(open_layout(path))
    except CheckpointError as error:
        raise RefusedError([Fault(f"tasks.{task.name}.head", fault) for fault in error.faults]) from error


def _directory(path: str) -> Path:
    return Path(path) if Path(path).is_dir() else Path(path).parent


def _refused(task: TaskSpec, key: str, problem: str) -> RefusedError:
    return RefusedError([Fault(f"tasks.{task.name}.{key}", problem)])
