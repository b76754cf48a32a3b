"""Small sets of tensors as the bytes of one safetensors file: the same tensors and metadata always give the same bytes.

The library orders metadata by chance, and a checkpoint is known by the digest of its bytes.
"""

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from checkpoints.header import ITEM_BYTES, PREFIX_BYTES
from checkpoints.read import DTYPES

WORDS = {dtype: word for word, dtype in DTYPES.items()}


def pack_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The file's bytes; tensors lie by falling item size, so that all are aligned, and by name."""
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    parts: list[bytes] = []
    reached = 0
    for name in sorted(tensors, key=lambda name: (-ITEM_BYTES[WORDS[tensors[name].dtype]], name)):
        tensor = tensors[name].detach().cpu().contiguous()
        parts.append(tensor.flatten().view(torch.uint8).numpy().tobytes())
        offsets = [reached, reached := reached + len(parts[-1])]
        entries[name] = {"dtype": WORDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join((len(header).to_bytes(PREFIX_BYTES, "little"), header, *parts))
