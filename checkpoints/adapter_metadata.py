"""What our own training notes in an adapter's header, and the digests by which adapters know their base and their start."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from checkpoints.errors import LayoutError
from checkpoints.layout import Layout, open_layout
from checkpoints.pack import WORDS
from checkpoints.read import MappedTensors

AdapterKind = Literal["lora", "llora", "tangent"]

_BLOCK = 1 << 22


@dataclass(frozen=True)
class AdapterMetadata:
    """`kind`: which factors trained, and what is linearised. `base`: digest of the base's tensors. `a0`: digest of the shared start A0,
    empty for `lora`, whose A has left it. `seed`: of A0. `scores`: by split, on the adapter's own task.
    """

    kind: AdapterKind
    base: str
    a0: str
    seed: int
    scores: Mapping[str, float] = field(default_factory=dict)

    def texts(self) -> dict[str, str]:
        """As a safetensors header holds it."""
        return {
            "format": "pt",
            "mergefront.kind": self.kind,
            "mergefront.base": self.base,
            "mergefront.a0": self.a0,
            "mergefront.seed": str(self.seed),
            "mergefront.scores": json.dumps(dict(self.scores), sort_keys=True),
        }


def read_metadata(layout: Layout) -> AdapterMetadata | None:
    """What the header of an adapter says; None for one that others made. Raises LayoutError where it says it wrongly."""
    texts = layout.files[0].header.metadata
    kind = texts.get("mergefront.kind")
    if kind is None:
        return None
    try:
        return _parse(layout.files[0].path, kind, texts)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise LayoutError(f"{layout.files[0].path}: its mergefront metadata cannot be read: {type(error).__name__}: {error}") from error


def _parse(path: Path, kind: str, texts: Mapping[str, str]) -> AdapterMetadata:
    found = next((known for known in get_args(AdapterKind) if known == kind), None)
    if found is None:
        raise LayoutError(f"{path}: mergefront.kind {kind!r} is none of {', '.join(get_args(AdapterKind))}")
    scores = {str(split): float(score) for split, score in json.loads(texts["mergefront.scores"]).items()}
    if not all(math.isfinite(score) for score in scores.values()):
        raise ValueError("a score is not finite")
    return AdapterMetadata(found, texts["mergefront.base"], texts["mergefront.a0"], int(texts["mergefront.seed"]), scores)


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in the order of names."""
    return _digest((name, tensor.shape, [tensor.detach().cpu().contiguous().flatten()]) for name, tensor in sorted(tensors.items()))


def digest_base(layout: Layout) -> str:
    """The same over all tensors of a checkpoint, however they are spread over files.

    Files are read once and remembered until their size or time of change differs.
    """
    stamps = tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in (file.path.stat() for file in layout.files))
    return _digest_layout(_whole(layout), stamps)


def _whole(layout: Layout) -> Path:
    return layout.root if layout.index is not None else layout.files[0].path


@lru_cache(maxsize=64)
def _digest_layout(path: Path, stamps: tuple[tuple[int, int, int], ...]) -> str:
    layout = open_layout(path)
    mapped = MappedTensors(layout)
    return _digest((name, layout.entry(name).shape, _blocks(mapped, name)) for name in sorted(layout.tensors))


def _blocks(mapped: MappedTensors, name: str) -> Iterable[Tensor]:
    size = mapped.layout.entry(name).elements
    starts = range(0, size, _BLOCK) or (0,)
    return (mapped.flat(name, start, min(size, start + _BLOCK)) for start in starts)


def _digest(tensors: Iterable[tuple[str, tuple[int, ...], Iterable[Tensor]]]) -> str:
    total = hashlib.sha256()
    for name, shape, blocks in tensors:
        for number, block in enumerate(blocks):
            if number == 0:
                total.update(f"{name}\0{WORDS[block.dtype]}\0{list(shape)}\n".encode())
            total.update(block.view(torch.uint8).numpy().data)
    return total.hexdigest()
