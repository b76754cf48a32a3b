import hashlib
import os

import pytest
import torch
from safetensors.torch import save_file

from checkpoints.digest import digest_file, digest_layout
from checkpoints.errors import LayoutError
from checkpoints.layout import open_layout


def test_a_file_by_its_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"weights")
    assert digest_file(path) == hashlib.sha256(b"weights").hexdigest()


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"weights")
    first = digest_file(path)
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(1, 1))
    assert digest_file(path) != first


def test_a_missing_file(tmp_path):
    with pytest.raises(LayoutError, match="No such file"):
        digest_file(tmp_path / "a")


def test_a_layout_by_its_files_and_not_its_place(tmp_path):
    digests = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_file({"a": torch.zeros(2)}, tmp_path / folder / "model.safetensors")
        digests.append(digest_layout(open_layout(tmp_path / folder)))
    assert digests[0] == digests[1]


def test_an_adapter_by_its_configuration_too(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
    digests = set()
    for config in ('{"r": 4}', '{"r": 40}'):
        (tmp_path / "adapter_config.json").write_text(config)
        digests.add(digest_layout(open_layout(tmp_path)))
    assert len(digests) == 2
