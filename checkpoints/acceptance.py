"""Whether one checkpoint may be taken in: every value finite, and fit for a base as far as shows without an architecture."""

from collections.abc import Iterator

from checkpoints.adapters import open_adapter
from checkpoints.errors import MisfitError
from checkpoints.finite import BLOCK, count_stray
from checkpoints.fit import assign_roles, fit_full
from checkpoints.layout import Layout
from checkpoints.read import MappedTensors

# how many batches a normalisation was trained on: differs after any training, and means nothing afterwards
COUNTERS = r"(^|\.)num_batches_tracked$"


def stray_faults(layout: Layout) -> Iterator[str]:
    """A sentence for every tensor that holds NaN or infinity. Reads every floating value once."""
    tensors = MappedTensors(layout)
    for name, place in layout.tensors.items():
        size = place.entry.elements if place.entry.floating else 0
        strays = sum(count_stray(tensors.flat(name, start, min(start + BLOCK, size))) for start in range(0, size, BLOCK))
        if strays:
            yield f"{name}: {strays} of {size} values are NaN or infinite"


def check_fits(tuned: Layout, base: Layout) -> None:
    """Hold one tuned checkpoint, full weights or an adapter, against a base. Raises MisfitError with every tensor that does not fit."""
    if base.kind != "full":
        raise MisfitError("the base is an adapter; name the weights that it was trained on")
    roles = assign_roles(base, [COUNTERS])
    if tuned.kind == "full":
        fit_full("this checkpoint", MappedTensors(tuned), MappedTensors(base), roles)
    else:
        open_adapter("this checkpoint", tuned, base, roles)
