"""Reads a dataset from a file: tensors (.safetensors) or a table of texts (.jsonl, .csv, .parquet)."""

from pathlib import Path

from app.datasets.arrays import read_arrays
from app.datasets.dataset import Dataset
from app.datasets.tables import TABLES, read_table
from app.domain.errors import Fault, RefusedError


def read_dataset(path: Path, where: str) -> Dataset:
    """The dataset at `path`; at least one example, all columns of one length.

    Tensor files hold `inputs` (or named model inputs) and `targets`; tables hold `text`, `text_pair` and `label`.
    Raises RefusedError with the fault under the key path `where`.
    """
    dataset = _read(path, where)
    if len(dataset) == 0:
        raise RefusedError([Fault(where, f"{path} holds no examples")])
    if dataset.targets is not None and len(dataset.targets) != len(dataset):
        raise RefusedError([Fault(where, f"{path} holds {len(dataset)} examples and {len(dataset.targets)} targets")])
    return dataset


def _read(path: Path, where: str) -> Dataset:
    if not path.is_file():
        raise RefusedError([Fault(where, f"no such file: {path}")])
    if path.suffix == ".safetensors":
        return read_arrays(path, where)
    if path.suffix in TABLES:
        return read_table(path, where)
    endings = ", ".join((".safetensors", *TABLES))
    raise RefusedError([Fault(where, f"{path}: a dataset ends in one of {endings}")])
