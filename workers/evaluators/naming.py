"""Names of tensors across checkpoints and modules of one family.

One backbone is saved as `encoder.layer.0...` by itself and as `bert.encoder.layer.0...` below a head; old files call the weight and
bias of a LayerNorm gamma and beta. Names that differ only so mean the same tensor.
"""

import dataclasses
from collections.abc import Iterable

from checkpoints.layout import Layout

_OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def plain_name(name: str, prefix: str) -> str:
    """`name` without the backbone's `prefix`, in today's spelling."""
    if prefix and name.startswith(f"{prefix}."):
        name = name[len(prefix) + 1 :]
    for old, new in _OLD.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def match_names(wanted: Iterable[str], found: Iterable[str], prefix: str) -> dict[str, str]:
    """For each of `wanted` the one of `found` that means the same tensor, where there is one; the very same name goes first."""
    found = tuple(found)
    by_plain = {plain_name(name, prefix): name for name in reversed(found)}
    exact = frozenset(found)
    pairs = ((name, name if name in exact else by_plain.get(plain_name(name, prefix))) for name in wanted)
    return {name: match for name, match in pairs if match is not None}


def rename_like(layout: Layout, base: Layout, prefix: str) -> Layout:
    """`layout` with the base's names for the tensors that both hold; others keep theirs."""
    theirs = match_names(layout.tensors, base.tensors, prefix)
    return dataclasses.replace(layout, tensors={theirs.get(name, name): place for name, place in layout.tensors.items()})
