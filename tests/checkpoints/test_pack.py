"""Packed tensors are safetensors files, the same every time."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from checkpoints.header import read_header
from checkpoints.pack import pack_tensors

TENSORS = {
    "b": torch.arange(3, dtype=torch.int8),
    "a": torch.randn(2, 3, dtype=torch.bfloat16),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "none": torch.zeros(0, 4),
    "turned": torch.randn(4, 5).T,
    "yes": torch.tensor([True, False]),
}


def test_the_library_reads_them(tmp_path):
    path = tmp_path / "packed.safetensors"
    path.write_bytes(pack_tensors(TENSORS, {"who": "we", "format": "pt"}))
    loaded = load_file(path)
    assert loaded.keys() == TENSORS.keys() == read_header(path).tensors.keys()
    assert all(torch.equal(loaded[name], tensor) and loaded[name].dtype == tensor.dtype for name, tensor in TENSORS.items())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"who": "we", "format": "pt"}


def test_every_tensor_lies_aligned(tmp_path):
    path = tmp_path / "packed.safetensors"
    path.write_bytes(pack_tensors(TENSORS, {}))
    assert all(entry.begin % TENSORS[name].element_size() == 0 for name, entry in read_header(path).tensors.items())


@pytest.mark.parametrize("turned", [False, True])
def test_order_makes_no_difference(turned):
    step = -1 if turned else 1
    tensors, metadata = dict(list(TENSORS.items())[::step]), dict([("a", "1"), ("b", "2")][::step])
    assert pack_tensors(tensors, metadata) == pack_tensors(TENSORS, {"a": "1", "b": "2"})
