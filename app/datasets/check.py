"""Whether a dataset can be scored: its labels against the metric and the head, its splits against its size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.datasets.dataset import Array, Arrays, Dataset
from app.datasets.labels import LabelError, class_numbers, values
from app.datasets.split import Splits
from app.domain.errors import Fault
from app.domain.task import Metric

OutputKind = Literal["logits", "losses", "values"]

_ROWS = 4096


def split_faults(splits: Splits, examples: int, where: str) -> list[Fault]:
    """Empty splits, under the key path `where` of the task's `split`."""
    empty = [name for name, rows in (("search", splits.search), ("report", splits.report)) if len(rows) == 0]
    return [Fault(f"{where}.{name}", f"leaves no example of {examples}: raise this share or give more data") for name in empty]


def input_value_faults(dataset: Dataset, where: str) -> list[Fault]:
    """Inputs that hold a NaN or infinity, each with how many, under `where`. Read in blocks: inputs may be larger than memory."""
    if not isinstance(dataset.inputs, Arrays):
        return []
    counts = {name: _count_not_finite(column) for name, column in dataset.inputs.columns.items()}
    problem = "values that are not finite: mend or leave out those examples"
    return [Fault(where, f"{name} holds {count} {problem}") for name, count in counts.items() if count]


def _count_not_finite(column: Array) -> int:
    if not np.issubdtype(column.dtype, np.floating):
        return 0
    return sum(int((~np.isfinite(column[start : start + _ROWS])).sum()) for start in range(0, len(column), _ROWS))


@dataclass(frozen=True)
class Scored:
    """What a task's outputs are: metric, kind, number of columns (None: not known), and names of classes where the model has any."""

    metric: Metric
    outputs: OutputKind
    columns: int | None
    label2id: Mapping[str, int] | None = None


def target_faults(dataset: Dataset, splits: Splits, scored: Scored, where: str) -> list[Fault]:
    """What keeps the metric from being computed with the dataset's targets, under `where`.

    Nothing is asked of the targets where the metric needs none (entropy) or the outputs are losses already.
    """
    metric, columns = scored.metric, scored.columns
    if not metric.labels or scored.outputs == "losses":
        return []
    if dataset.targets is None:
        return [Fault(where, f"no targets, which {metric.name} needs: add a tensor `targets` or a column `label`")]
    try:
        if scored.outputs == "values":
            return _value_faults(values(dataset.targets), metric, columns, where)
        numbers = class_numbers(dataset.targets, scored.label2id)
    except LabelError as error:
        return [Fault(where, f"{metric.name}: {error}")]
    return _class_faults(numbers, columns, where) or (_auroc_faults(numbers, splits, columns, where) if metric.name == "auroc" else [])


def _value_faults(targets: np.ndarray, metric: Metric, columns: int | None, where: str) -> list[Fault]:
    got = 1 if targets.ndim == 1 else int(np.prod(targets.shape[1:]))
    if columns is not None and got != columns:
        return [Fault(where, f"{got} targets an example, the model gives {columns} values")]
    if metric.name == "spearman" and got != 1:
        return [Fault(where, f"spearman ranks one value an example, not {got}")]
    return []


def _class_faults(numbers: np.ndarray, columns: int | None, where: str) -> list[Fault]:
    beyond = sorted({int(number) for number in numbers if number < 0 or (columns is not None and number >= columns)})
    if not beyond:
        return []
    rows = "" if columns is None else f" of {columns} rows (labels 0 to {columns - 1})"
    return [Fault(where, f"labels {', '.join(map(str, beyond[:10]))} lie outside the head{rows}")]


def _auroc_faults(numbers: np.ndarray, splits: Splits, columns: int | None, where: str) -> list[Fault]:
    classes = set(range(columns)) if columns is not None else {int(number) for number in numbers}
    faults = []
    for name, rows in (("search", splits.search), ("report", splits.report)):
        absent = ", ".join(str(number) for number in sorted(classes - {int(number) for number in numbers[rows]})[:10])
        if absent:
            faults.append(Fault(where, f"auroc needs every class in every split; the {name} split lacks {absent}"))
    return faults
