"""Passes over data: what is run for a trial, prepared once."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.datasets.dataset import Texts
from app.domain.task import Split
from workers.evaluators.content import Content
from workers.evaluators.heads import Head, LinearHead, OwnHead
from workers.evaluators.inputs import MASK, TOKENS, PreparedInputs, prepare_arrays
from workers.evaluators.module_binding import place_of
from workers.evaluators.network import Network
from workers.evaluators.tasks import TaskContent
from workers.evaluators.texts import prepare_texts

SPLITS: tuple[Split, ...] = ("search", "report")

Prepared = Mapping[Split, PreparedInputs]


@dataclass(frozen=True, eq=False)
class Pass:
    """One run of the network over one dataset, of which every task in `heads` takes its outputs."""

    inputs: Prepared
    heads: Mapping[str, Head]

    def restricted(self, tasks: Collection[str]) -> "Pass":
        """The same for those of `tasks` that it serves."""
        return replace(self, heads={task: head for task, head in self.heads.items() if task in tasks})

    def run(self, network: Network, split: Split) -> dict[str, Tensor]:
        """Outputs by task: m x q in the order of the examples, float32, on the CPU."""
        rows: dict[str, list[Tensor]] = {task: [] for task in self.heads}
        for head in self.heads.values():
            if isinstance(head, OwnHead):
                _install(network, head)
        inputs = self.inputs[split]
        for batch in inputs.batches:
            outputs = network.run(batch)
            for task, head in self.heads.items():
                read = head.apply(outputs) if isinstance(head, LinearHead) else outputs
                rows[task].append(read.reshape(len(read), -1))
        return {task: inputs.restore(torch.cat(parts).float().cpu()) for task, parts in rows.items()}


def plan_passes(content: Content, dtype: torch.dtype, device: torch.device) -> tuple[Pass, ...]:
    """Prepare every task's inputs on `device`, once for all tasks that read the same data in the same way.

    Heads of checkpoints are part of the module, so that their tasks run one by one; other tasks of one dataset share a pass.
    Raises RefusedError for texts without a token.
    """
    prepare = _Preparation(content, dtype, device)
    passes: dict[object, tuple[Prepared, dict[str, Head]]] = {}
    for task in content.tasks:
        key = _sharing(task)
        inputs = prepare.inputs_of(task, key)
        mark = task.spec.name if isinstance(task.head, OwnHead) else key
        passes.setdefault(mark, (inputs, {}))[1][task.spec.name] = _moved(task.head, device)
    return tuple(Pass(inputs, heads) for inputs, heads in passes.values())


class _Preparation:
    """Prepared inputs by what tells them apart."""

    def __init__(self, content: Content, dtype: torch.dtype, device: torch.device) -> None:
        self._network, self._reader, self._dtype, self._device = content.network, content.reader, dtype, device
        self._done: dict[object, Prepared] = {}

    def inputs_of(self, task: TaskContent, key: object) -> Prepared:
        if key not in self._done:
            self._done[key] = {split: self._prepare(task, split) for split in SPLITS}
        return self._done[key]

    def _prepare(self, task: TaskContent, split: Split) -> PreparedInputs:
        chosen = task.dataset.inputs.take(task.splits.rows(split))
        if not isinstance(chosen, Texts):
            return prepare_arrays(chosen, self._network.lone, task.spec.batch, self._dtype, self._device)
        assert self._reader is not None  # opened with the texts
        return prepare_texts(chosen, self._reader, task.spec, self._device)


def token_weights(passes: Iterable[Pass], task: str, split: Split) -> Tensor:
    """For a language model's task how many tokens each example's loss is a mean over, m, float64."""
    inputs = next(one.inputs[split] for one in passes if task in one.heads)
    counts = [
        batch[MASK].sum(1) if MASK in batch else torch.full((len(batch[TOKENS]),), batch[TOKENS].shape[1]) for batch in inputs.batches
    ]
    return inputs.restore((torch.cat([count.cpu() for count in counts]) - 1).clamp_min(0).double())


def _sharing(task: TaskContent) -> object:
    spec = task.spec
    return spec.data, spec.split, spec.max_length, spec.batch


def _moved(head: Head, device: torch.device) -> Head:
    if isinstance(head, LinearHead):
        return head.to(device)
    if isinstance(head, OwnHead):
        return OwnHead({name: tensor.to(device) for name, tensor in head.parameters.items()})
    return head


def _install(network: Network, head: OwnHead) -> None:
    for name, tensor in head.parameters.items():
        owner, leaf = place_of(network.module, name)
        setattr(owner, leaf, torch.nn.Parameter(tensor, requires_grad=False))
