"""Names of tensors across checkpoints and modules of one family.

One backbone is saved as `encoder.layer.0...` by itself and as `bert.encoder.layer.0...` below a head, and families rename their parts
over the years while their files stay. Names that differ only so mean the same tensor.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from checkpoints.layout import Layout


def _as_it_is(name: str) -> str:
    return name


@dataclass(frozen=True)
class Naming:
    """`prefix`: what the family calls its backbone (`bert`), empty where names have one form only. `rename`: an old name -> today's."""

    prefix: str = ""
    rename: Callable[[str], str] = _as_it_is

    def plain(self, stored: str) -> str:
        """What a tensor of a checkpoint is called in today's modules, without the backbone's prefix."""
        return self.bare(self.rename(stored))

    def bare(self, name: str) -> str:
        """The name of a parameter without the backbone's prefix."""
        return name.removeprefix(f"{self.prefix}.") if self.prefix else name

    def find(self, parameters: Iterable[str], stored: Iterable[str]) -> dict[str, str]:
        """For each of a module's `parameters` the stored tensor that it means, where there is one; the very same name goes first."""
        stored = tuple(stored)
        exact, by_plain = frozenset(stored), {self.plain(name): name for name in reversed(stored)}
        found = ((name, name if name in exact else by_plain.get(self.bare(name))) for name in parameters)
        return {name: match for name, match in found if match is not None}

    def align(self, layout: Layout, base: Layout) -> Layout:
        """`layout` with the base's names for the tensors that both hold; others keep theirs."""
        theirs = {self.plain(name): name for name in base.tensors}
        renamed = {name if name in base.tensors else theirs.get(self.plain(name), name): place for name, place in layout.tensors.items()}
        return dataclasses.replace(layout, tensors=renamed)
