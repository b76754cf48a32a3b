"""What stands behind the network in fine-tuning: nothing, a linear head, or a head inside the module; given, of the base, or fresh."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from app.datasets.dataset import Arrays, Dataset
from app.datasets.labels import LabelError, class_numbers, values
from app.domain.errors import Fault, RefusedError
from app.domain.finetune import FinetuneSpec
from checkpoints.errors import CheckpointError
from checkpoints.layout import Layout, open_layout
from checkpoints.read import MappedTensors
from workers.evaluators.heads import Head, LinearHead, NoHead, OwnHead, find_own_head, read_linear_head
from workers.evaluators.inputs import prepare_arrays
from workers.evaluators.module_binding import place_of
from workers.evaluators.network import Network

HEAD = "task.head"


@dataclass(frozen=True, eq=False)
class ReadOut:
    """A task's head and the number of its columns. A head inside the module is installed there already."""

    head: Head
    columns: int


def find_read_out(spec: FinetuneSpec, network: Network, base: Layout, dataset: Dataset) -> ReadOut:
    """The head that the spec names, else the base's own, else, where the head is to train, a fresh one.

    Raises RefusedError: none of these, one that does not fit, a module that fails on the first example.
    """
    if network.gives == "losses":
        if spec.task.head is not None or spec.training.head:
            raise _refused("a causal language model is read as it is: leave the head out")
        return ReadOut(NoHead(), 1)
    read_out = _own(spec, network, base, dataset) if network.own else _of_features(spec, network, dataset)
    if spec.task.measure.needs == "logits" and read_out.columns < 2:
        raise RefusedError([Fault("task.metric", f"{spec.task.metric} needs at least two classes, the outputs have one column")])
    return read_out


def _own(spec: FinetuneSpec, network: Network, base: Layout, dataset: Dataset) -> ReadOut:
    source = base if spec.task.head is None else _open(Path(spec.task.head))
    tensors = MappedTensors(source)
    fresh = spec.training.head and spec.task.head is None and len(network.naming.find(network.own, base.tensors)) < len(network.own)
    head = _fresh_own(spec, network, dataset) if fresh else find_own_head(network, source.tensors, tensors.tensor, HEAD)
    device = next(network.module.parameters()).device
    for name, tensor in head.parameters.items():
        owner, leaf = place_of(network.module, name)
        setattr(owner, leaf, nn.Parameter(tensor.to(device, torch.float32, copy=True), requires_grad=False))
    return ReadOut(head, head.columns)


def _fresh_own(spec: FinetuneSpec, network: Network, dataset: Dataset) -> OwnHead:
    output_layer = network.own[-1].rpartition(".")[0]
    parameters = {}
    for name in network.own:
        shape = list(network.module.get_parameter(name).shape)
        if name.rpartition(".")[0] == output_layer:
            shape[0] = _columns(spec, dataset)
        parameters[name] = _uniform(shape, spec.training.seed) if len(shape) > 1 else torch.zeros(shape)
    return OwnHead(parameters)


def _of_features(spec: FinetuneSpec, network: Network, dataset: Dataset) -> ReadOut:
    width = network.width or _probe(network, dataset)
    if spec.task.head is not None:
        head = read_linear_head(spec.task.head, HEAD)
    elif spec.training.head:
        columns = _columns(spec, dataset)
        head = LinearHead(_uniform([columns, width], spec.training.seed), torch.zeros(columns))
    elif network.config is not None:
        raise _refused("AutoModel gives features: name a linear head (file.safetensors#name), or train one")
    else:
        return ReadOut(NoHead(), width)
    if head.weight.shape[1] != width:
        raise _refused(f"reads {head.weight.shape[1]} features, the module gives {width}")
    return ReadOut(head, head.columns)


def _probe(network: Network, dataset: Dataset) -> int:
    """Number of columns that a factory's module gives, from one example."""
    assert isinstance(dataset.inputs, Arrays)  # a factory's module was refused texts
    device = next(network.module.parameters()).device
    inputs = prepare_arrays(dataset.inputs.take(np.array([0])), network.lone, None, torch.float32, device)
    try:
        with torch.no_grad():
            outputs = network.run(inputs.batches[0])
    except Exception as error:  # the module is the user's: whatever it raises is said
        problem = f"the module fails on the first example: {type(error).__name__}: {error}"
        raise RefusedError([Fault("task.data", problem)]) from error
    return outputs.numel()


def _columns(spec: FinetuneSpec, dataset: Dataset) -> int:
    if dataset.targets is None:
        raise RefusedError([Fault("task.data", "no targets: add a tensor `targets` or a column `label`")])
    try:
        if spec.task.measure.needs == "values":
            return int(np.prod(values(dataset.targets).shape[1:]))
        return int(class_numbers(dataset.targets).max()) + 1
    except LabelError as error:
        raise RefusedError([Fault("task.data", f"{spec.task.metric}: {error}")]) from error


def _uniform(shape: Iterable[int], seed: int) -> Tensor:
    sizes = tuple(shape)
    generator = np.random.Generator(np.random.PCG64([seed, *sizes]))
    bound = 1.0 / math.sqrt(math.prod(sizes[1:]))
    return torch.from_numpy(generator.uniform(-bound, bound, sizes)).float()


def _open(path: Path) -> Layout:
    try:
        return open_layout(path)
    except CheckpointError as error:
        raise RefusedError([Fault(HEAD, fault) for fault in error.faults]) from error


def _refused(problem: str) -> RefusedError:
    return RefusedError([Fault(HEAD, problem)])
