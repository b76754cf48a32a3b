"""Tangent adapters of any network, drawn instead of trained: one start A0, a random B each."""

from pathlib import Path

import torch
from torch import nn

from checkpoints.adapter_metadata import AdapterMetadata, digest_base, digest_tensors
from checkpoints.layout import open_layout
from checkpoints.linearised import LinearisedAdapter
from workers.adapters.factors import choose_layers, draw_start, zero_b

RANK = 3


def write_tangents(
    network: nn.Module, base: Path, folder: Path, names: tuple[str, ...], targets: tuple[str, ...] = (), size: float = 0.3
) -> dict[str, str]:
    """Tangent adapters of `base`, whose weights `network` is built for; their directories by name. `size`: of B's entries."""
    layers = choose_layers(network, targets)
    start, digest = draw_start(layers, RANK, 0), digest_base(open_layout(base))
    written = {}
    for seed, name in enumerate(names):
        draw = torch.Generator().manual_seed(seed)
        b = {layer: size * torch.randn(empty.shape, generator=draw) for layer, empty in zero_b(layers, RANK).items()}
        adapter = LinearisedAdapter(AdapterMetadata("tangent", digest, digest_tensors(start), 0), RANK, 2.0 * RANK, start, b)
        written[name] = str(write_adapter(adapter, folder / f"tangent-{name}"))
    return written


def write_adapter(adapter: LinearisedAdapter, directory: Path) -> Path:
    """The files of an adapter in a new directory."""
    directory.mkdir()
    for file, content in adapter.files().items():
        (directory / file).write_bytes(content)
    return directory
