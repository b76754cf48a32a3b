"""All that a fine-tuning names, read and proved to fit: the base in its module, the examples, the head."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from app.datasets.check import Scored, input_value_faults, split_faults, target_faults
from app.datasets.dataset import Dataset, Texts
from app.datasets.labels import class_numbers, values
from app.datasets.read import read_dataset
from app.datasets.split import Rows, split_rows
from app.domain.errors import Fault, RefusedError
from app.domain.finetune import FinetuneSpec
from app.domain.task import SplitShares
from checkpoints.errors import CheckpointError
from checkpoints.layout import Layout, open_layout
from checkpoints.read import MappedTensors
from workers.evaluators.inputs import input_faults
from workers.evaluators.module_binding import Binding, bind_module, plan_binding
from workers.evaluators.network import Network
from workers.evaluators.scorer import output_kind
from workers.evaluators.texts import TextReader, open_text_reader
from workers.evaluators.weights import Findings, build_network
from workers.finetuning.read_out import ReadOut, find_read_out


@dataclass(frozen=True)
class Parts:
    """Disjoint rows of the dataset: what trains, what decides when to stop (both of the search split), and what is only reported."""

    train: Rows
    held_out: Rows
    report: Rows


@dataclass(frozen=True, eq=False)
class Content:
    """A fine-tuning's inputs. `network`: holds the base's weights, float32, on `device`. `reader`: of texts, where the data are texts."""

    spec: FinetuneSpec
    base: Layout
    network: Network
    device: torch.device
    dataset: Dataset
    parts: Parts
    scored: Scored
    read_out: ReadOut
    reader: TextReader | None

    def targets(self, rows: Rows) -> Tensor:
        """Classes, m, or values, m x q; not of a language model, whose outputs are losses already."""
        assert self.dataset.targets is not None  # checked when the data were read
        if self.scored.outputs == "values":
            return torch.from_numpy(values(self.dataset.targets)[rows].reshape(len(rows), -1))
        return torch.from_numpy(class_numbers(self.dataset.targets, self.scored.label2id)[rows])


def read_content(spec: FinetuneSpec, device: str) -> Content:
    """Read everything that `spec` names and bring the base's weights into its module. Raises RefusedError with every fault."""
    findings = Findings()
    base = findings.attempt(lambda: _open(spec.base))
    network = findings.attempt(lambda: build_network(spec.architecture, base))
    dataset = findings.attempt(lambda: read_dataset(Path(spec.task.data), "task.data"))
    binding = None
    if base is not None and network is not None:
        binding = findings.attempt(partial(plan_binding, network, {name: place.entry.shape for name, place in base.tensors.items()}))
    findings.refuse()
    assert base is not None and network is not None and dataset is not None and binding is not None  # without a fault nothing is absent
    place = torch.device(device)
    _load(network, binding, base, place)
    parts = _divide(spec, len(dataset))
    findings.faults += _part_faults(parts, dataset, spec.task.split)
    findings.faults += [*input_value_faults(dataset, "task.data"), *input_faults(dataset, network, "task.data")]
    findings.faults += _metric_faults(spec, network)
    findings.refuse()
    read_out = find_read_out(spec, network, base, dataset)
    scored = Scored(spec.task.measure, output_kind(spec.task.metric, network.gives == "losses"), read_out.columns, _names(network))
    findings.faults += target_faults(dataset, split_rows(len(dataset), spec.task.split), scored, "task.data")
    findings.refuse()
    reader = open_text_reader(base.root, network, "base") if isinstance(dataset.inputs, Texts) else None
    return Content(spec, base, network, place, dataset, parts, scored, read_out, reader)


def _open(path: str) -> Layout:
    try:
        layout = open_layout(Path(path))
    except CheckpointError as error:
        raise RefusedError([Fault("base", fault) for fault in error.faults]) from error
    if layout.kind != "full":
        raise RefusedError([Fault("base", f"{path} is an adapter; give the whole weights that training starts from")])
    return layout


def _load(network: Network, binding: Binding, base: Layout, device: torch.device) -> None:
    mapped = MappedTensors(base)
    # copies: training must not write through the map, and every example needs the weights in float32
    tensors = {name: _copy(mapped.tensor(name), device) for name in set(binding.sources.values())}
    bind_module(network.module, binding, tensors, device)


def _copy(tensor: Tensor, device: torch.device) -> Tensor:
    copied = tensor.to(device, torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
    if copied.is_floating_point() and not bool(copied.isfinite().all()):
        raise RefusedError([Fault("base", "holds NaN or infinity")])
    return copied


def _divide(spec: FinetuneSpec, examples: int) -> Parts:
    splits = split_rows(examples, spec.task.split)
    shares = SplitShares(spec.training.held_out, 1.0 - spec.training.held_out, spec.training.seed)
    inner = split_rows(len(splits.search), shares)
    return Parts(splits.search[inner.report], splits.search[inner.search], splits.report)


def _part_faults(parts: Parts, dataset: Dataset, shares: SplitShares) -> list[Fault]:
    faults = split_faults(split_rows(len(dataset), shares), len(dataset), "task.split")
    empty = [name for name, rows in (("to train on", parts.train), ("to hold out", parts.held_out)) if len(rows) == 0]
    return faults or [Fault("training.held_out", f"leaves no example {name} of the search split's") for name in empty]


def _metric_faults(spec: FinetuneSpec, network: Network) -> list[Fault]:
    if network.gives == "losses" and spec.task.measure.needs != "losses":
        return [Fault("task.metric", f"a causal language model gives losses, from which nll and perplexity follow, not {spec.task.metric}")]
    if not spec.task.measure.labels:
        return [Fault("task.metric", f"{spec.task.metric} needs no labels, so that nothing can be learnt from it; name another metric")]
    return []


def _names(network: Network) -> Mapping[str, int] | None:
    names = getattr(network.config, "label2id", None) if network.own else None
    return None if not names else {str(name): int(number) for name, number in names.items()}
