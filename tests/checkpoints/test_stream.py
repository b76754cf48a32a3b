import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save_file

from checkpoints.combine import BLOCK, BlockMerger, Merge
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.header import read_header
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set
from checkpoints.segments import SEGMENT
from checkpoints.stream import MergedFiles
from checkpoints.transforms.prepare import prepare_transform
from checkpoints.transforms.spec import Magnitude, NoTransform

SHARDS = {
    "model-00001-of-00002.safetensors": {"embed": (25, BLOCK), "flag": (1,), "tiny": (3,)},
    "model-00002-of-00002.safetensors": {"proj": (70, 11), "none": (0, 4), "odd": (5,)},
}
INDEX = "model.safetensors.index.json"


def write(root, seed):
    root.mkdir()
    generator = torch.Generator().manual_seed(seed)
    for shard, shapes in SHARDS.items():
        tensors = {name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes.items()}
        if "flag" in tensors:
            tensors["flag"] = torch.tensor([True])
        save_file(tensors, root / shard, metadata={"format": "pt"})
    weight_map = {name: shard for shard, shapes in SHARDS.items() for name in shapes}
    (root / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}, indent=1))
    return open_layout(root)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return fit_model_set(write(root / "base", 0), {"a": write(root / "a", 1), "b": write(root / "b", 2)})


NO_TRANSFORM = NoTransform()


def open_files(models, vector, transform=NO_TRANSFORM):
    coefficients = spread_coefficients(vector, group_tensors(models.sizes))
    return MergedFiles(Merge(models, coefficients, prepare_transform(transform, models)), transform)


@pytest.fixture(scope="module")
def files(models):
    return open_files(models, (0.3, 0.45))


@pytest.fixture(scope="module")
def contents(files):
    return {name: b"".join(file.read()) for name, file in files.files.items()}


class TestFiles:
    def test_lie_in_the_layout_of_the_base(self, models, files, contents):
        assert list(files.files) == list(SHARDS)
        assert files.index == (models.base.layout.root / INDEX).read_bytes()
        for name, content in contents.items():
            stored = (models.base.layout.root / name).read_bytes()
            begin = read_header(models.base.layout.root / name).data_begin
            assert len(content) == len(stored) == files.files[name].size
            assert content[:begin] == stored[:begin] and content != stored

    def test_hold_the_merged_tensors(self, files, contents):
        merger = BlockMerger(files.merge)
        loaded = {name: tensor for content in contents.values() for name, tensor in load(content).items()}
        assert set(loaded) == set(files.merge.models.base.layout.tensors)
        for name, tensor in loaded.items():
            blocks = [merger.block(name, number) for number in range(-(-tensor.numel() // BLOCK))]
            assert torch.equal(tensor.flatten(), torch.cat(blocks) if blocks else tensor.flatten())

    def test_a_file_without_index(self, tmp_path):
        layouts = {}
        for number, name in enumerate(("base", "a", "b")):
            save_file({"w": torch.full((4,), float(number))}, tmp_path / f"{name}.safetensors")
            layouts[name] = open_layout(tmp_path / f"{name}.safetensors")
        files = open_files(fit_model_set(layouts.pop("base"), layouts), (0.5, 0.5))
        assert files.index is None
        assert load(b"".join(files.files["base.safetensors"].read()))["w"].tolist() == [1.5] * 4


class TestRanges:
    @given(data=st.data(), name=st.sampled_from(list(SHARDS)))
    def test_any_range_is_a_slice_of_the_whole(self, files, contents, data, name):
        content = contents[name]
        begin, end = sorted(data.draw(st.tuples(st.integers(0, len(content)), st.integers(0, len(content) + 10))))
        assert b"".join(files.files[name].read(begin, end)) == content[begin:end]

    @given(cuts=st.lists(st.integers(0, 10_000_000), max_size=5))
    def test_any_split_joins_to_the_whole(self, files, contents, cuts):
        name = "model-00001-of-00002.safetensors"
        content = contents[name]
        bounds = [0, *sorted(cut % len(content) for cut in cuts), len(content)]
        pieces = [b"".join(files.files[name].read(begin, end)) for begin, end in zip(bounds, bounds[1:], strict=False)]
        assert b"".join(pieces) == content

    def test_two_reads_give_the_same_bytes(self, files, contents):
        assert {name: b"".join(file.read()) for name, file in files.files.items()} == contents

    def test_chunks_stay_valid_and_none_but_the_last_is_short(self, files, contents):
        for name, file in files.files.items():
            chunks = list(file.read())
            assert b"".join(chunks) == contents[name]
            assert all(len(chunk) >= SEGMENT for chunk in chunks[1:-1])  # the first is the header

    def test_an_empty_range_computes_nothing(self, files):
        assert list(files.files["model-00001-of-00002.safetensors"].read(1000, 900)) == []


class TestIdentity:
    def test_is_that_of_the_same_merge_again(self, models, files):
        assert open_files(models, (0.3, 0.45)).identity == files.identity

    def test_changes_with_whatever_changes_the_bytes(self, models, files):
        others = [
            open_files(models, (0.3, 0.4500001)),
            open_files(models, (0.45, 0.3)),
            open_files(models, (0.3, 0.45), Magnitude(0.5)),
            open_files(models, (0.3, 0.45), Magnitude(0.6)),
        ]
        assert len({files.identity, *(other.identity for other in others)}) == 5

    def test_changes_with_the_inputs(self, tmp_path, models, files):
        others = {"a": write(tmp_path / "a", 1), "b": write(tmp_path / "b", 3)}
        other = fit_model_set(models.base.layout, others)
        assert open_files(other, (0.3, 0.45)).identity != files.identity

    def test_same_groups_same_identity_however_spelt(self, models, files):
        groups = group_tensors(models.sizes, ["embed", "proj"])
        spelt = Merge(models, spread_coefficients([0.3] * 3 + [0.45] * 3, groups))
        assert MergedFiles(spelt).identity == files.identity
        assert {name: hashlib.sha256(b"".join(file.read())).digest() for name, file in MergedFiles(spelt).files.items()} == {
            name: hashlib.sha256(b"".join(file.read())).digest() for name, file in files.files.items()
        }
