"""One base checkpoint and N tuned ones that fit it: the object that everything else reads weights from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from checkpoints.adapter_metadata import digest_base
from checkpoints.adapters import AdapterSource, open_adapter
from checkpoints.errors import MisfitError
from checkpoints.fit import Roles, assign_roles, fit_full
from checkpoints.layout import Layout
from checkpoints.linearised import start_faults
from checkpoints.read import MappedTensors
from checkpoints.sources import TunedSource
from checkpoints.twins import find_twins


@dataclass(frozen=True)
class ModelSet:
    """A base and its tuned checkpoints, proved to fit. Implements TaskVectors. Built by `fit_model_set`.

    `sources`: by the name of the tuned checkpoint, in coefficient order. `roles`: what becomes of each tensor of the base.
    """

    base: MappedTensors
    sources: Mapping[str, TunedSource]
    roles: Roles

    @property
    def tuned(self) -> tuple[str, ...]:
        return tuple(self.sources)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        return {name: self.base.layout.entry(name).elements for name in self.roles.merged}

    @property
    def private(self) -> Mapping[str, tuple[str, ...]]:
        """Per tuned checkpoint, its tensors that no merge touches: heads of its own task."""
        return {name: source.private for name, source in self.sources.items()}

    def private_tensor(self, tuned: str, tensor: str) -> Tensor:
        """One tensor of `private`, whole, in its shape and dtype."""
        return self.sources[tuned].private_tensor(tensor)

    def deltas(self, tensor: str, start: int, stop: int) -> Tensor:
        """v_n over flat elements [start, stop) of one tensor: N x (stop - start), float32, fresh. Zero where an adapter does not reach."""
        base = self.base.flat(tensor, start, stop).to(torch.float32)
        vectors = torch.empty(len(self.sources), stop - start)
        for row, source in zip(vectors, self.sources.values(), strict=True):
            if source.touches(tensor):
                source.write_delta(tensor, start, stop, base, row)
            else:
                row.zero_()
        return vectors


def fit_model_set(base: Layout, tuned: Mapping[str, Layout], private: Sequence[str] = ()) -> ModelSet:
    """Hold tuned checkpoints (full weights or adapters) against their base.

    `private`: regular expressions for tensors of the base that are not merged (heads, counters): the base's stay, each tuned
    checkpoint's belong to it alone. Tensors that the base lacks are private without being named.
    Raises MisfitError with every misfit of every checkpoint: missing tensors, shapes, dtypes, differing integer tensors, fewer
    than two tuned checkpoints, one whose task vector is zero, two with the same task vector, adapters of another base, linearised
    adapters of different starts A0.
    """
    if base.kind != "full":
        raise MisfitError(f"{base.root}: the base is an adapter; give the weights that it was trained on")
    if len(tuned) < 2:
        raise MisfitError(f"a model set needs at least two tuned checkpoints, got {len(tuned)}")
    roles, mapped = assign_roles(base, private), MappedTensors(base)
    if not roles.merged:
        raise MisfitError(f"{base.root}: the base holds no floating tensor to merge")
    models = ModelSet(mapped, _open_sources(mapped, tuned, roles), roles)
    twins = find_twins(models)
    if twins:
        raise MisfitError(twins[0], twins)
    return models


def _open_sources(base: MappedTensors, tuned: Mapping[str, Layout], roles: Roles) -> dict[str, TunedSource]:
    sources: dict[str, TunedSource] = {}
    faults: list[str] = []
    for name, layout in tuned.items():
        try:
            sources[name] = _open_source(name, layout, base, roles)
        except MisfitError as error:
            faults.extend(error.faults)
    faults.extend(_adapter_faults(base.layout, sources))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise MisfitError(faults[0] + more, faults)
    return sources


def _adapter_faults(base: Layout, sources: Mapping[str, TunedSource]) -> list[str]:
    metadata = {name: source.metadata for name, source in sources.items() if isinstance(source, AdapterSource) and source.metadata}
    strange = [name for name, one in metadata.items() if one.base != digest_base(base)]
    if strange:
        return [f"{', '.join(strange)}: trained on another base than {base.root}; its product means nothing here"]
    tangent = [name for name, one in metadata.items() if one.kind == "tangent"]
    if tangent and len(sources) > len(metadata):
        return [f"{', '.join(tangent)}: linearised through the whole network; all tuned checkpoints of such a set must be"]
    return start_faults(metadata)


def _open_source(name: str, layout: Layout, base: MappedTensors, roles: Roles) -> TunedSource:
    if layout.kind != "full":
        return open_adapter(name, layout, base.layout, roles)
    return fit_full(name, MappedTensors(layout), base, roles)
