"""Merges in place by the transform of their task vectors: at most two are held, that of the study and the latest other."""

from dataclasses import dataclass, field

import torch

from app.domain.study import TransformSpec
from checkpoints.flat import FlatMerge, prepare_flat_merge
from checkpoints.groups import Groups
from checkpoints.model_set import ModelSet
from checkpoints.tangents import is_tangent
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import Transform, name_transform


@dataclass(frozen=True)
class Place:
    """Where weights live. `dtype`: of all floating ones. `memory`: bytes that they may take together, None for a share of what is free."""

    device: torch.device
    dtype: torch.dtype
    memory: int | None = None


def choose_place(models: ModelSet, device: str, memory: int | None) -> Place:
    """Float32, but on an accelerator the base's own dtype where all its tensors have one; a linearised network is always float32."""
    place = torch.device(device)
    dtypes = {models.base.flat(name, 0, 0).dtype for name in models.sizes}
    own = dtypes.pop() if len(dtypes) == 1 else torch.float32
    return Place(place, torch.float32 if place.type == "cpu" or own == torch.float64 or is_tangent(models) else own, memory)


@dataclass
class Merges:
    """Gives the flat merge of a transform, preparing it when it is first asked for."""

    models: ModelSet
    groups: Groups
    place: Place
    usual: TransformSpec
    _held: dict[TransformSpec, FlatMerge] = field(default_factory=dict)

    def of(self, transform: TransformSpec) -> FlatMerge:
        """The merge under `transform`; preparing another than the usual one lets the latest other go first."""
        if transform not in self._held:
            for other in [held for held in self._held if held != self.usual]:
                del self._held[other]
            prepared = prepare_transform(to_transform(transform), self.models)
            self._held[transform] = prepare_flat_merge(
                self.models, self.groups, prepared, self.place.device, self.place.dtype, self._budget(transform)
            )
        return self._held[transform]

    def _budget(self, transform: TransformSpec) -> int | None:
        if self.place.memory is None or transform == self.usual:
            return self.place.memory
        plan = self.of(self.usual).plan
        return self.place.memory - plan.buffer - (plan.stored if plan.mode == "resident" else 0)


def to_transform(spec: TransformSpec) -> Transform:
    """The transform that a spec names."""
    return name_transform(spec.name, spec.density, spec.drop, spec.seed)
