"""From labels as files hold them to what metrics compare: numbers of classes, or values."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.datasets.dataset import Array

Targets = Array | tuple[str, ...]


class LabelError(Exception):
    """Labels that do not say what the metric needs; the message says why."""


def class_numbers(targets: Targets, label2id: Mapping[str, int] | None = None) -> NDArray[np.int64]:
    """The class of every example, n, from 0.

    Integers (and floats and texts that spell integers) stand for themselves. Names are looked up in `label2id` where it gives
    classes names of their own (not LABEL_0, LABEL_1, ...), else numbered in sorted order. Raises LabelError.
    """
    if isinstance(targets, tuple):
        return _numbers_of_names(targets, label2id)
    if targets.ndim != 1:
        raise LabelError(f"one class an example is expected, got targets of shape {targets.shape}")
    broken = ~np.isfinite(targets) | (np.floor(targets) != targets)
    if broken.any():
        raise LabelError(f"labels must be integers, got {targets[broken][0]}")
    return targets.astype(np.int64)


def values(targets: Targets) -> NDArray[np.float64]:
    """The value of every example, n or n x q. Raises LabelError when a value is missing or no number."""
    if isinstance(targets, tuple):
        raise LabelError(f"targets must be numbers, got {targets[0]!r}")
    floats = targets.astype(np.float64)
    if not np.isfinite(floats).all():
        raise LabelError("targets hold a NaN or infinity")
    return floats


def _numbers_of_names(names: tuple[str, ...], label2id: Mapping[str, int] | None) -> NDArray[np.int64]:
    if all(name.isdecimal() for name in names):
        return np.array([int(name) for name in names], np.int64)
    numbers = _numbering(names, label2id)
    unknown = sorted(set(names) - numbers.keys())
    if unknown:
        raise LabelError(f"labels {', '.join(map(repr, unknown[:5]))} are not among the model's own: {', '.join(map(repr, numbers))}")
    return np.array([numbers[name] for name in names], np.int64)


def _numbering(names: tuple[str, ...], label2id: Mapping[str, int] | None) -> Mapping[str, int]:
    if label2id and not all(name.startswith("LABEL_") for name in label2id):
        return label2id
    return {name: number for number, name in enumerate(sorted(set(names)))}
