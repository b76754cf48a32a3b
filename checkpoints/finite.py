"""NaN and infinity in the inputs of a model set, found before anything is built on them."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from checkpoints.errors import NotFiniteError
from checkpoints.model_set import ModelSet

BASE = "the base"  # what messages call it, where tuned checkpoints go by their names
BLOCK = 1 << 18  # elements looked at in one go


def check_finite(models: ModelSet) -> None:
    """Read every floating value of a model set once. Raises NotFiniteError naming all tensors with NaN or infinity, and how many.

    The factors of adapters are looked at when the adapter is opened.
    """
    faults = [fault for tensor in models.sizes for fault in _shared_faults(models, tensor)]
    for name, tensors in models.private.items():
        heads = ((tensor, models.private_tensor(name, tensor).flatten()) for tensor in tensors)
        faults.extend(_sentence(name, tensor, stray, values.numel()) for tensor, values in heads if (stray := count_stray(values)))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise NotFiniteError(faults[0] + more, faults)


def stray_values(models: ModelSet, tensor: str, start: int, stop: int) -> dict[str, int]:
    """How many of the stored values [start, stop) of a merged tensor are NaN or infinite, by checkpoint; none are left out."""
    counts = {name: count_stray(values) for name, values in _stored(models, tensor, start, stop)}
    return {name: count for name, count in counts.items() if count}


def count_stray(values: Tensor) -> int:
    """How many values are NaN or infinite. `values`: flat, any dtype."""
    # NaN and infinity survive a sum, and summing is several times as fast as looking at each value
    if not values.is_floating_point() or math.isfinite(values.sum().item()):
        return 0
    return values.numel() - int(torch.count_nonzero(values.isfinite()))


def _shared_faults(models: ModelSet, tensor: str) -> Iterator[str]:
    size = models.sizes[tensor]
    strays: dict[str, int] = {}
    for start in range(0, size, BLOCK):
        for name, count in stray_values(models, tensor, start, min(size, start + BLOCK)).items():
            strays[name] = strays.get(name, 0) + count
    yield from (_sentence(name, tensor, count, size) for name, count in strays.items())


def _stored(models: ModelSet, tensor: str, start: int, stop: int) -> Iterator[tuple[str, Tensor]]:
    yield BASE, models.base.flat(tensor, start, stop)
    for name, source in models.sources.items():
        values = source.weights(tensor, start, stop) if source.touches(tensor) else None
        if values is not None:
            yield name, values


def _sentence(name: str, tensor: str, stray: int, size: int) -> str:
    return f"{name}: {tensor}: {stray} of {size} values are NaN or infinite"
