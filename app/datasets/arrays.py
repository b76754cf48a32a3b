"""Datasets of tensors: a .safetensors file whose header our own reader has checked, mapped rather than loaded."""

from pathlib import Path

import numpy as np

from app.datasets.dataset import Array, Arrays, Dataset
from app.domain.errors import Fault, RefusedError
from checkpoints.errors import HeaderError
from checkpoints.header import Header, TensorEntry, read_header

TARGETS = "targets"

_DTYPES: dict[str, type[np.generic]] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
    "BOOL": np.bool_,
}  # fmt: skip


def read_arrays(path: Path, where: str) -> Dataset:
    """The tensors of `path`: `targets` if there are any, everything else is input. Raises RefusedError."""
    try:
        header = read_header(path)
    except HeaderError as error:
        raise RefusedError([Fault(where, fault) for fault in error.faults]) from error
    faults = [Fault(where, problem) for problem in _problems(path, header)]
    if faults:
        raise RefusedError(faults)
    columns = {name: _map(path, entry) for name, entry in header.tensors.items()}
    targets = columns.pop(TARGETS, None)
    return Dataset(Arrays(columns), targets)


def _problems(path: Path, header: Header) -> list[str]:
    inputs = {name: entry for name, entry in header.tensors.items() if name != TARGETS}
    if not inputs:
        return [f"{path} holds no inputs: expected a tensor `inputs`, or named model inputs, beside `{TARGETS}`"]
    problems = [f"{path}: {name} is a single number, not a column of examples" for name, entry in header.tensors.items() if not entry.shape]
    lengths = {name: entry.shape[0] for name, entry in inputs.items() if entry.shape}
    if len(set(lengths.values())) > 1:
        problems.append(f"{path}: inputs of unequal length: " + ", ".join(f"{name} {length}" for name, length in lengths.items()))
    return problems


def _map(path: Path, entry: TensorEntry) -> Array:
    if entry.elements == 0:  # nothing to map
        return np.empty(entry.shape, _DTYPES[entry.dtype])
    mapped: Array = np.memmap(path, _DTYPES[entry.dtype], "r", entry.begin, entry.shape)
    return _widen(mapped) if entry.dtype == "BF16" else mapped


def _widen(bits: Array) -> Array:
    """bfloat16, which numpy lacks, is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
