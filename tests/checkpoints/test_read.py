import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from checkpoints.layout import open_layout
from checkpoints.read import DTYPES, MappedTensors

TENSORS = {
    "odd": torch.arange(3, dtype=torch.uint8),  # what follows it is misaligned
    "flags": torch.tensor([True, False, True]),
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "brain": torch.arange(6, dtype=torch.bfloat16).reshape(3, 2),
    "single": torch.arange(4, dtype=torch.float32),
    "double": torch.arange(4, dtype=torch.float64),
    "long": torch.arange(4, dtype=torch.int64),
    "scalar": torch.tensor(5.0),
    "none": torch.zeros(0, 7),
}


def save_in_order(path, tensors):
    """As safetensors lays it out, but in the order given: its own writer sorts by alignment."""
    header, data = {}, b""
    names = {dtype: name for name, dtype in DTYPES.items()}
    for name, tensor in tensors.items():
        content = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


@pytest.fixture
def mapped(tmp_path):
    return MappedTensors(open_layout(save_in_order(tmp_path / "weights.safetensors", TENSORS)))


@pytest.mark.parametrize("name", TENSORS)
def test_every_dtype_at_any_alignment(mapped, name):
    found = mapped.tensor(name)
    assert found.dtype == TENSORS[name].dtype and torch.equal(found, TENSORS[name])


def test_slices(mapped):
    assert mapped.flat("half", 2, 5).tolist() == [2, 3, 4]
    assert mapped.flat("half", 4, 4).tolist() == []


def test_views_share_the_files_pages(tmp_path):
    save_file({"a": torch.arange(8.0)}, tmp_path / "weights.safetensors")
    mapped = MappedTensors(open_layout(tmp_path / "weights.safetensors"))
    assert mapped.flat("a", 2, 4).data_ptr() == mapped.flat("a").data_ptr() + 8


def test_writing_to_a_view_never_reaches_the_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.arange(8.0)}, path)
    before = path.read_bytes()
    MappedTensors(open_layout(path)).flat("a").zero_()
    assert path.read_bytes() == before


def test_views_outlive_the_reader(tmp_path):
    save_file({"a": torch.arange(8.0)}, tmp_path / "weights.safetensors")
    view = MappedTensors(open_layout(tmp_path / "weights.safetensors")).flat("a")
    assert view.sum() == 28


def test_tensors_of_every_shard(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "1.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "2.safetensors")
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    mapped = MappedTensors(open_layout(tmp_path))
    assert mapped.tensor("a").tolist() == [0, 0] and mapped.tensor("b").tolist() == [1, 1]
