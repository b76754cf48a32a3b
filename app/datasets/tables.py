"""Datasets of texts: tables with the columns text, text_pair (optional) and label (optional)."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from app.datasets.dataset import Array, Dataset, Texts
from app.domain.errors import Fault, RefusedError

TABLES = (".jsonl", ".csv", ".parquet")
TEXT, PAIR, LABEL = "text", "text_pair", "label"

# texts are texts even where they look like numbers or dates
_TEXT_SCHEMA = pa.schema([(TEXT, pa.string()), (PAIR, pa.string())])
_BLOCK_BYTES = 64 << 20  # a line must fit a block


def read_table(path: Path, where: str) -> Dataset:
    """The table at `path`. Raises RefusedError (not of its format, no texts, an empty cell in a column)."""
    try:
        table = _load(path)
    except (pa.ArrowException, OSError) as error:
        raise RefusedError([Fault(where, f"{path} cannot be read as {path.suffix[1:]}: {error}")]) from error
    if len(table) == 0:
        raise RefusedError([Fault(where, f"{path} holds no examples")])
    columns = {name: table[name] for name in (TEXT, PAIR, LABEL) if _is_given(table, name)}
    faults = [Fault(where, problem) for problem in _problems(path, columns, table.column_names)]
    if faults:
        raise RefusedError(faults)
    pair = tuple(columns[PAIR].to_pylist()) if PAIR in columns else None
    return Dataset(Texts(tuple(columns[TEXT].to_pylist()), pair), _targets(columns.get(LABEL)))


def _load(path: Path) -> Any:
    match path.suffix:
        case ".jsonl":
            read = pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES)
            return pyarrow.json.read_json(path, read, pyarrow.json.ParseOptions(explicit_schema=_TEXT_SCHEMA))
        case ".csv":
            convert = pyarrow.csv.ConvertOptions(column_types=_TEXT_SCHEMA)
            return pyarrow.csv.read_csv(path, None, pyarrow.csv.ParseOptions(newlines_in_values=True), convert)
        case _:
            return pyarrow.parquet.read_table(path)


def _is_given(table: Any, name: str) -> bool:
    return name in table.column_names and table[name].null_count < len(table)


def _problems(path: Path, columns: dict[str, Any], found: list[str]) -> list[str]:
    if TEXT not in columns:
        return [f"{path} has no column `{TEXT}` (found: {', '.join(found)})"]
    problems = []
    for name, column in columns.items():
        if column.null_count:
            problems.append(f"{path}: `{name}` is empty in {column.null_count} of {len(column)} rows, first in row {_first_null(column)}")
        elif name in (TEXT, PAIR) and not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            problems.append(f"{path}: `{name}` holds {column.type}, not texts")
        elif name == LABEL and not _is_label(column.type):
            problems.append(f"{path}: `{LABEL}` holds {column.type}; expected integers, floats or names of classes")
    return problems


def _first_null(column: Any) -> int:
    return int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1


def _is_label(kind: Any) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string)
    return any(test(kind) for test in tests)


def _targets(column: Any) -> Array | tuple[str, ...] | None:
    if column is None:
        return None
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return tuple(column.to_pylist())
    targets: Array = column.to_numpy()
    return targets.astype(np.int64) if pa.types.is_boolean(column.type) else targets
