import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from checkpoints.errors import HeaderError
from checkpoints.header import MAX_HEADER_BYTES, MAX_TENSORS, read_header

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write_raw(path: Path, header: bytes, data: bytes = b"\0" * 8) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def write_header(path: Path, fields: object, data: bytes = b"\0" * 8) -> Path:
    return write_raw(path, json.dumps(fields).encode(), data)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.safetensors"


class TestReadsWhatSafetensorsWrites:
    def test_every_dtype_with_offsets_and_metadata(self, file):
        dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
                  torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool]  # fmt: skip
        tensors = {f"t{number}": torch.zeros(number, 2, dtype=dtype) for number, dtype in enumerate(dtypes)}
        save_file(tensors, file, metadata={"format": "pt"})
        header = read_header(file)
        assert header.metadata == {"format": "pt"}
        assert {name: entry.shape for name, entry in header.tensors.items()} == {name: tuple(t.shape) for name, t in tensors.items()}
        assert max(entry.end for entry in header.tensors.values()) == file.stat().st_size
        assert all(entry.floating is tensors[name].is_floating_point() for name, entry in header.tensors.items())

    def test_offsets_are_those_of_the_bytes(self, file):
        save_file({"a": torch.arange(3, dtype=torch.int32), "b": torch.tensor([7], dtype=torch.int64)}, file)
        entry, content = read_header(file).tensors["a"], file.read_bytes()
        assert struct.unpack("<3i", content[entry.begin : entry.end]) == (0, 1, 2)

    def test_scalars_and_tensors_without_elements(self, file):
        save_file({"scalar": torch.tensor(1.0), "none": torch.zeros(0, 5)}, file)
        tensors = read_header(file).tensors
        assert tensors["scalar"].shape == () and tensors["scalar"].elements == 1
        assert tensors["none"].elements == 0

    def test_names_with_dots_and_slashes_inside(self, file):
        save_file({"a..b.weight": torch.zeros(1), "scope/layer:0": torch.zeros(1)}, file)
        assert set(read_header(file).tensors) == {"a..b.weight", "scope/layer:0"}


HOSTILE_NAMES = ["", "../weights", "/etc/weights", "a/../b", "a\\..\\b", "./a", "a\0b", "a\nb", "\ud800", "x" * 513]


