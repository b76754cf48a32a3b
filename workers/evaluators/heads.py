"""What stands between a network and a task's outputs: nothing, a linear head, or the head of the task's own checkpoint."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from app.domain.errors import Fault, RefusedError
from checkpoints.errors import CheckpointError
from checkpoints.layout import open_layout
from checkpoints.read import MappedTensors
from workers.evaluators.network import Network


@dataclass(frozen=True)
class NoHead:
    """The network's outputs are the task's."""


@dataclass(frozen=True, eq=False)
class LinearHead:
    """`weight`: q x width; `bias`: q. Floating, finite."""

    weight: Tensor
    bias: Tensor | None = None

    @property
    def columns(self) -> int:
        return len(self.weight)

    def apply(self, features: Tensor) -> Tensor:
        """n x width -> n x q, float32."""
        return linear(features.float(), self.weight, self.bias)

    def to(self, device: torch.device) -> "LinearHead":
        return LinearHead(self.weight.to(device), None if self.bias is None else self.bias.to(device))


@dataclass(frozen=True, eq=False)
class OwnHead:
    """Parameters of the module by name, from the task's own checkpoint; the last is of the output layer, q rows."""

    parameters: Mapping[str, Tensor] = field(repr=False)

    @property
    def columns(self) -> int:
        return len(list(self.parameters.values())[-1])


Head = NoHead | LinearHead | OwnHead


def read_linear_head(source: str, where: str) -> LinearHead:
    """The head at `file.safetensors#name`: tensors `name.weight` and, optional, `name.bias`; without `#name`, `weight` and `bias`.

    Raises RefusedError under the key path `where`.
    """
    path, _, name = source.partition("#")
    if not Path(path).is_file():
        raise RefusedError([Fault(where, f"no such file: {path}")])
    try:
        tensors = MappedTensors(open_layout(Path(path)))
    except CheckpointError as error:
        raise RefusedError([Fault(where, fault) for fault in error.faults]) from error
    start = f"{name}." if name else ""
    if f"{start}weight" not in tensors.layout.tensors:
        named = ", ".join(sorted(tensor.removesuffix(".weight") for tensor in tensors.layout.tensors if tensor.endswith("weight")))
        raise RefusedError([Fault(where, f"{path} holds no tensor {start}weight (heads in it: {named or 'none'})")])
    bias = tensors.tensor(f"{start}bias").float() if f"{start}bias" in tensors.layout.tensors else None
    head = LinearHead(tensors.tensor(f"{start}weight").float(), bias)
    problem = _linear_problem(head)
    if problem:
        raise RefusedError([Fault(where, f"{source}: {problem}")])
    return head


def find_own_head(network: Network, names: Iterable[str], tensor: Callable[[str], Tensor], where: str) -> OwnHead:
    """The head among the tensors `names` of a task's checkpoint. The output layer may have any number of rows.

    Raises RefusedError: parameters that the checkpoint lacks, shapes that do not fit, values that are not finite.
    """
    found = network.naming.find(network.own, names)
    missing = [name for name in network.own if name not in found]
    if missing:
        raise RefusedError([Fault(where, f"holds no head for its task: {', '.join(missing)} missing")])
    head = OwnHead({name: tensor(found[name]) for name in network.own})
    faults = [Fault(where, problem) for problem in _own_problems(network.module, head)]
    if faults:
        raise RefusedError(faults)
    return head


def _linear_problem(head: LinearHead) -> str:
    if head.weight.ndim != 2 or (head.bias is not None and head.bias.shape != head.weight.shape[:1]):
        bias = "none" if head.bias is None else str(list(head.bias.shape))
        return f"a linear head is a weight [classes, features] and a bias [classes], got {list(head.weight.shape)} and {bias}"
    return "" if _finite(head.weight) and (head.bias is None or _finite(head.bias)) else "holds a NaN or infinity"


def _own_problems(module: nn.Module, head: OwnHead) -> list[str]:
    output_layer = list(head.parameters)[-1].rpartition(".")[0]
    problems = []
    for name, tensor in head.parameters.items():
        skipped = 1 if name.rpartition(".")[0] == output_layer else 0
        want = module.get_parameter(name).shape
        if tensor.ndim != len(want) or tensor.shape[skipped:] != want[skipped:]:
            problems.append(f"{name}: the module wants {list(want)}, the head has {list(tensor.shape)}")
        elif skipped and len(tensor) != head.columns:
            problems.append(f"{name}: {len(tensor)} rows, the output layer has {head.columns}")
        elif not _finite(tensor):
            problems.append(f"{name}: holds a NaN or infinity")
    return problems


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
