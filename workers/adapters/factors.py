"""Which layers of a network can be adapted, and the start A0 that all tasks share."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from app.domain.errors import Fault, RefusedError

TARGETS = "adapter.targets"
_SHOWN = 40


@dataclass(frozen=True, eq=False)
class Factor:
    """s B A of one layer. `a`: r x in, or r x in x height x width; `b`: out x r, or out x r x 1 x 1; of the network's dtype."""

    a: Tensor
    b: Tensor
    scale: float


def adaptable(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that an adapter can reach, by name: linear ones (of transformers' Conv1D too) and ungrouped 2-D convolutions.

    Projections of torch.nn.MultiheadAttention are left out: that module reads their weights past them.
    """
    inside = {
        f"{name}.{inner}" if name else inner
        for name, module in network.named_modules()
        if isinstance(module, nn.MultiheadAttention)
        for inner, _ in module.named_modules()
    }
    return {name: module for name, module in network.named_modules() if name not in inside and _is_adaptable(module)}


def _is_adaptable(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1
    return isinstance(module, nn.Linear) or is_transposed(module)


def is_plain(module: nn.Module) -> bool:
    """Whether an adaptable layer computes W x + b and nothing else: a class of the user's own may compute more."""
    return type(module).forward in (nn.Linear.forward, nn.Conv2d.forward) or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Whether the layer is transformers' Conv1D, which stores its weight input first."""
    return type(module).__name__ == "Conv1D" and getattr(module, "nf", None) is not None


def choose_layers(network: nn.Module, targets: Sequence[str], heads: Sequence[str] = ()) -> dict[str, nn.Module]:
    """The layers that `targets` mean, in the network's order: each a layer's name, the end of one behind a dot, or a regular expression
    for a whole name. None given: every layer that can be adapted, but for a language model's output layer, which is often its embedding
    too. `heads`: names of parameters of a task's own head, whose layers are none.

    Raises RefusedError naming every target without a layer, and what layers there are.
    """
    own = {name.rpartition(".")[0] for name in heads}
    layers = {name: module for name, module in adaptable(network).items() if name not in own}
    if not layers:
        raise RefusedError([Fault(TARGETS, "the network has no linear or 2-D convolution layer that an adapter could reach")])
    matched = {target: {name for name in layers if _means(target, name)} for target in targets}
    lost = [target for target, names in matched.items() if not names]
    if lost:
        raise RefusedError([Fault(TARGETS, f"{target!r} matches no layer; there are {_listed(list(layers))}") for target in lost])
    usual = {name for name, module in layers.items() if module is not _output_layer(network)}
    wanted = set().union(*matched.values()) if targets else usual
    chosen = {name: module for name, module in layers.items() if name in wanted}
    _check_one_layout(chosen)
    return chosen


def _output_layer(network: Any) -> object:
    find = getattr(network, "get_output_embeddings", None)
    return find() if callable(find) else None


def _means(target: str, name: str) -> bool:
    if name == target or name.endswith(f".{target}"):
        return True
    try:
        return re.fullmatch(target, name) is not None
    except re.error as error:
        raise RefusedError([Fault(TARGETS, f"{target!r} is no regular expression: {error}")]) from error


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _check_one_layout(layers: Mapping[str, nn.Module]) -> None:
    transposed = [name for name, module in layers.items() if is_transposed(module)]
    if 0 < len(transposed) < len(layers):
        others = [name for name in layers if name not in transposed]
        which = f"{_listed(transposed)} lie input first, {_listed(others)} not"
        problem = f"an adapter says once for all its layers which way their weights lie; {which}: name targets of one sort"
        raise RefusedError([Fault(TARGETS, problem)])


def draw_start(layers: Mapping[str, nn.Module], rank: int, seed: int) -> dict[str, Tensor]:
    """A0 by layer, float32: U(-1/sqrt(n), 1/sqrt(n)) with n the elements of a row; a function of seed, layer name and shape alone."""
    return {name: _draw(name, (rank, *_row(module)), seed) for name, module in layers.items()}


def _draw(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    mark = hashlib.sha256(f"{seed}\0{name}\0{list(shape)}".encode()).digest()
    # raw words, since numpy promises their stream for good
    words = np.random.PCG64(int.from_bytes(mark[:16], "little")).random_raw(math.prod(shape))
    unit = (words >> np.uint64(11)) * 2.0**-53
    return torch.from_numpy((2.0 * unit - 1.0) / math.sqrt(math.prod(shape[1:]))).float().view(shape)


def zero_b(layers: Mapping[str, nn.Module], rank: int) -> dict[str, Tensor]:
    """B = 0 by layer, float32."""
    return {name: torch.zeros(_outputs(module), rank, *(1 for _ in _row(module)[1:])) for name, module in layers.items()}


def _row(module: nn.Module) -> tuple[int, ...]:
    shape: tuple[int, ...] = tuple(_weight(module).shape)
    return (shape[0],) if is_transposed(module) else shape[1:]


def _outputs(module: nn.Module) -> int:
    return int(_weight(module).shape[1 if is_transposed(module) else 0])


def _weight(module: Any) -> Tensor:
    weight: Tensor = module.weight
    return weight


def apply_weight(module: Any, inputs: Tensor) -> Tensor:
    """W x of one layer, without its bias."""
    if isinstance(module, nn.Conv2d):
        weighed: Tensor = module._conv_forward(inputs, module.weight, None)  # with the layer's own stride, padding and dilation
        return weighed
    return inputs @ module.weight if is_transposed(module) else linear(inputs, module.weight)


def apply_factor(module: Any, inputs: Tensor, factor: Factor) -> Tensor:
    """s B A x of one layer, where the layer itself computes W x."""
    if isinstance(module, nn.Conv2d):
        hidden = module._conv_forward(inputs, factor.a, None)
        return conv2d(hidden, factor.b) * factor.scale
    return linear(linear(inputs, factor.a), factor.b) * factor.scale