class TestRefusesHostileHeaders:
    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_names_that_are_paths_or_unprintable(self, file, name):
        with pytest.raises(HeaderError, match="name"):
            read_header(write_header(file, {name: F32}))

    def test_a_header_beyond_the_limit(self, file):
        header = json.dumps({"a": F32}).encode().ljust(MAX_HEADER_BYTES + 1)
        with pytest.raises(HeaderError, match="exceeds the limit"):
            read_header(write_raw(file, header))

    def test_a_length_that_only_claims_to_be_huge(self, file):
        file.write_bytes(struct.pack("<Q", 2**63) + b"{}")
        with pytest.raises(HeaderError, match="exceeds the limit"):
            read_header(file)

    def test_too_many_tensors(self, file):
        empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
        with pytest.raises(HeaderError, match=f"exceed the limit of {MAX_TENSORS}"):
            read_header(write_header(file, {f"t{number}": empty for number in range(MAX_TENSORS + 1)}, b""))

    def test_the_same_name_twice(self, file):
        entry = json.dumps(F32)
        with pytest.raises(HeaderError, match="'a' appears twice"):
            read_header(write_raw(file, f'{{"a": {entry}, "a": {entry}}}'.encode()))

    def test_the_same_field_twice(self, file):
        with pytest.raises(HeaderError, match="'dtype' appears twice"):
            read_header(write_raw(file, b'{"a": {"dtype": "F32", "dtype": "F16", "shape": [2], "data_offsets": [0, 8]}}'))

    @pytest.mark.parametrize("shape", [[0, 2**62], [-1], [2.0], [True, 2], "2", None, [1] * 17])
    def test_shapes_that_are_none(self, file, shape):
        with pytest.raises(HeaderError, match="shape"):
            read_header(write_header(file, {"a": F32 | {"shape": shape}}))

    @pytest.mark.parametrize("dtype", ["F8_E4M3", "float32", None, 4])
    def test_unknown_dtypes(self, file, dtype):
        with pytest.raises(HeaderError, match="dtype"):
            read_header(write_header(file, {"a": F32 | {"dtype": dtype}}))

    @pytest.mark.parametrize("offsets", [[8, 0], [0], [0, 8, 16], [-8, 0], [0.0, 8.0], None])
    def test_offsets_that_are_none(self, file, offsets):
        with pytest.raises(HeaderError, match="data_offsets"):
            read_header(write_header(file, {"a": F32 | {"data_offsets": offsets}}))

    def test_a_shape_that_does_not_fill_its_bytes(self, file):
        with pytest.raises(HeaderError, match="does not take 8 bytes"):
            read_header(write_header(file, {"a": F32 | {"shape": [3]}}))

    @pytest.mark.parametrize(("second", "fault"), [([4, 12], "overlaps"), ([12, 20], "hole")])
    def test_overlaps_and_holes(self, file, second, fault):
        with pytest.raises(HeaderError, match=fault):
            read_header(write_header(file, {"a": F32, "b": F32 | {"data_offsets": second}}, b"\0" * second[1]))

    @pytest.mark.parametrize("entry", [[], "F32", {"dtype": "F32"}, F32 | {"more": 1}])
    def test_entries_of_another_form(self, file, entry):
        with pytest.raises(HeaderError, match="needs exactly"):
            read_header(write_header(file, {"a": entry}))

    @pytest.mark.parametrize("metadata", [{"format": 1}, ["pt"], None])
    def test_metadata_that_is_no_text(self, file, metadata):
        with pytest.raises(HeaderError, match="__metadata__"):
            read_header(write_header(file, {"__metadata__": metadata, "a": F32}))

    @pytest.mark.parametrize(
        "header", [b"", b"[]", b"null", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"a": NaN}', b'{"a": ' + b"9" * 5000 + b"}"]
    )
    def test_what_is_no_json_object(self, file, header):
        with pytest.raises(HeaderError, match="JSON"):
            read_header(write_raw(file, header))


class TestRefusesBrokenFiles:
    @pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02", b"\x80\x04"])
    def test_pickles_whatever_their_name(self, file, start):
        file.write_bytes(start + b"\0" * 100)
        with pytest.raises(HeaderError, match="save_file"):
            read_header(file)

    @pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
    def test_a_header_whose_length_looks_like_a_pickle_is_none(self, file, length):
        assert "a" in read_header(write_raw(file, json.dumps({"a": F32}).encode().ljust(length))).tensors

    def test_bytes_behind_the_last_tensor(self, file):
        with pytest.raises(HeaderError, match="8 bytes behind"):
            read_header(write_header(file, {"a": F32}, b"\0" * 16))

    def test_a_file_that_cannot_be_read(self, file):
        with pytest.raises(HeaderError, match="No such file"):
            read_header(file)

    @given(st.integers(0, 10_000))
    def test_any_truncation(self, tmp_path_factory, cut):
        content = save({"a": torch.arange(5.0), "b": torch.zeros(2, 3, dtype=torch.int64)})
        path = tmp_path_factory.mktemp("cut") / "weights.safetensors"
        path.write_bytes(content[: cut % len(content)])
        with pytest.raises(HeaderError, match="truncated"):
            read_header(path)

    @given(st.binary(max_size=200))
    def test_noise(self, tmp_path_factory, noise):
        path = tmp_path_factory.mktemp("noise") / "weights.safetensors"
        path.write_bytes(noise)
        with pytest.raises(HeaderError):
            read_header(path)
