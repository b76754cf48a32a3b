"""Whether one checkpoint may be taken in: every value finite, and fit for a base as far as shows without an architecture."""

from collections.abc import Iterator

from checkpoints.adapter_metadata import digest_base, read_metadata
from checkpoints.adapters import open_adapter
from checkpoints.errors import CheckpointError, MisfitError, NotFiniteError
from checkpoints.finite import BLOCK, count_stray
from checkpoints.fit import assign_roles, fit_full
from checkpoints.layout import Layout
from checkpoints.linearised import read_linearised
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


def account_faults(layout: Layout) -> tuple[str, ...]:
    """What an adapter of our own training says of itself that is not so, as sentences: its rank, its pairs of factors, its start A0.

    Nothing of full weights and of the adapters of others. Reads the factors once.
    """
    try:
        if layout.kind == "tangent" or (layout.kind == "lora" and read_metadata(layout) is not None):
            read_linearised(layout.root)
    except NotFiniteError:
        return ()  # stray_faults tells it tensor by tensor
    except CheckpointError as error:
        return error.faults
    return ()


def check_fits(tuned: Layout, base: Layout) -> None:
    """Hold one tuned checkpoint, full weights or an adapter, against a base.

    Raises MisfitError with every tensor that does not fit, also for an adapter that names another base in its metadata.
    """
    if base.kind != "full":
        raise MisfitError("the base is an adapter; name the weights that it was trained on")
    roles = assign_roles(base, [COUNTERS])
    if tuned.kind == "full":
        fit_full("this checkpoint", MappedTensors(tuned), MappedTensors(base), roles)
    else:
        metadata = open_adapter("this checkpoint", tuned, base, roles).metadata
        if metadata is not None and metadata.base != digest_base(base):
            raise MisfitError("this adapter was trained on another base; its product means nothing here")
