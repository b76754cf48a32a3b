"""Binds a module's parameters and buffers to tensors that live elsewhere, so that writing those changes the module."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.domain.errors import Fault, RefusedError
from workers.evaluators.naming import Naming
from workers.evaluators.network import Network

WHERE = "architecture"
_SHOWN = 20


@dataclass(frozen=True)
class Binding:
    """`sources`: for each parameter and buffer of the module the tensor it reads (tied ones share one).

    `optional`: tensors that the module can do without: heads of other models, buffers that it makes itself.
    """

    sources: Mapping[str, str]
    optional: tuple[str, ...]


def plan_binding(network: Network, shapes: Mapping[str, tuple[int, ...]]) -> Binding:
    """Which tensor each parameter and buffer of the network's module reads. `shapes`: by tensor name, as the base has them.

    The parameters of own heads are left out. Raises RefusedError naming every parameter without a tensor and every shape that
    differs; every tensor that nothing reads where the module is a factory's; every tensor of a block that the module does not have.
    """
    slots = dict(_slots(network))
    sources = network.naming.find(slots, shapes)
    sources |= _tied(network.module, sources)
    missing = [name for name, required in slots.items() if required and name not in sources]
    read = frozenset(sources.values())
    unread = tuple(name for name in shapes if name not in read)
    surplus = _of_further_blocks(unread, slots, network.naming) if network.naming.prefix else unread
    faults = [*_missing_faults(missing), *_unread_faults(surplus), *_shape_faults(network.module, sources, shapes)]
    if faults:
        raise RefusedError(faults)
    needed = {sources[name] for name, required in slots.items() if required and name in sources}
    return Binding(sources, tuple(name for name in shapes if name not in needed))


def bind_module(module: nn.Module, binding: Binding, tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Put `tensors` in place of the parameters and buffers of `binding`, sharing their memory.

    Buffers that no tensor stands for move to `device`, spare parameters become zeros there.
    """
    shared: dict[str, nn.Parameter] = {}
    for name, source in binding.sources.items():
        owner, leaf = place_of(module, name)
        if leaf in owner._parameters:
            shared.setdefault(source, nn.Parameter(tensors[source], requires_grad=False))
            setattr(owner, leaf, shared[source])  # not by hand: recurrent layers keep lists of their weights
        else:
            setattr(owner, leaf, tensors[source])
    for name, buffer in list(module.named_buffers()):
        owner, leaf = place_of(module, name)
        setattr(owner, leaf, buffer.to(device))
    for name, parameter in list(module.named_parameters()):
        owner, leaf = place_of(module, name)
        if name not in binding.sources:
            setattr(owner, leaf, nn.Parameter(torch.zeros_like(parameter, device=device), requires_grad=False))


def _slots(network: Network) -> Iterator[tuple[str, bool]]:
    """Names of parameters and buffers, each with whether it needs a tensor: buffers that state dicts leave out need none."""
    kept = network.module.state_dict(keep_vars=True).keys()
    for name, _ in network.module.named_parameters(remove_duplicate=False):
        if name not in network.own:
            yield name, name not in network.spare
    for name, _ in network.module.named_buffers(remove_duplicate=False):
        yield name, name in kept


def _tied(module: nn.Module, sources: Mapping[str, str]) -> dict[str, str]:
    """Tied parameters and buffers that no tensor stands for read what the others of their tie read."""
    slots = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    found = {id(slot): sources[name] for name, slot in slots if name in sources}
    return {name: found[id(slot)] for name, slot in slots if name not in sources and id(slot) in found}


def _of_further_blocks(unread: Iterable[str], slots: Iterable[str], naming: Naming) -> tuple[str, ...]:
    """Tensors named like parameters of the module but for a block's number: the base is deeper than its config says."""
    patterns = {_numberless(naming.bare(name)) for name in slots}
    return tuple(name for name in unread if _numberless(naming.plain(name)) in patterns)


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _missing_faults(names: list[str]) -> list[Fault]:
    if not names:
        return []
    return [Fault(WHERE, f"the base lacks {len(names)} tensors that the module has: {_listed(names)}")]


def _unread_faults(names: tuple[str, ...]) -> list[Fault]:
    return [Fault(WHERE, f"the module lacks {len(names)} tensors that the base has: {_listed(names)}")] if names else []


def _shape_faults(module: nn.Module, sources: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> list[Fault]:
    pairs = ((name, tuple(_tensor(module, name).shape), shapes[source]) for name, source in sources.items())
    return [Fault(WHERE, f"{name}: the module wants {list(want)}, the base has {list(have)}") for name, want, have in pairs if want != have]


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def place_of(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The submodule that holds a parameter or buffer, and its name there."""
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf


def _tensor(module: nn.Module, name: str) -> Tensor:
    owner, leaf = place_of(module, name)
    tensor: Tensor = getattr(owner, leaf)
    return tensor
