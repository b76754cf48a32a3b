"""Datasets from files of every kind, and what is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from app.datasets.dataset import Arrays, Texts
from app.datasets.read import read_dataset
from app.domain.errors import RefusedError

WHERE = "tasks.digits.data"


def refusal(path):
    with pytest.raises(RefusedError) as caught:
        read_dataset(path, WHERE)
    assert all(fault.where == WHERE for fault in caught.value.faults)
    return str(caught.value)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class TestArrays:
    def test_inputs_and_targets(self, tmp_path):
        digits = load_digits()
        save_file(
            {"inputs": torch.from_numpy(digits.images).contiguous(), "targets": torch.from_numpy(digits.target)}, tmp_path / "d.safetensors"
        )
        dataset = read_dataset(tmp_path / "d.safetensors", WHERE)
        assert len(dataset) == len(digits.target)
        assert isinstance(dataset.inputs, Arrays)
        np.testing.assert_array_equal(dataset.inputs.columns["inputs"], digits.images)
        np.testing.assert_array_equal(dataset.targets, digits.target)

    def test_named_inputs_without_targets(self, tmp_path):
        save_file({"input_ids": torch.ones(3, 5, dtype=torch.int64), "attention_mask": torch.ones(3, 5)}, tmp_path / "d.safetensors")
        dataset = read_dataset(tmp_path / "d.safetensors", WHERE)
        assert set(dataset.inputs.columns) == {"input_ids", "attention_mask"}
        assert dataset.targets is None

    def test_bfloat16_becomes_float32(self, tmp_path):
        values = torch.randn(4, 3).bfloat16()
        save_file({"inputs": values}, tmp_path / "d.safetensors")
        column = read_dataset(tmp_path / "d.safetensors", WHERE).inputs.columns["inputs"]
        np.testing.assert_array_equal(column, values.float().numpy())

    def test_taken_rows_are_a_copy_that_may_be_written(self, tmp_path):
        save_file({"inputs": torch.arange(6.0)}, tmp_path / "d.safetensors")
        taken = read_dataset(tmp_path / "d.safetensors", WHERE).inputs.take(np.array([4, 1]))
        taken.columns["inputs"][0] += 1
        assert taken.columns["inputs"].tolist() == [5.0, 1.0]

    def test_unequal_lengths_are_refused(self, tmp_path):
        save_file({"inputs": torch.ones(3, 2), "targets": torch.ones(4)}, tmp_path / "d.safetensors")
        assert "3 examples and 4 targets" in refusal(tmp_path / "d.safetensors")
        save_file({"a": torch.ones(3, 2), "b": torch.ones(5)}, tmp_path / "e.safetensors")
        assert "a 3, b 5" in refusal(tmp_path / "e.safetensors")

    def test_no_inputs_no_examples_no_column_are_refused(self, tmp_path):
        save_file({"targets": torch.ones(3)}, tmp_path / "d.safetensors")
        assert "holds no inputs" in refusal(tmp_path / "d.safetensors")
        save_file({"inputs": torch.ones(0, 2), "targets": torch.ones(0)}, tmp_path / "e.safetensors")
        assert "no examples" in refusal(tmp_path / "e.safetensors")
        save_file({"inputs": torch.tensor(1.0)}, tmp_path / "f.safetensors")
        assert "single number" in refusal(tmp_path / "f.safetensors")

    def test_a_truncated_file_is_refused(self, tmp_path):
        save_file({"inputs": torch.ones(30, 2)}, tmp_path / "d.safetensors")
        whole = (tmp_path / "d.safetensors").read_bytes()
        (tmp_path / "d.safetensors").write_bytes(whole[:-8])
        assert "truncated" in refusal(tmp_path / "d.safetensors")


class TestTables:
    def test_lines_of_json(self, tmp_path):
        path = write_lines(tmp_path / "d.jsonl", [{"text": "2020-01-01", "label": 1}, {"text": "größer", "label": 0, "more": [1]}])
        dataset = read_dataset(path, WHERE)
        assert dataset.inputs == Texts(("2020-01-01", "größer"))
        assert dataset.targets.tolist() == [1, 0]

    def test_pairs_and_names_of_classes(self, tmp_path):
        path = write_lines(
            tmp_path / "d.jsonl", [{"text": "a", "text_pair": "b", "label": "yes"}, {"text": "c", "text_pair": "d", "label": "no"}]
        )
        dataset = read_dataset(path, WHERE)
        assert dataset.inputs == Texts(("a", "c"), ("b", "d"))
        assert dataset.targets == ("yes", "no")
        assert dataset.inputs.take(np.array([1])) == Texts(("c",), ("d",))

    def test_texts_alone(self, tmp_path):
        assert read_dataset(write_lines(tmp_path / "d.jsonl", [{"text": "a"}]), WHERE).targets is None

    def test_csv_keeps_texts_that_look_like_numbers(self, tmp_path):
        (tmp_path / "d.csv").write_text('text,label\n12,0.5\n"two\nlines",1.5\n')
        dataset = read_dataset(tmp_path / "d.csv", WHERE)
        assert dataset.inputs == Texts(("12", "two\nlines"))
        assert dataset.targets.tolist() == [0.5, 1.5]

    def test_parquet(self, tmp_path):
        pa.parquet.write_table(pa.table({"text": ["a", "b"], "label": [True, False]}), tmp_path / "d.parquet")
        dataset = read_dataset(tmp_path / "d.parquet", WHERE)
        assert dataset.inputs == Texts(("a", "b"))
        assert dataset.targets.tolist() == [1, 0]

    def test_no_texts_and_empty_cells_are_refused_together(self, tmp_path):
        assert "no column `text` (found: text, text_pair, words)" in refusal(write_lines(tmp_path / "d.jsonl", [{"words": "a"}]))
        rows = [{"text": "a", "label": 1}, {"text": None, "label": 1}, {"text": "c"}]
        message = refusal(write_lines(tmp_path / "e.jsonl", rows))
        assert "`text` is empty in 1 of 3 rows, first in row 2" in message
        assert "`label` is empty in 1 of 3 rows, first in row 3" in message

    def test_what_is_no_table_is_refused(self, tmp_path):
        (tmp_path / "d.jsonl").write_text('{"text": "a"}\n{"text": \n')
        assert "cannot be read as jsonl" in refusal(tmp_path / "d.jsonl")
        (tmp_path / "d.parquet").write_bytes(b"PAR1 no")
        assert "cannot be read as parquet" in refusal(tmp_path / "d.parquet")
        (tmp_path / "e.jsonl").write_text("")
        refusal(tmp_path / "e.jsonl")

    def test_labels_that_are_lists_are_refused(self, tmp_path):
        assert "expected integers" in refusal(write_lines(tmp_path / "d.jsonl", [{"text": "a", "label": [1]}]))


class TestPaths:
    def test_no_such_file(self, tmp_path):
        assert refusal(tmp_path / "none.jsonl") == f"{WHERE}: no such file: {tmp_path / 'none.jsonl'}"

    def test_unknown_ending(self, tmp_path):
        (tmp_path / "d.txt").write_text("a")
        assert "ends in one of .safetensors, .jsonl, .csv, .parquet" in refusal(tmp_path / "d.txt")
