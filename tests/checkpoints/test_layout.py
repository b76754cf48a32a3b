import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from checkpoints.errors import HeaderError, LayoutError
from checkpoints.layout import open_layout

SHARDS = {"model-1.safetensors": ("a", "b"), "model-2.safetensors": ("c",)}


def write_shards(root: Path, shards=SHARDS, weight_map=None) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, tensors in shards.items():
        save_file({tensor: torch.zeros(2) for tensor in tensors}, root / name)
    found = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    index = {"metadata": {"total_size": 24}, "weight_map": found if weight_map is None else weight_map}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    return root


class TestOpens:
    def test_a_single_file_without_side_files(self, tmp_path):
        save_file({"a": torch.zeros(2)}, tmp_path / "base.safetensors")
        (tmp_path / "config.json").write_text("{}")
        layout = open_layout(tmp_path / "base.safetensors")
        assert (layout.kind, layout.root, list(layout.tensors), layout.side_files) == ("full", tmp_path, ["a"], ())

    def test_a_directory_with_its_side_files(self, tmp_path):
        save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "checkpoint-500").mkdir()
        kept = ["1_Pooling/config.json", "LICENSE", "config.json", "merges.txt", "tokenizer.model"]
        left = [".hidden.json", "README.md", "checkpoint-500/config.json", "optimizer.pt", "training.log"]
        for name in kept + left:
            (tmp_path / name).write_text("{}")
        assert sorted(map(str, open_layout(tmp_path).side_files)) == kept

    def test_a_directory_with_one_file_of_any_name(self, tmp_path):
        save_file({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
        assert open_layout(tmp_path).files[0].name == "weights.safetensors"

    def test_shards(self, tmp_path):
        layout = open_layout(write_shards(tmp_path))
        assert [file.name for file in layout.files] == ["model-1.safetensors", "model-2.safetensors"]
        assert {name: place.file for name, place in layout.tensors.items()} == {"a": 0, "b": 0, "c": 1}
        assert layout.index == tmp_path / "model.safetensors.index.json" and layout.side_files == ()

    def test_an_adapter(self, tmp_path):
        save_file({"lora_A": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
        (tmp_path / "adapter_config.json").write_text("{}")
        assert open_layout(tmp_path).kind == "lora"

    def test_links_as_in_the_cache_of_the_hub(self, tmp_path):
        blob = tmp_path / "blobs" / "0123"
        blob.parent.mkdir()
        save_file({"a": torch.zeros(2)}, blob)
        (tmp_path / "snapshot").mkdir()
        (tmp_path / "snapshot" / "model.safetensors").symlink_to(blob)
        assert list(open_layout(tmp_path / "snapshot").tensors) == ["a"]


class TestRefuses:
    def test_a_missing_path(self, tmp_path):
        with pytest.raises(LayoutError, match="no such file or directory"):
            open_layout(tmp_path / "nothing")

    def test_a_directory_without_weights(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(LayoutError, match="holds no weights; expected model.safetensors"):
            open_layout(tmp_path)

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "net.pth", "last.ckpt"])
    def test_pickles_with_the_way_to_convert_them(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
        for path in (tmp_path, tmp_path / name):
            with pytest.raises(LayoutError, match="save_file.*torch.load"):
                open_layout(path)

    def test_a_pickled_adapter(self, tmp_path):
        (tmp_path / "adapter_config.json").write_text("{}")
        (tmp_path / "adapter_model.bin").write_bytes(b"PK\x03\x04")
        with pytest.raises(LayoutError, match="pickle"):
            open_layout(tmp_path)

    def test_an_adapter_without_its_configuration(self, tmp_path):
        save_file({"lora_A": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
        with pytest.raises(LayoutError, match="without adapter_config.json"):
            open_layout(tmp_path)

    def test_several_files_without_an_index(self, tmp_path):
        write_shards(tmp_path)
        (tmp_path / "model.safetensors.index.json").unlink()
        with pytest.raises(LayoutError, match="2 safetensors files without"):
            open_layout(tmp_path)

    def test_an_index_that_disagrees_with_its_shards_names_every_fault(self, tmp_path):
        write_shards(tmp_path, weight_map={"a": "model-1.safetensors", "b": "model-2.safetensors", "d": "model-2.safetensors"})
        with pytest.raises(LayoutError) as caught:
            open_layout(tmp_path)
        named = "\n".join(caught.value.faults)
        assert len(caught.value.faults) == 4
        assert "places 'b' in model-2.safetensors" in named and "places 'd'" in named
        assert "model-1.safetensors holds 'b'" in named and "model-2.safetensors holds 'c'" in named

    def test_a_tensor_in_two_shards(self, tmp_path):
        write_shards(tmp_path, {"model-1.safetensors": ("a", "c"), "model-2.safetensors": ("a", "b")})
        with pytest.raises(LayoutError, match="model-1.safetensors holds 'a'"):
            open_layout(tmp_path)

    @pytest.mark.parametrize(
        "shard", ["../outside.safetensors", "/outside.safetensors", "gone.safetensors", "a\0b.safetensors", "model.bin"]
    )
    def test_shards_outside_the_directory_or_missing(self, tmp_path, shard):
        save_file({"a": torch.zeros(2)}, tmp_path / "outside.safetensors")
        root = write_shards(tmp_path / "model", weight_map={"a": shard})
        with pytest.raises(LayoutError, match="which is not in"):
            open_layout(root)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "[" * 100_000])
    def test_an_index_that_is_none(self, tmp_path, content):
        (tmp_path / "model.safetensors.index.json").write_text(content)
        with pytest.raises(LayoutError, match=r"index.json"):
            open_layout(tmp_path)

    def test_a_broken_file_by_its_header(self, tmp_path):
        (tmp_path / "model.safetensors").write_bytes(b"\0" * 4)
        with pytest.raises(HeaderError, match="truncated"):
            open_layout(tmp_path)


def test_headers_and_layouts_need_no_numerical_library():
    code = "import sys, checkpoints.layout, checkpoints.digest; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
