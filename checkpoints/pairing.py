"""Which tensors of tuned checkpoints stand for which of their base, written down, so that they can be fitted again without the network."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from checkpoints.layout import Layout
from checkpoints.model_set import ModelSet, fit_model_set


@dataclass(frozen=True)
class Pairing:
    """What a model set knows beyond its files; empty where every tensor goes by one name and all are merged.

    `names`: by tuned checkpoint, what the base calls a tensor that the checkpoint stores under another name. `own`: tensors of the
    base that are not merged.
    """

    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    own: tuple[str, ...] = ()


def pairing_of(models: ModelSet) -> Pairing:
    """The pairing by which `fit_paired` makes these models of the same checkpoints."""
    names = {name: _renamed(source.tensors.layout) for name, source in models.sources.items()}
    return Pairing({name: renamed for name, renamed in names.items() if renamed}, models.roles.own)


def fit_paired(base: Layout, tuned: Mapping[str, Layout], pairing: Pairing) -> ModelSet:
    """The model set of a base and its tuned checkpoints under `pairing`. Raises MisfitError as fit_model_set does."""
    alike = {name: _rename(layout, pairing.names.get(name, {})) for name, layout in tuned.items()}
    return fit_model_set(base, alike, [f"^{re.escape(name)}$" for name in pairing.own])


def _renamed(layout: Layout) -> dict[str, str]:
    return {place.entry.name: name for name, place in layout.tensors.items() if place.entry.name != name}


def _rename(layout: Layout, names: Mapping[str, str]) -> Layout:
    return replace(layout, tensors={names.get(stored, stored): place for stored, place in layout.tensors.items()}) if names else layout
